"""How an input is read: what its columns hold, and whether its rows are messages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from ftool.errors import DataError
from ftool.prepare.read.formats import given_columns
from ftool.prepare.read.readers import WORKBOOKS, extension
from ftool.prepare.read.rows import Row, size_of
from ftool.prepare.read.shape import detect
from ftool.prepare.read.sources import Input, read_rows
from ftool.prepare.read.survey import UNSEEN, Survey, survey
from ftool.prepare.read.threads import thread_columns, thread_rows
from ftool.prepare.read.workbook import sheets_left_out

ABOUT = frozenset(("readme", "license", "licence", "changelog", "contributing", "notice"))
"""Names of files that tell of those beside them."""
SAMPLE_ROWS, SAMPLE_CHARACTERS = 1_000, 1 << 24
"""What is looked at of an input, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sample of an input says about all of it.

    `threads` names the columns where every row is a message: part -> column. An input without a
    row `is_empty`; `rows` are those of the sample, readable or not.
    """

    survey: Survey = UNSEEN
    threads: Mapping[str, str] | None = None
    is_empty: bool = False
    rows: int = 0


UNPLANNED = Plan()


def plan_input(found: Input, encoding: str) -> Plan:
    """Look at the first rows of an input.

    Raises:
        DataError: there are no rows, and the source has no other input; or it is damaged.
    """
    rows: list[Row] = []
    characters = 0
    try:
        for row in islice(read_rows(found, encoding), SAMPLE_ROWS):
            rows.append(row)
            characters += size_of(row)
            if characters > SAMPLE_CHARACTERS:
                break
    except DataError:
        if found.is_alone or rows:
            raise
        return Plan(is_empty=True)
    values = [row.values for row in rows if row.values is not None]
    seen = survey(values)
    if found.kind == "text":
        return Plan(seen, rows=len(rows))
    return Plan(seen, thread_columns(found.source, seen), rows=len(rows))


def is_foreign(found: Input, plan: Plan) -> bool:
    """Tell a file that stands among those of a source by chance: empty, or a document of its own.

    A table whose columns mean nothing is none: its rows are read, and rejected aloud.
    """
    if found.is_alone:
        return False
    if plan.is_empty or (found.kind == "text" and _is_about(found)):
        return True
    if plan.threads is not None or plan.rows > 1:
        return False
    columns = list(plan.survey.looks)
    given = given_columns(found.source.columns, columns)
    return detect(columns, given, found.kind, plan.survey) is None


def _is_about(found: Input) -> bool:
    """Tell a file about others, such as a README, from a text of a corpus."""
    return found.path is not None and found.path.stem.casefold() in ABOUT


def notes_of(found: Input) -> list[str]:
    """Return what a person should know of an input beside its rows."""
    if found.path is None or extension(found.path) not in WORKBOOKS:
        return []
    left = ", ".join(f"`{name}`" for name in sheets_left_out(found.path))
    advice = "move the one that is meant to the front"
    return [f"{found.shown}: only the first sheet is read, not {left}; {advice}"] if left else []


def planned_rows(found: Input, encoding: str, plan: Plan) -> Iterator[Row]:
    """Yield the rows of an input, or the conversations that its rows are messages of.

    Raises:
        DataError: there are no rows, or the file as a whole is damaged.
    """
    rows = read_rows(found, encoding)
    return rows if plan.threads is None else thread_rows(rows, plan.threads)
