"""What to write into a recipe where columns mean nothing, or more than one thing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftool.prepare.read.conversation import ROLE_NAMES, folded
from ftool.prepare.read.mapping import (
    BY_WORD,
    candidates,
    fold,
    lacks_header,
    words_of,
)
from ftool.prepare.read.shape import FILLED, AmbiguousLabel, Shape, detect
from ftool.prepare.read.survey import Survey
from ftool.wording import cut, listed

COLUMNS_SHOWN, LETTERS_SHOWN = 20, 60
THREAD_PARTS = ("conversation", "role", "content", "time")
"""Columns that make every row a message, the last one only where it is there."""
NEVER = frozenset(("rejected", "dispreferred", "rejected_response"))
"""Columns that no hint ever proposes to learn."""
SWITCHES = frozenset(("true", "false", "null", "yes", "no", "on", "off"))
"""Words that YAML may take for something else."""
TABLES = (".csv", ".tsv", ".tab", ".xlsx", ".xlsm", ".txt", ".dat", ".data", "")
"""Files that have a header, or none."""
MOST_JOINED = 2
"""So many texts are proposed as one prompt, at most."""
MOST_NUMBERS = 20
"""A column of more different numbers is proposed as no label."""
MOST_SPEAKERS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an input cannot be read: a code, what is wrong, and what to do."""

    code: str
    message: str
    hint: str


def named(columns: Sequence[str]) -> str:
    """Name columns; what no column is called, such as a row read as the header, is cut."""
    return listed([cut(name, LETTERS_SHOWN) for name in columns], COLUMNS_SHOWN)


def ambiguous_label(shown: str, doubt: AmbiguousLabel) -> Problem:
    """Ask which of several columns is the label."""
    first, *_ = doubt.columns
    return Problem(
        "ambiguous_label",
        f"{shown}: each of {listed(doubt.columns, COLUMNS_SHOWN)} could be the label",
        f"name one in the recipe: columns: {{prompt: {_written(doubt.prompt)}, label: "
        f"{_written(first)}}}",
    )


def unknown_columns(shown: str, columns: Sequence[str], kind: str, survey: Survey) -> Problem:
    """Say that columns mean nothing for this kind of data, and what to name."""
    if kind == "text":
        text = next(iter(_by_length(columns, survey)), None)
        return Problem(
            "unknown_columns",
            f"{shown}: no text column found among {named(columns)}",
            f"name it in the recipe: columns: {{text: {_written(text or columns[0])}}}",
        )
    what = (
        f"{shown}: no conversation, prompt with completion, or text with label found among its "
        f"columns {named(columns)}"
    )
    if lacks_header(columns, survey) and Path(shown.removesuffix(".gz")).suffix in TABLES:
        return Problem(
            "no_header", f"{what}; its first line looks like data", _by_place(columns, survey)
        )
    if isinstance(detect(columns, {}, "text", survey), Shape):
        what += "\n  a corpus without answers needs `data.kind: text`"
    return Problem("unknown_columns", what, _proposal(columns, survey))


def _proposal(columns: Sequence[str], survey: Survey) -> str:
    threads = _of_threads(columns, survey)
    if threads:
        return threads
    prompt, label, completion = _parts(columns, survey)
    if prompt and completion:
        parts = f"prompt: {_listed([_written(name) for name in prompt])}, completion: "
        parts += _written(completion)
    elif prompt and label:
        parts = f"prompt: {_written(prompt[0])}, label: {_written(label)}"
    elif prompt:
        return (
            "name the column of the answer in the recipe, or set data.kind=text for a corpus; in a"
            " text file write one example a line, a tab between the text and its label or answer"
        )
    else:
        return "no column holds text to learn from; name another file"
    return f"name them in the recipe: columns: {{{parts}}}"


def _of_threads(columns: Sequence[str], survey: Survey) -> str | None:
    """Propose how rows that are one message each become conversations."""
    found = {part: candidates(part, columns, survey) for part in THREAD_PARTS}
    if not all(found[part] for part in THREAD_PARTS[:3]):
        return None
    named = {part: own[0].column for part, own in found.items() if own}
    speakers = survey.values.get(named["role"], ())
    is_repeated = survey.spread.get(named["conversation"], 0) < survey.rows
    if not is_repeated or not 2 <= len(speakers) <= MOST_SPEAKERS:
        return None
    user, assistant = _sides(speakers)
    parts = ", ".join(f"{part}: {_written(column)}" for part, column in named.items())
    return (
        f"if every row is one message, say so in the recipe: columns: {{{parts}}}, roles: "
        f"{{user: [{_written(user)}], assistant: [{_written(assistant)}]}}"
    )


