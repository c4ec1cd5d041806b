"""Tables of columns that the reading of data must tell apart."""

from typing import Any

TEXTS = [
    "where is my parcel",
    "it never came here",
    "cancel the whole order",
    "I was charged twice",
    "the lamp is broken",
    "do you ship to Malta",
    "the code does not work",
    "one leg is missing",
    "I cannot log in any more",
    "my address has changed",
    "send me the invoice",
    "open on Sunday",
    "a crack in the glass",
]
LABELS = ["ship", "bill"]


def table(**columns: Any) -> list[dict[str, Any]]:
    """Return rows of columns; those of fewer values repeat."""
    return [
        {name: values[n % len(values)] for name, values in columns.items()}
        for n in range(len(TEXTS))
    ]
