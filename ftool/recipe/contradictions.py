"""Settings of the data that cannot hold together, or that nothing would read.

The blocks that are looked at are declared in blocks/, which knows this module.
"""

from typing import Any


def apart(columns: Any) -> Any:
    """Refuse columns that play one part twice.

    Raises:
        ValueError: with the part that nothing would read.
    """
    pair = [part for part in ("prompt", "completion", "text") if getattr(columns, part)]
    if columns.messages and pair:
        raise ValueError(f"`messages` is the whole conversation, nothing reads `{pair[0]}` then")
    if columns.prompt and columns.text:
        raise ValueError("`prompt` and `text` are the same part of a conversation, name one")
    if columns.completion and columns.completion in (columns.prompt, columns.text):
        raise ValueError(f"`{columns.completion}` cannot be both what is given and what is learned")
    return columns


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
        for part in ("messages", "system", "prompt", "completion"):
            if getattr(source.columns, part):
                raise ValueError(f"sources.{number}.columns.{part}: nothing reads it in texts")
    return data
