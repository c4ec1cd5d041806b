"""Which columns of a row play which part."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ftool.prepare.read.mapping import (
    BY_WORD,
    LABELS,
    TEXT_NAMES,
    Candidate,
    candidates,
    fold,
    lacks_header,
    says_nothing,
    words_of,
)
from ftool.prepare.read.survey import FEW, UNSEEN, Look, Survey

Given = Mapping[str, tuple[str, ...]]
"""Part -> the columns that the recipe names for it."""
ASKS = frozenset(("prompt", "instruction", "question", "query", "user_input", "user_message"))
"""What is asked in a column of such a name is answered in another."""
SURELY_TEXT = TEXT_NAMES[:8]
"""Names under which a number is a text, too."""
VARIED, SHORTEST_TEXT = 0.2, 10
"""Share of different values, or mean characters, from which short values are texts."""
FILLED = 0.5
"""Share of the rows in which a column of no known name must hold something to play a part."""
GUESSED = frozenset(("predicted", "prediction", "pred", "guess"))
"""Words of columns that hold what a model said, not what is right."""
TITLED = ("body", "description", "text", "content", "message", "review", "comment", "email", "mail")
"""Texts that go on behind a subject or title in a column of its own."""
TEXT_PAIRS = (
    *(("text", "text_b"), ("text_a", "text_b"), ("text1", "text2"), ("text_1", "text_2")),
    *(("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("premise", "hypothesis")),
    *(("sentence", "sentence2"), ("question1", "question2"), ("sentence_1", "sentence_2")),
)
"""Two texts that one label is about."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Which columns of a row play which part; several are joined in their order."""

    messages: str | None = None
    system: tuple[str, ...] = ()
    history: str | None = None
    prompt: tuple[str, ...] = ()
    completion: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    label: str | None = None
    tools: str | None = None
    wanted: str | None = None
    verdict: str | None = None
    media: str | None = None
    choices: str | None = None

    def parts(self) -> dict[str, tuple[str, ...]]:
        """Return the columns of each part that some play."""
        own = {name: getattr(self, name) for name in PARTS}
        listed = {name: (one,) if isinstance(one, str) else one for name, one in own.items()}
        return {name: columns for name, columns in listed.items() if columns}


PARTS = (
    *("system", "messages", "history", "prompt", "completion", "text", "label", "tools"),
    *("choices", "wanted", "verdict", "media"),
)
"""The parts of a shape, in the order in which people are told."""


@dataclass(frozen=True, slots=True)
class AmbiguousLabel:
    """Columns that could all be the label; nothing but a person knows which."""

    columns: tuple[str, ...]
    prompt: str


def detect(
    names: Collection[str], given: Given, kind: str, survey: Survey = UNSEEN
) -> Shape | AmbiguousLabel | None:
    """Return the shape that columns mean; what the recipe names goes first.

    Args:
        names: of the columns of a row.
        given: columns that the recipe names.
        kind: of the data, `chat` or `text`.
        survey: what the columns hold.

    Returns:
        None where the columns mean nothing for this kind of data.
    """
    chooser = _Chooser(names, given, survey)
    return chooser.corpus() if kind == "text" else chooser.chat()