def _sides(speakers: Sequence[str]) -> tuple[str, str]:
    """Return who asks and who answers: by their names, or the first one asks."""
    known = {ROLE_NAMES.get(folded(name)): name for name in reversed(speakers)}
    others = [name for name in speakers if folded(name) not in ROLE_NAMES]
    user = known.get("user") or others.pop(0)
    return user, others[0] if others else known.get("assistant", speakers[-1])


def _parts(
    columns: Sequence[str], survey: Survey, *, has_names: bool = True
) -> tuple[list[str], str | None, str | None]:
    """Return the likeliest prompt, label and completion, by their names and what they hold.

    Of several texts the last one answers: a question stands before its answer.
    """
    usable = [name for name in columns if fold(name) not in NEVER]
    unseen = [name for name in usable if survey.look(name) == "unknown"]
    if unseen:
        return unseen[:1], unseen[-1] if len(unseen) > 1 else None, None
    texts = [n for n in usable if survey.look(n) == "text" and survey.filled.get(n, 0) >= FILLED]
    named = usable if has_names else []
    asked = [c.column for c in candidates("prompt", named, survey)]
    answered = {c.column for c in candidates("completion", named, survey)} - set(asked)
    answers = [n for n in usable if n in answered and "system" not in words_of(n)]
    others = [name for name in texts if name not in answers][:MOST_JOINED]
    if answers and (asked or others):
        return asked[:1] or others, None, answers[0]
    is_asked = any(c.score > BY_WORD for c in candidates("prompt", named, survey))
    if is_asked and not any(_is_few(name, survey) for name in usable):
        return asked[:1], None, None
    known = {c.column for part in ("class", "label") for c in candidates(part, named, survey)}
    linked = {c.column for p in ("conversation", "role") for c in candidates(p, usable, survey)}
    few = [n for n in usable if _is_few(n, survey) and n not in (*texts, *linked)]
    label = min(few, key=lambda n: (n not in known, survey.spread.get(n, 0)), default=None)
    if not texts:
        texts = [name for name in _by_length(usable, survey) if name != label][:1]
    if len(texts) > 1 and not known:
        return texts[:-1][:MOST_JOINED], None, texts[-1]
    written = [c.column for c in candidates("written", texts, survey)] if has_names else []
    return (written or _by_length(texts, survey))[:1], label, None


def _is_few(name: str, survey: Survey) -> bool:
    """Tell whether a column holds few values that repeat, numbers among them."""
    look, spread = survey.look(name), survey.spread.get(name, 0)
    return spread > 1 and (
        look in {"label", "flag"} or (look == "number" and spread <= MOST_NUMBERS)
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


def _by_length(columns: Sequence[str], survey: Survey) -> list[str]:
    """Return columns of words, those with the longest first."""
    texts = [name for name in columns if survey.look(name) in {"text", "label", "unknown"}]
    return sorted(texts, key=lambda name: -survey.lengths.get(name, 0))


def _by_place(columns: Sequence[str], survey: Survey) -> str:
    prompt, label, completion = _parts(columns, survey, has_names=False)
    places = {name: str(number) for number, name in enumerate(columns, start=1)}
    parts = f"prompt: {_listed([places[name] for name in prompt])}" if prompt else "prompt: 1"
    if completion:
        parts += f", completion: {places[completion]}"
    elif label:
        parts += f", label: {places[label]}"
    return f"say so in the recipe: {{path: ..., header: none, columns: {{{parts}}}}}"


def _written(name: str) -> str:
    """Write a column name as YAML takes it up again."""
    short = cut(name, LETTERS_SHOWN)
    plain = all(letter.isalnum() or letter in "_- " for letter in short) and not short.isdecimal()
    plain = plain and short.casefold() not in SWITCHES
    return short if plain and short == short.strip() else '"' + short.replace('"', '\\"') + '"'
