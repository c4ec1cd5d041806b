"""Settings of a chat template: which ones it reads, and written into its text as defaults.

A setting that stands in the template holds wherever the template goes: in training, in every
evaluation, in the saved model and in whatever program opens that.
"""

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from ftool.errors import RecipeError, did_you_mean
from ftool.model.tokens.template_probe import template_environment

GIVEN = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"}
    | {"raise_exception", "strftime_now", "namespace", "range", "dict"}
)
"""What whoever renders a template gives it anyway."""
NO_THINKING = ("enable_thinking", "thinking")
"""Switches by which templates lead past the reasoning when they are false."""
_DEFAULT = re.compile(r"\{%- if (\w+) is not defined %\}\{%- set \1 = ")
_DEFAULTS = re.compile(rf"(?:{_DEFAULT.pattern}.*?%\}}\{{%- endif %\}})+")


def names_read(template: str) -> set[str]:
    """Return the names that a template reads and may not set itself.

    Raises:
        RecipeError: the template is no Jinja.
    """
    from jinja2 import TemplateError, meta

    try:
        parsed = template_environment().parse(template)
    except TemplateError as error:
        raise RecipeError(f"model.chat_template: it cannot be read ({error})") from error
    return set(meta.find_undeclared_variables(parsed)) - GIVEN


def templates_of(tokenizer: Any) -> dict[str, str]:
    """Return the chat templates of a tokenizer by name; most have one, some one for tools, too."""
    found = tokenizer.chat_template
    return dict(found) if isinstance(found, dict) else {"default": found} if found else {}


def reads_date(tokenizer: Any) -> bool:
    """Tell whether what the templates write changes from day to day."""
    return any("strftime_now" in text for text in templates_of(tokenizer).values())


def template_of_day(tokenizer: Any, date: str, *, has_tools: bool) -> str | None:
    """Return the template that a conversation gets, with a day of one's own in place of today.

    None where it gets none, which transformers refuses.
    """
    templates = templates_of(tokenizer)
    name = "tool_use" if has_tools and "tool_use" in templates else "default"
    return _of_day(templates[name], date) if name in templates else None


@lru_cache
def _of_day(template: str, date: str) -> str:
    """Put a macro in front that knows the day in every format that the template asks for.

    transformers hands no function to a template but its own. A format that is put together while
    rendering is refused by name.
    """
    day = datetime.fromisoformat(date)
    days = json.dumps({one: day.strftime(one) for one in sorted(_date_formats(template))})
    refused = (
        "raise_exception('strftime_now: the format `' ~ format ~ '` does not stand in the template"
        " as it is; write it there as one text')"
    )
    macro = (
        f"{{%- macro strftime_now(format) -%}}{{%- set days = {days} -%}}"
        f"{{{{ days[format] if format in days else {refused} }}}}{{%- endmacro %}}"
    )
    return f"{macro}\n{template}"


def _date_formats(template: str) -> set[str]:
    """Return the formats of calls; where one is not a constant, all texts that may be formats."""
    from jinja2 import nodes

    parsed = template_environment().parse(template)
    calls = [
        call
        for call in parsed.find_all(nodes.Call)
        if isinstance(call.node, nodes.Name) and call.node.name == "strftime_now"
    ]
    constants = [
        call.args[0].value
        for call in calls
        if len(call.args) == 1
        and isinstance(call.args[0], nodes.Const)
        and isinstance(call.args[0].value, str)
    ]
    names = [name for name in parsed.find_all(nodes.Name) if name.name == "strftime_now"]
    if len(constants) == len(names):
        return set(constants)
    texts = (one.value for one in parsed.find_all(nodes.Const) if isinstance(one.value, str))
    return {*constants, *(text for text in texts if "%" in text)}


def apply_settings(tokenizer: Any, settings: Mapping[str, Any], *, key: str) -> None:
    """Write settings into the chat templates of a tokenizer, as defaults.

    Args:
        tokenizer: whose templates change.
        settings: values by the name that the template reads.
        key: how a message names them.

    Raises:
        RecipeError: no template reads a setting.
    """
    templates = templates_of(tokenizer)
    if not settings:
        return
    read = {name for text in templates.values() for name in names_read(text)}
    if unread := sorted(settings.keys() - read):
        known = sorted(read - set(tokenizer.special_tokens_map))
        near = "".join(did_you_mean(name, known) for name in unread[:1])
        raise RecipeError(
            f"{key}.{', '.join(unread)}: the chat template does not read it{near}",
            hint=f"it reads {', '.join(known)}" if known else "this template has no settings",
        )
    written = {name: _with_defaults(text, settings) for name, text in templates.items()}
    has_several = isinstance(tokenizer.chat_template, dict)
    tokenizer.chat_template = written if has_several else written["default"]


def _with_defaults(template: str, settings: Mapping[str, Any]) -> str:
    defaults = "".join(
        f"{{%- if {name} is not defined %}}{{%- set {name} = {_literal(value)} %}}{{%- endif %}}"
        for name, value in sorted(settings.items())
    )
    # Jinja takes the line break behind a block away, so the template begins at a line of its own.
    return f"{defaults}\n{template}"


def _literal(value: Any) -> str:
    """Write a JSON scalar or list as Jinja does."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return "none" if value is None else json.dumps(value)


def switches_of(tokenizer: Any, taken: Collection[str]) -> list[str]:
    """Return the switches for thinking that the templates read and nobody has set.

    Those that `apply_settings` wrote into a template are set, such as in the model of a run.
    """
    templates = templates_of(tokenizer).values()
    read = {name for text in templates for name in names_read(text)}
    read -= {name for text in templates for name in _defaults_of(text)}
    return [name for name in NO_THINKING if name in read and name not in taken]


def _defaults_of(template: str) -> set[str]:
    """Return the names whose defaults `_with_defaults` put in front of a template."""
    names = set[str]()
    for line in template.split("\n"):
        if not _DEFAULTS.fullmatch(line):
            break
        names.update(_DEFAULT.findall(line))
    return names
