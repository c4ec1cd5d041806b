"""errors.jsonl: the rows that were answered wrongly, as `ftool prepare` reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftool.artifacts import Prediction, write_jsonl
from ftool.example import Example

ERRORS_FILE = "errors.jsonl"


def write_mistakes(
    path: Path, examples: Sequence[Example], predictions: Sequence[Prediction]
) -> None:
    """Write every wrong row with its content, its label and what was predicted.

    A message with one label is `prompt` and `label`, what has more turns is `messages`. As a source
    of `ftool prepare`, `columns: {label: label}` reads both; correct the labels that are wrong and
    add rows like the others.

    Args:
        path: of errors.jsonl.
        examples: that were scored.
        predictions: of them, in their order.
    """
    pairs = zip(examples, predictions, strict=True)
    rows = [_row(example, row) for example, row in pairs if not row.correct]
    write_jsonl(path, rows)


def _row(example: Example, row: Prediction) -> dict[str, Any]:
    about = {
        "label": example.label,
        "prediction": row.predicted,
        "output": row.output,
        "probability": row.probability,
        "id": example.id,
        **example.extra,
    }
    *earlier, last = example.prompt
    roles = [message.role for message in example.prompt]
    if roles in (["user"], ["system", "user"]) and not example.tools:
        system = {"system": earlier[0].content} if earlier else {}
        return {**about, **system, "prompt": last.content}
    tools = {"tools": [dict(tool) for tool in example.tools]} if example.tools else {}
    return {**about, **tools, "messages": [message.as_dict() for message in example.messages]}
