"""Settings of the data that cannot hold together, or that nothing would read.

The blocks that are looked at are declared in blocks/, which knows this module.
"""

from typing import Any


def apart(named: Any) -> Any:
    """Refuse columns that play one part twice, or a part that is missing its others.

    Raises:
        ValueError: with the part that nothing would read.
    """
    pair = [part for part in ("prompt", "completion", "text") if getattr(named, part)]
    if named.messages and pair:
        raise ValueError(f"`messages` is the whole conversation, nothing reads `{pair[0]}` then")
    if named.prompt and named.text:
        raise ValueError("`prompt` and `text` are the same part of a conversation, name one")
    given = {*_listed(named.prompt), *_listed(named.text)}
    for one in _listed(named.completion):
        if one in given:
            raise ValueError(f"`{one}` cannot be both what is given and what is learned")
    _whole_threads(named, pair)
    return named


def _whole_threads(named: Any, pair: list[str]) -> None:
    """Refuse half of what tells which rows are one conversation."""
    parts = ("conversation", "role", "content")
    given = [part for part in parts if getattr(named, part)]
    missing = [part for part in parts if part not in given]
    if given and missing:
        raise ValueError(f"`{given[0]}` needs `{missing[0]}` beside it: every row is one message")
    if named.time and not given:
        raise ValueError("`time` orders the messages of a conversation, which `conversation` names")
    if given and (named.messages or pair):
        other = "messages" if named.messages else pair[0]
        raise ValueError(f"every row is one message, nothing reads `{other}` then")


def column(value: Any) -> Any:
    """Refuse what is neither the name nor the position of a column.

    Raises:
        ValueError: with what is needed.
    """
    is_name = isinstance(value, str) and value != ""
    if is_name or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError("the name of a column is needed, or its position from 1")


def columns(value: Any) -> Any:
    """Refuse what is no column and no list of columns.

    Raises:
        ValueError: with what is needed.
    """
    if not isinstance(value, list):
        return column(value)
    if not value:
        raise ValueError("a list of columns is empty")
    return [column(one) for one in value]


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def one_sign(delimiter: str) -> str:
    """Refuse what cannot separate fields.

    Raises:
        ValueError: it is not one character, or a quotation mark or line end.
    """
    named = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
    sign = named.get(delimiter, delimiter)
    if len(sign) != 1 or sign in '"\r\n':
        raise ValueError("one character is needed, such as `;` or `|`, or `tab`")
    return sign


def distinct(label_names: list[str]) -> list[str]:
    """Refuse labels that no answer could be told to be.

    Raises:
        ValueError: a name is empty, stands twice, or begins or ends with a blank.
    """
    for place, name in enumerate(label_names):
        if not name or name != name.strip():
            raise ValueError(f"the label `{name}` is empty, or begins or ends with a blank")
        if name in label_names[:place]:
            raise ValueError(f"the label `{name}` stands twice")
    return label_names


def all_read(data: Any) -> Any:
    """Refuse what is for another kind of data.

    Raises:
        ValueError: with the setting.
    """
    if data.filter.quality and data.kind != "text":
        raise ValueError("filter.quality is for `kind: text` alone")
    for number, source in enumerate(data.sources if data.kind == "text" else ()):
        for part in ("messages", "history", "system", "prompt", "completion", "conversation"):
            if getattr(source.columns, part):
                raise ValueError(f"sources.{number}.columns.{part}: nothing reads it in texts")
    return data
