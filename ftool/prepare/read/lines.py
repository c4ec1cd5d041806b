"""Text files that hold labelled texts, questions with answers or conversations, by their lines."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ftool.prepare.read.conversation import ASSISTANT, USER, folded
from ftool.prepare.read.mapping import candidates
from ftool.prepare.read.survey import look_of

SAMPLE = 1_000
MOSTLY = 0.98
"""Share of the lines that must be written alike."""
LEAST = 3
"""A file of fewer lines shows no pattern."""
MANY, MANY_ROWS = 50, 20
"""So many lines, and so many of each first word on average, show that it is a label."""
SPOKEN = 0.2
"""Least share of the lines of a transcript that name who speaks."""
_FASTTEXT = re.compile(r"((?:__label__\S+[ \t,]+)+)(\S.*)", re.DOTALL)
_SPEAKER = re.compile(r"[\[(*<]{0,2}(\w[\w -]{0,24}?)[\])*>]{0,2}\s?[:\uff1a][*]{0,2}\s*(.*)")
_WORD = re.compile(r"\w[\w:.+-]*\w")
_RULE = re.compile(r"(?<![-=*_#~])[-=*_#~]{3,}\s*$")
"""Parts conversations, on a line of its own or at the end of one."""
_ASKS = frozenset(("q", "question", "\u95ee", "\u554f", "\u95ee\u9898"))
_ANSWERS = frozenset(("a", "answer", "\u7b54", "\u7b54\u6848"))

Record = dict[str, Any]
Numbered = list[tuple[int, str]]


def read_lines(text: str) -> Iterator[tuple[int, Record]] | None:
    """Return number and record of every example of a text file, None for a text as such.

    Known are `text<TAB>label` and `label<TAB>text`, `text@label`, fastText's `__label__a text`,
    `question<TAB>answer`, lines that begin with `Q:` and `A:`, and transcripts that name speakers.
    """
    every = [(n, line) for n, line in enumerate(_lines(text), start=1)]
    lines = [(n, line) for n, line in every if line.strip()]
    if len(lines) < LEAST:
        return None
    sample = [line for _, line in lines[:SAMPLE]]
    if _share([bool(_FASTTEXT.fullmatch(line)) for line in sample]) >= MOSTLY:
        return ((number, _fasttext(line)) for number, line in lines)
    for sign in ("\t", "@", "|", ";", "~"):
        names = (
            _names(sample, sign) if _share([sign in line for line in sample]) >= MOSTLY else None
        )
        if names is not None:
            return _split(every, sign, names)
    return _transcript(every) or _worded(lines, sample)


def _worded(lines: Numbered, sample: Sequence[str]) -> Iterator[tuple[int, Record]] | None:
    """Read lines that begin with one of a few words, their label; prose begins with many."""
    first = [line.split(None, 1) for line in sample]
    kinds = {words[0] for words in first}
    is_few = len(kinds) > 1 and len(kinds) * MANY_ROWS <= len(sample) >= MANY
    if not is_few or min(map(len, first)) < 2 or not all(map(_WORD.fullmatch, kinds)):
        return None
    return (
        (number, dict(zip(("label", "text"), line.split(None, 1), strict=True)))
        for number, line in lines
    )


def is_tabbed(text: str) -> bool:
    """Tell whether all lines have the same fields between tabs, three at least."""
    counts = [line.count("\t") for line in _lines(text)[:SAMPLE] if line.strip()]
    return (
        len(counts) >= LEAST
        and counts[0] > 1
        and _share([c == counts[0] for c in counts]) >= MOSTLY
    )


def _split(every: Numbered, sign: str, names: tuple[str, str]) -> Iterator[tuple[int, Record]]:
    if names[1] == "completion":
        blocks = _blocks(every)
        if len(blocks) > 1 and sum(map(len, blocks)) >= 2 * len(blocks):
            for block in blocks:  # a blank line ends a conversation
                yield block[0][0], {"messages": [_fields(line, sign, names) for _, line in block]}
            return
    for number, line in every:
        if line.strip() and not (number == 1 and _is_header(_fields(line, sign, names))):
            yield number, dict(zip(names, _fields(line, sign, names), strict=True))


def _is_header(fields: Sequence[str]) -> bool:
    """Tell names of columns from a text and its label."""
    parts = ("written", "label", "class", "prompt", "completion")
    return all(any(candidates(part, [field]) for part in parts) for field in fields)


def _blocks(every: Numbered) -> list[Numbered]:
    """Return runs of lines between blank ones."""
    blocks: list[Numbered] = [[]]
    for number, line in every:
        if line.strip():
            blocks[-1].append((number, line))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _names(sample: Sequence[str], sign: str) -> tuple[str, str] | None:
    """Return which side of the sign is the label: the one of few repeated values."""
    if sign == "\t" and _share([line.count(sign) > 1 for line in sample]) > 1 - MOSTLY:
        return None
    before = look_of([line.split(sign, 1)[0] for line in sample])
    behind = look_of([line.rsplit(sign, 1)[-1] for line in sample])
    classes = {"label", "number", "flag"}
    if behind in classes and before == "text":
        return "text", "label"
    if before in classes and behind == "text":
        return "label", "text"
    return ("prompt", "completion") if sign == "\t" and {before, behind} == {"text"} else None


def _fields(line: str, sign: str, names: tuple[str, str]) -> list[str]:
    is_first = names[0] in {"text", "prompt"}
    before, _, behind = line.rpartition(sign) if is_first else line.partition(sign)
    return [before.strip(), behind.strip()]


def _fasttext(line: str) -> Record:
    found = _FASTTEXT.fullmatch(line)
    if found is None:
        return {"text": line, "label": None}
    labels = [name.strip(" ,").removeprefix("__label__") for name in found[1].split()]
    return {"text": found[2].strip(), "label": labels[0] if len(labels) == 1 else labels}


def _transcript(every: Numbered) -> Iterator[tuple[int, Record]] | None:
    """Read lines that name who speaks; those that name nobody go on with what was said."""
    filled = [line for _, line in every if line.strip()]
    names = [name for line in filled if (name := _speaker(line)[0])]
    asks, answers = (sum(name in own for name in names) for own in (_ASKS, _ANSWERS))
    if min(asks, answers) > 1 and asks + answers == len(names) >= SPOKEN * len(filled):
        return _answered(every)
    sides = [sum(name in own for name in names) for own in (USER, ASSISTANT)]
    is_system = not sides[1] and "system" in names  # task dialogues call the assistant so
    if not sides[0] or not (sides[1] or is_system) or len(names) < SPOKEN * len(filled):
        return None
    return _conversations(every)


def _speaker(line: str) -> tuple[str, str]:
    """Return who speaks in a line and what is said; nobody where no known name stands there."""
    found = _SPEAKER.fullmatch(line.strip())
    name = folded(found[1]) if found else ""
    is_known = name in _ASKS or name in _ANSWERS or name in USER or name in ASSISTANT
    return (name, found[2]) if found and (is_known or name == "system") else ("", line.strip())


def _answered(every: Numbered) -> Iterator[tuple[int, Record]]:
    """Yield questions with the answer behind them, which several may share."""
    asked: list[tuple[int, list[str]]] = []
    answer: list[str] | None = None

    def pairs() -> Iterator[tuple[int, Record]]:
        for number, lines in asked if answer is not None else ():
            text = "\n".join(answer or ()).strip()
            yield number, {"question": "\n".join(lines).strip(), "answer": text}

    for number, line in every:
        name, said = _speaker(line)
        if name in _ASKS:
            if answer is not None:
                yield from pairs()
                asked, answer = [], None
            asked.append((number, [said]))
        elif name in _ANSWERS:
            answer = [*(answer or []), said]
        elif answer is not None:
            answer.append(line.rstrip())
        elif asked:
            asked[-1][1].append(line.rstrip())
    yield from pairs()


def _conversations(every: Numbered) -> Iterator[tuple[int, Record]]:
    """Yield conversations, which a rule such as `---` parts, or else a blank line."""
    ruled = any(_RULE.search(line) for _, line in every)
    blocks: list[Numbered] = [[]]
    for number, line in every:
        rule = _RULE.search(line) if ruled else None
        said = line[: rule.start()] if rule else line
        if said.strip():
            blocks[-1].append((number, said))
        if blocks[-1] and (rule or not (ruled or line.strip())):
            blocks.append([])
    for block in blocks:
        turns: list[dict[str, str]] = []
        for _, line in block:
            name, said = _speaker(line)
            if name:
                turns.append({"role": name, "content": said})
            elif turns and line.strip():
                turns[-1]["content"] += f"\n{line.rstrip()}"
        if turns:
            yield block[0][0], {"messages": turns}


def _lines(text: str) -> list[str]:
    """Return lines that end with a line feed; other signs that could end one are part of a text."""
    return text.replace("\r\n", "\n").split("\n")


def _share(answers: Sequence[bool]) -> float:
    return sum(answers) / len(answers)
