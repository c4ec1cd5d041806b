"""Rows that are one message each -> rows that are one conversation each."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from ftool.prepare.read.contents import content_of
from ftool.prepare.read.conversation import ROLE_NAMES, folded, own_role
from ftool.prepare.read.mapping import candidates, column_named
from ftool.prepare.read.proposal import THREAD_PARTS
from ftool.prepare.read.rows import Row
from ftool.prepare.read.survey import Survey

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Source

MESSAGES = "messages"
"""The column that the messages of a conversation are put in."""


def thread_columns(source: "Source", survey: Survey) -> dict[str, str] | None:
    """Return the columns that make every row a message, named or found; None where none do.

    Found are only those whose speakers are all known, on both sides, and whose conversations have
    several rows.
    """
    names = list(survey.looks)
    given = {part: getattr(source.columns, part) for part in THREAD_PARTS}
    if given["conversation"] is not None:
        named = {part: column_named(one, names) for part, one in given.items() if one is not None}
        return named if set(named.values()) <= set(names) else None  # the reader names those
    if any(value is not None for value in source.columns.model_dump().values()):
        return None
    found = {
        part: best[0].column for part in THREAD_PARTS if (best := candidates(part, names, survey))
    }
    if not {"conversation", "role", "content"} <= found.keys():
        return None
    is_repeated = survey.spread.get(found["conversation"], 0) < survey.rows
    return found if is_repeated and _are_known(found["role"], source, survey) else None


def _are_known(column: str, source: "Source", survey: Survey) -> bool:
    names = survey.values.get(column, ())
    own = {name: own_role(name, source.roles) for name in names}
    roles = {role[0] if (role := own[name]) else ROLE_NAMES.get(folded(name)) for name in names}
    return None not in roles and {"user", "assistant"} <= roles


def thread_rows(rows: Iterable[Row], columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield one row for each conversation, in the order of their first messages.

    A row that cannot be read, or lacks one of the columns, is passed on as it is. All rows are in
    memory at once.
    """
    conversations: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        values = row.values
        is_broken = values is None or row.reason != ""
        if values is None or is_broken or not set(columns.values()) <= values.keys():
            yield row
            continue
        name = content_of(values[columns["conversation"]]).strip()
        if name:
            conversations.setdefault((row.split, name), []).append(row)
        else:
            detail = f"`{columns['conversation']}` is empty"
            yield Row(row.line, row.raw, reason="missing_field", detail=detail)
    forms: Sequence[str] = FORMS
    if "time" in columns:
        every = [row.values for rows in conversations.values() for row in rows if row.values]
        forms = _forms([values[columns["time"]] for values in every])
    for messages in conversations.values():
        yield _conversation(messages, columns, forms)


def _conversation(rows: list[Row], columns: Mapping[str, str], forms: Sequence[str]) -> Row:
    first = min(row.line for row in rows)
    if "time" in columns:
        moments = [_moment(row.values[columns["time"]], forms) for row in rows if row.values]
        if None in moments:
            wrong = rows[moments.index(None)]
            column = columns["time"]
            detail = f"line {wrong.line}: `{column}` is no time, or its day and month are unclear"
            return Row(first, [row.raw for row in rows], reason="unordered_time", detail=detail)
        order = sorted(range(len(rows)), key=lambda number: (moments[number], rows[number].line))
        rows = [rows[number] for number in order]
    read = {columns[part] for part in THREAD_PARTS if part in columns} - {columns["conversation"]}
    others: dict[str, Any] = {}
    for row in rows:
        for name, value in (row.values or {}).items():
            if name not in read and others.get(name) in (None, ""):
                others[name] = value
    messages = [
        {"role": str(row.values[columns["role"]]), "content": row.values[columns["content"]]}
        for row in rows
        if row.values is not None
    ]
    record = {**others, MESSAGES: messages}
    return Row(first, record, record, split=rows[0].split)


def _moment(value: Any, forms: Sequence[str]) -> float | None:
    """Return when a message was written, as a number; None of what is no time."""
    moments = (_number(value), _iso(value), _written(value, forms))
    return next((moment for moment in moments if moment is not None), None)


def _forms(values: Iterable[Any]) -> Sequence[str]:
    """Return how the times of a column are written: which of two numbers is the day.

    Where no value shows it, neither is taken: then no such time can be ordered.
    """
    dates = [found for value in values if (found := _SLASHED.match(str(value)))]
    is_day_first, is_month_first = (any(int(found[n]) > 12 for found in dates) for n in (1, 2))
    if is_day_first == is_month_first:
        return FORMS
    return (*FORMS, *(DAY_FIRST if is_day_first else MONTH_FIRST))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _iso(value: Any) -> float | None:
    try:
        moment = (
            value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        )
    except ValueError:
        return None
    return _seconds(moment)


FORMS = (*("%a %b %d %H:%M:%S %z %Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"),)
"""How times are written besides ISO 8601 and RFC 2822."""
MONTH_FIRST = ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y")
DAY_FIRST = ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y")
_SLASHED = re.compile(r"\s*(\d{1,2})/(\d{1,2})/\d{4}\b")


def _written(value: Any, forms: Sequence[str]) -> float | None:
    for form in forms:
        try:
            return _seconds(datetime.strptime(str(value).strip(), form))
        except ValueError:
            continue
    try:
        return _seconds(parsedate_to_datetime(str(value)))
    except (TypeError, ValueError):
        return None


def _seconds(moment: datetime) -> float:
    """Return a moment as a number; one without a zone is taken as UTC, to be compared."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