class _Chooser:
    """The columns of a row, and who plays what."""

    def __init__(self, names: Collection[str], given: Given, survey: Survey) -> None:
        taken = {column for columns in given.values() for column in columns}
        self._free = [name for name in names if name not in taken]
        self._given, self._survey = given, survey

    def _best(self, part: str, *, apart: Collection[str] = ()) -> str | None:
        """Return the likeliest column; of several that only hold a word of the names, none."""
        found = candidates(part, (name for name in self._free if name not in apart), self._survey)
        is_clear = len(found) == 1 or (found and found[0].score > BY_WORD)
        return found[0].column if is_clear else None

    def _one(self, part: str) -> str | None:
        own = self._given.get(part)
        return own[0] if own else None

    def corpus(self) -> Shape | None:
        """Return which column is the text of a corpus."""
        if not self._given and lacks_header(self._free, self._survey):
            return None
        text = self._given.get("text") or _tuple(self._best("document"))
        text = text or _tuple(self._only("text"))
        return Shape(text=text, label=self._one("label")) if text else None

    def _only(self, look: Look) -> str | None:
        """Return the one column of no known name that looks so, if there is just one."""
        found = self._unnamed(look)
        return found[0] if len(found) == 1 else None

    def _unnamed(self, look: Look, apart: Collection[str] = ()) -> list[str]:
        """Return columns whose names say nothing, and that look so: what they hold decides."""
        return [
            name
            for name in self._free
            if self._survey.look(name) == look and name not in apart and says_nothing(name)
            if self._survey.filled.get(name, 0) >= FILLED
        ]

    def chat(self) -> Shape | AmbiguousLabel | None:
        """Return the columns of a conversation, a prompt and its completion, or a label."""
        if not self._given and lacks_header(self._free, self._survey):
            return None
        found = self._conversation() or self._choice() or self._pair() or self._labelled()
        if not isinstance(found, Shape):
            return found
        system = self._best("system")
        if system and found.label and self._survey.look(system) == "label":
            system = None  # the system that a ticket is about
        return replace(
            found,
            system=self._given.get("system") or _tuple(system),
            history=self._one("history") or (self._best("history") if found.prompt else None),
            tools=self._best("tools"),
            media=self._best("media") if found.messages or found.completion else None,
        )

    def _conversation(self) -> Shape | None:
        own = self._one("messages")
        if own is None and not self._given.keys() & {"prompt", "completion", "text"}:
            own = self._best("messages") or self._only("turns")
        if own is None:
            return None
        return Shape(messages=own, label=self._one("label"), wanted=self._wanted((own,)))

    def _wanted(self, apart: Collection[str]) -> str | None:
        """Return the column that says which rows are good, unless the recipe makes it the label."""
        if self._one("label"):
            return None
        rest = [name for name in self._free if name not in apart]
        return _first(candidates("wanted", rest, self._survey))

    def _choice(self) -> Shape | None:
        """Return the columns of a question, its choices, and which of them is right."""
        choices = self._best("choices")
        right = self._best("choice")
        if self._given or choices is None or right is None:
            return None
        prompt = self._question((right,), named=True)
        return Shape(prompt=prompt, choices=choices, completion=(right,)) if prompt else None

    def _pair(self) -> Shape | None:
        """Return the columns of a prompt and its completion."""
        if "label" in self._given and "completion" not in self._given:
            return None
        prompt = self._given.get("prompt") or self._given.get("text")
        completion = self._given.get("completion") or self._answer()
        if not completion:
            return None
        if not prompt:
            prompt = self._question(completion, named="completion" in self._given)
        if not prompt and self._survey.look(completion[0]) == "turns":
            return Shape(messages=completion[0])  # the whole conversation, its prompt inside
        if not prompt:
            return None
        return Shape(
            prompt=prompt,
            completion=completion,
            label=self._one("label"),
            wanted=self._wanted((*prompt, *completion)),
        )

    def _answer(self) -> tuple[str, ...]:
        """Return the column of what is learned; of two answers that of the preferred one."""
        chosen = self._best("chosen")
        if chosen and self._best("rejected"):
            return (chosen,)
        found = self._best("completion") or self._best("target")
        if found is None:
            return _tuple(self._best("summary") if self._best("summarized") else None)
        is_verdict = self._survey.look(found) == "verdict"
        if is_verdict and (self._best("label") or self._best("class")):
            return ()
        return (found,)

    def _question(self, completion: tuple[str, ...], *, named: bool) -> tuple[str, ...]:
        """Return the columns of what is given, with a context where there is one."""
        parts = ["prompt", *(["written"] if named else [])]
        if not named and completion[0] == self._best("summary"):
            parts.append("summarized")
        prompt = next((p for part in parts if (p := self._best(part, apart=completion))), None)
        if prompt is None:
            return ()
        context = self._best("context", apart=(prompt, *completion))
        if context is None and fold(prompt) == "instruction":
            context = self._best("prompt", apart=(prompt, *completion))
        if context is None:
            return (prompt,)
        # A passage stands before its question, the input of an instruction behind it.
        is_question = fold(prompt) in {"question", "query", "problem"}
        return (context, prompt) if is_question else (prompt, context)

    def _labelled(self) -> Shape | AmbiguousLabel | None:
        """Return the columns of a text and its label, which is the completion too."""
        if "completion" in self._given:
            return None
        own = self._one("label")
        named = self._given.get("prompt") or self._given.get("text")
        label = own or self._label(apart=named or ())
        if label is None:
            return None
        labels = label.columns if isinstance(label, AmbiguousLabel) else (label,)
        if not (own or named) and (swapped := self._swapped(labels[0])):
            return AmbiguousLabel((swapped, labels[0]), labels[0])
        text = None if named else self._written(apart=labels)
        prompt = named or (self._joined(text, labels) if text else ())
        if not prompt:
            return None
        if isinstance(label, AmbiguousLabel):
            return AmbiguousLabel(label.columns, prompt[-1])
        if not (own or named) and self._asks_more(prompt[-1], label):
            return None
        verdict = self._best("verdict", apart=(label, *prompt))
        return Shape(prompt=prompt, label=label, verdict=verdict)

    def _written(self, apart: Collection[str]) -> str | None:
        rest = [name for name in self._free if name not in apart]
        found = [c for c in candidates("written", rest, self._survey) if self._varies(c.column)]
        if found and (found[0].score > BY_WORD or len(found) == 1):
            return found[0].column
        texts = [name for name in rest if self._survey.look(name) == "text"]
        texts = [name for name in texts if self._survey.filled.get(name, 0) >= FILLED]
        return texts[0] if len(texts) == 1 and says_nothing(texts[0]) else None

    def _swapped(self, label: str) -> str | None:
        """Return the column named as the text where it holds labels, and the label's texts."""
        if self._survey.look(label) != "text" or self._survey.rows < FEW:
            return None
        named = [c for c in candidates("written", self._free, self._survey) if c.score > BY_WORD]
        found = [c.column for c in named if self._survey.look(c.column) == "label"]
        return found[0] if found else None

    def _varies(self, column: str) -> bool:
        """Tell a text from a column of few values, such as yes and no, and from numbers and ids."""
        if self._survey.look(column) in {"number", "identifier", "date"}:
            return fold(column) in SURELY_TEXT
        if self._survey.look(column) not in {"label", "flag"}:
            return True
        is_worded = self._survey.lengths[column] >= SHORTEST_TEXT
        return is_worded or self._survey.spread[column] >= VARIED * self._survey.rows

    def _joined(self, text: str, apart: Collection[str]) -> tuple[str, ...]:
        """Return the columns of a text that stands in two: its title, or the other of a pair."""
        rest = [name for name in self._free if name not in (text, *apart)]
        by_name = {fold(name): name for name in rest}
        other = next((by_name[b] for a, b in TEXT_PAIRS if fold(text) == a and b in by_name), None)
        if other:
            return (text, other)
        title = candidates("title", rest, self._survey) if fold(text) in TITLED else []
        return (title[0].column, text) if title else (text,)

    def _asks_more(self, prompt: str, label: str) -> bool:
        """Tell whether something is asked, and another column rather than the label answers it."""
        if fold(prompt) not in ASKS:
            return False
        rest = [name for name in self._free if name not in (prompt, label)]
        is_found = says_nothing(label) and not candidates("class", [label], self._survey)
        return is_found or any(
            self._survey.look(name) == "text" or candidates("completion", [name], self._survey)
            for name in rest
        )

    def _label(self, apart: Collection[str]) -> "str | AmbiguousLabel | None":
        """Return the column of the label, or those that could be it."""
        rest = [n for n in self._free if n not in apart and not GUESSED & words_of(n)]
        found = candidates("label", rest, self._survey)
        classes = [c.column for c in candidates("class", rest, self._survey)]
        if found:
            # Of a number and its name, the name says what the class is.
            own = found[0].column
            twins = [n for n in [c.column for c in found[1:]] + classes if self._says_same(own, n)]
            return twins[0] if self._survey.look(own) == "number" and twins else own
        likely = [name for name in classes if self._survey.look(name) in LABELS | {"number"}]
        likely = likely or classes[:1]
        if not likely:
            text = self._written(apart=apart)
            likely = [
                name
                for name in self._unnamed("label", (*apart, *_tuple(text)))
                if self._survey.spread.get(name, 0) > 1 and name in rest
                if name not in self._survey.coded
            ]
        if len(likely) > 1 and self._survey.are_twins(likely):
            likely = [next((n for n in likely if self._survey.look(n) == "label"), likely[0])]
        if len(likely) > 1:
            return AmbiguousLabel(tuple(likely), "")
        return likely[0] if likely else None

    def _says_same(self, one: str, other: str) -> bool:
        return self._survey.look(other) == "label" and self._survey.are_twins((one, other))


def _first(found: Sequence[Candidate]) -> str | None:
    return found[0].column if found else None


def _tuple(column: str | None) -> tuple[str, ...]:
    return (column,) if column is not None else ()
