"""Read YAML of others: texts, lists and objects, and nothing that grows or is built."""

from typing import Any

from ftool.errors import DataError

LONGEST = 2**26
"""Longest document, in characters."""


def read_yaml(text: str) -> Any:
    """Return the value of a document; keys, numbers and dates are texts, as they are written.

    Raises:
        DataError: it is no sound YAML, too long, or has aliases.
    """
    import yaml

    if len(text) > LONGEST:
        raise DataError(f"is too long for YAML: {len(text):,} characters, at most {LONGEST:,}")
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resolvers = {
        sign: [(tag, form) for tag, form in own if tag.endswith((":null", ":merge"))]
        for sign, own in base.yaml_implicit_resolvers.items()
    }
    loader = type("PlainLoader", (base,), {"yaml_implicit_resolvers": resolvers})
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, loader)):
            raise DataError("has aliases (`*name`), which are not read", hint="write them out")
        return _with_text_keys(yaml.load(text, loader))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"is no sound YAML: {' '.join(str(error).split())}") from error


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_text_keys(inner) for inner in value]
    return value
