"""What was decided about a row, in a sentence with the value and the threshold."""

import math
from typing import TYPE_CHECKING

from ftool.prepare.decide.decontaminate import RUN_WORDS
from ftool.prepare.read.rows import Finding

if TYPE_CHECKING:
    from ftool.prepare.decide.table import Table

LIKE = frozenset(
    (
        *("exact_duplicate", "conflicting_label", "near_duplicate"),
        *("leaks_into_test", "leaks_into_validation"),
    )
)
"""Reasons for which a row has a twin that stays."""


def finding_of(table: "Table", row: int, twin: str | None) -> Finding:
    """Return why a row of a table goes.

    Args:
        table: where it was decided.
        row: index of the row.
        twin: id of the row that it repeats, or the file.
    """
    reason = table.reasons[table.reason[row]]
    value = float(table.value[row])
    measured = None if math.isnan(value) else round(value, 4)
    label = table.labels[table.label[row]] if table.label[row] >= 0 else None
    if reason in LIKE:
        threshold = 1.0 if measured == 1.0 else table.near
        return Finding(reason, _like(table, row, twin, measured), measured, threshold)
    if reason == "contaminated":
        one = measured == 1
        runs = "a run" if one else f"{measured:g} runs"
        verb = "stands" if one else "stand"
        return Finding(reason, f"{runs} of {RUN_WORDS} words {verb} in {twin}", measured)
    if reason == "unknown_label":
        return Finding(reason, f"`{label}` is not in `label_names`")
    details = {
        "missing_label": "the label is empty",
        "leaks_across_splits": "of one group, prompt or likeness with a row that is held out",
    }
    return Finding(reason, details.get(reason, ""))


def _like(table: "Table", row: int, twin: str | None, similarity: float | None) -> str:
    how = f"same as {twin}" if similarity == 1.0 else f"{similarity:.2f} like {twin}"
    own, other = int(table.label[row]), int(table.label[table.twin[row]])
    return how if own == other or other < 0 else f"{how}, labelled `{table.labels[other]}`"
