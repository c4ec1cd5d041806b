"""Rows that are one message each -> rows that are one conversation each."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ftool.errors import DataError
from ftool.prepare.read.conversation import ROLE_NAMES, folded, own_role
from ftool.prepare.read.mapping import candidates
from ftool.prepare.read.rows import Row
from ftool.prepare.read.survey import Survey

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Source

PARTS = ("conversation", "role", "content", "time")
MESSAGES = "messages"
"""The column that the messages of a conversation are put in."""


def thread_columns(source: "Source", survey: Survey) -> dict[str, str] | None:
    """Return the columns that make every row a message, named or found; None where none do.

    Found are only those whose speakers are all known, on both sides, and whose conversations have
    several rows.
    """
    names = list(survey.looks)
    given = {part: getattr(source.columns, part) for part in PARTS}
    if given["conversation"] is not None:
        return {part: _named(one, names) for part, one in given.items() if one is not None}
    if any(value is not None for value in source.columns.model_dump().values()):
        return None
    found = {part: best[0].column for part in PARTS if (best := candidates(part, names, survey))}
    if not {"conversation", "role", "content"} <= found.keys():
        return None
    is_repeated = survey.spread.get(found["conversation"], 0) < survey.rows
    return found if is_repeated and _are_known(found["role"], source, survey) else None


def _named(column: str | int, names: list[str]) -> str:
    is_place = isinstance(column, int) and 0 < column <= len(names)
    return names[column - 1] if is_place and isinstance(column, int) else str(column)


def _are_known(column: str, source: "Source", survey: Survey) -> bool:
    names = survey.values.get(column, ())
    own = {name: own_role(name, source.roles) for name in names}
    roles = {role[0] if (role := own[name]) else ROLE_NAMES.get(folded(name)) for name in names}
    return None not in roles and {"user", "assistant"} <= roles


def thread_rows(rows: Iterable[Row], columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield one row for each conversation, in the order of their first messages.

    A row that cannot be read, or lacks one of the columns, is passed on as it is.

    Raises:
        DataError: the messages of a conversation cannot be ordered by their time.
    """
    conversations: dict[str, list[Row]] = {}
    for row in rows:
        values = row.values
        if values is None or any(column not in values for column in columns.values()):
            yield row
        else:
            conversations.setdefault(str(values[columns["conversation"]]), []).append(row)
    for messages in conversations.values():
        yield _conversation(messages, columns)


def _conversation(rows: list[Row], columns: Mapping[str, str]) -> Row:
    if "time" in columns:
        column = columns["time"]
        rows = sorted(rows, key=lambda row: _moment(row, column))
    read = {columns[part] for part in PARTS if part in columns} - {columns["conversation"]}
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
    return Row(min(row.line for row in rows), record, record)


def _moment(row: Row, column: str) -> tuple[float, int]:
    """Return when a message was written; those of one moment stay in the order of their rows."""
    value = row.values[column] if row.values else None
    for read in (_number, _iso, _mail):
        moment = read(value)
        if moment is not None:
            return moment, row.line
    raise DataError(
        f"line {row.line}: `{column}` is no time that can be ordered: {value!r}",
        hint="leave `time` out where the rows stand in the order in which they were written",
    )


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _iso(value: Any) -> float | None:
    try:
        moment = (
            value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        )
    except ValueError:
        return None
    return _seconds(moment)


FORMS = (
    *("%a %b %d %H:%M:%S %z %Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M"),
    "%d.%m.%Y %H:%M:%S",
)
"""How times are written besides ISO 8601 and RFC 2822."""


def _mail(value: Any) -> float | None:
    for form in FORMS:
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
