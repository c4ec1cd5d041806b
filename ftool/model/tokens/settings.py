"""Settings of a chat template: which ones it reads, and written into its text as defaults.

A setting that stands in the template holds wherever the template goes: in training, in every
evaluation, in the saved model and in whatever program opens that.
"""

import json
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
    """Put a macro in front that knows the day in every form that the template asks for.

    transformers hands no function to a template but its own.
    """
    from jinja2 import nodes

    day = datetime.fromisoformat(date)
    asked = {
        call.args[0].value
        for call in template_environment().parse(template).find_all(nodes.Call)
        if isinstance(call.node, nodes.Name)
        and call.node.name == "strftime_now"
        and call.args
        and isinstance(call.args[0], nodes.Const)
    }
    days = json.dumps({form: day.strftime(form) for form in sorted(asked)})
    macro = f"{{%- macro strftime_now(form) -%}}{{{{ {days}[form] }}}}{{%- endmacro %}}"
    return f"{macro}\n{template}"


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
    """Return the switches for thinking that the templates read and nobody has set."""
    read = {name for text in templates_of(tokenizer).values() for name in names_read(text)}
    return [name for name in NO_THINKING if name in read and name not in taken]
