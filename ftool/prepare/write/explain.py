"""Every decision about one row, told one after the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftool.artifacts import PreparedDataset, data_settings, ignore_note, read_jsonl
from ftool.errors import DataError, FtoolError, RecipeError, did_you_mean
from ftool.example import SPLITS, Example, is_held_out
from ftool.prepare.read.formats import Reader
from ftool.prepare.read.plan import Plan, plan_input, planned_rows
from ftool.prepare.read.rows import Row, Unusable
from ftool.prepare.read.sources import Input, find_inputs, input_encoding, read_rows
from ftool.prepare.refine.clean import RULES, clean
from ftool.prepare.refine.filters import checks
from ftool.prepare.refine.redact import redact
from ftool.prepare.refine.tokens import token_counter
from ftool.prepare.write.folder import REJECTED, refused_rows

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule said about a row; `passes` is None where it only tells."""

    rule: str
    sentence: str
    passes: bool | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A row as it was, what became of it, and why."""

    place: str
    raw: str
    steps: tuple[Step, ...]
    example: Example | None


def explain(recipe: "Recipe", place: str, *, output: Path = Path("data")) -> Explanation:
    """Tell what every rule says about one row, and where it ended.

    Args:
        recipe: sources and rules.
        place: `FILE:LINE` as rejected.jsonl and the ids of examples write it.
        output: the folder of prepared datasets, which knows what was decided among rows.

    Raises:
        RecipeError: the place is not written FILE:LINE.
        DataError: no source has that file, or it has no row on that line.
    """
    found, plan, row = _find(recipe, place)
    steps, example = _of_row(recipe, found, plan, row)
    outcome = Step("outcome", "refused before it was compared with other rows", False)
    if example is not None:
        outcome = _outcome(recipe, output / recipe.data_name, found.shown, row.line)
    raw = row.raw if isinstance(row.raw, str) else str(row.raw)
    return Explanation(f"{found.shown}:{row.line}", raw, (*steps, outcome), example)


def _find(recipe: "Recipe", place: str) -> tuple[Input, Plan, Row]:
    name, _, number = place.partition("#")[0].rpartition(":")
    if not name or not number.isdecimal():
        raise RecipeError(f"--explain: `{place}` is not FILE:LINE", hint="such as tickets.csv:12")
    inputs = find_inputs(recipe.folder, recipe.data.sources, ignore_note, kind=recipe.data.kind)
    named = [found for found in inputs if found.shown == name]
    named = named or [found for found in inputs if found.shown.endswith(f"/{name}")]
    named = named or [f for f in inputs if f.path and f.path.resolve() == Path(name).resolve()]
    if not named:
        near = did_you_mean(name, [found.shown for found in inputs])
        raise DataError(f"--explain: no source of the recipe is {name}{near}")
    encoding = input_encoding(named[0], ignore_note)
    plan = plan_input(named[0], encoding)
    row = _covering(read_rows(named[0], encoding), int(number))
    if row is not None and row.values is not None and plan.threads is not None:
        of_line = row.values.get(plan.threads["conversation"])
        threads = planned_rows(named[0], encoding, plan)
        column = plan.threads["conversation"]
        row = next((one for one in threads if one.values and one.values[column] == of_line), row)
    if row is None:
        raise DataError(f"--explain: {named[0].shown} has no row on line {number}")
    return named[0], plan, row


def _covering(rows: Iterator[Row], line: int) -> Row | None:
    """Return the row that a line is a part of."""
    covering = None
    for row in rows:
        if row.line > line:
            break
        covering = row
    is_covered = covering is not None and line < covering.line + _lines(covering)
    return covering if is_covered else None


def _lines(row: Row) -> int:
    """Return how many lines of its file a row takes."""
    return row.raw.rstrip("\n").count("\n") + 1 if isinstance(row.raw, str) else 1


def _of_row(
    recipe: "Recipe", found: Input, plan: Plan, row: Row
) -> tuple[list[Step], Example | None]:
    """Return what the rules for single rows say, and the example where all of them pass."""
    data = recipe.data
    reader = Reader(found.shown, "", found.source, data, plan.survey, plan.threads)
    try:
        raw = reader.example(row)
    except Unusable as why:
        return [Step("read", _told(why.reason, why.detail), False)], None
    cleaned, changed = clean(raw, data.clean)
    example, personal = redact(cleaned, data.clean)
    rules = [rule for rule in RULES if rule in changed]
    held_out = is_held_out(found.source.split or row.split)
    steps = [
        Step("read", f"{_parts(raw)} of the columns {', '.join(reader.columns)}", True),
        Step("clean", f"changed by {', '.join(rules)}" if rules else "nothing to change"),
        *_personal(personal, data.clean.personal_data, held_out=held_out),
        *(Step(*check) for check in checks(example, data, held_out=held_out)),
        *_tokens(recipe, example, held_out=held_out),
    ]
    passes = all(step.passes is not False for step in steps)
    return steps, example if passes else None


def _parts(example: Example) -> str:
    if example.text is not None:
        return f"a text of {len(example.text):,} characters"
    label = f" with the label `{example.label}`" if example.label else ""
    return f"{' > '.join(message.role for message in example.messages)}{label}"


def _personal(found: Mapping[str, int], mode: str, *, held_out: bool) -> Iterator[Step]:
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
    if mode == "keep":
        yield Step("personal_data", "not looked for")
    elif mode == "drop":
        yield Step("personal_data", listed or "none found", not listed or held_out)
    else:
        yield Step("personal_data", f"masked: {listed}" if listed else "none found")


def _tokens(recipe: "Recipe", example: Example, *, held_out: bool) -> Iterator[Step]:
    count, most = token_counter(recipe), recipe.data.filter.max_tokens
    if count is not None and most is not None:
        tokens = count(example)
        yield Step(
            "too_many_tokens", f"{tokens:,} tokens; at most {most:,}", tokens <= most or held_out
        )


def _outcome(recipe: "Recipe", folder: Path, shown: str, line: int) -> Step:
    """Return where the row is: in what the last preparation wrote, also where it was refused."""
    refused = refused_rows(folder)
    if refused is not None:
        return _rejection(refused, shown, line) or Step(
            "outcome", f"not rejected, but the preparation was refused: see {refused}"
        )
    try:
        dataset = PreparedDataset.open(folder)
    except FtoolError:
        return Step("outcome", f"not known before {folder} is prepared: run ftool prepare")
    if dataset.manifest()["recipe"] != data_settings(recipe):
        return Step("outcome", f"{folder} was prepared with other settings: run ftool prepare")
    if (rejection := _rejection(folder / REJECTED, shown, line)) is not None:
        return rejection
    for split in SPLITS:
        if dataset.count(split) and any(
            (example.source, example.line) == (shown, line) for example in dataset.examples(split)
        ):
            return Step("outcome", f"kept in {split}", True)
    return Step("outcome", f"{folder} was prepared before this row was there: run ftool prepare")


def _rejection(file: Path, shown: str, line: int) -> Step | None:
    """Return what rejected.jsonl says of a row, None where it is not in it."""
    for record in read_jsonl(file):
        if (record["source"], record["line"]) == (shown, line):
            measured = "" if record["value"] is None else f" ({_measured(record)})"
            return Step("outcome", f"{_told(record['reason'], record['detail'])}{measured}", False)
    return None


def _told(reason: str, detail: str) -> str:
    return f"{reason}: {detail}" if detail else reason


def _measured(record: dict[str, object]) -> str:
    value = f"value {record['value']:g}"
    threshold = record["threshold"]
    return value if threshold is None else f"{value}, threshold {threshold:g}"
