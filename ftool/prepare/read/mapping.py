"""Which column plays which part: one table of rules, scored by names and by what columns hold."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ftool.prepare.read.survey import FEW, UNSEEN, Look, Survey

Given = Mapping[str, tuple[str, ...]]
"""Part -> the columns that the recipe names for it."""

NESTED: frozenset[Look] = frozenset(("turns", "pairs", "strings", "list"))
LABELS: frozenset[Look] = frozenset(("label", "flag", "unknown"))
WRITTEN: frozenset[Look] = frozenset(("text", "label", "number", "flag", "unknown", "identifier"))
MEDIA: frozenset[Look] = frozenset(("media", "text", "identifier", "unknown", *NESTED))
ANY: frozenset[Look] = WRITTEN | NESTED | {"empty", "date", "object", "verdict"}


class Rule(NamedTuple):
    """How a column is known to play a part.

    `names` are those that mean the part, best first; a column of another name that holds one of
    them as a word is weaker, and counts only with one of the looks in `by_word`.
    """

    part: str
    names: tuple[str, ...]
    looks: frozenset[Look] = ANY
    by_word: frozenset[Look] = frozenset()


_ASKED = (
    *("prompt", "instruction", "question", "input", "query", "request", "problem", "inputs"),
    *("user_message", "user_input", "customer_message", "input_text", "user", "human", "customer"),
    *("pregunta", "pergunta", "frage", "domanda", "intrebare", "вопрос", "问题", "質問", "q"),
)
_ANSWERED = (
    *("completion", "response", "output", "answer", "reply", "assistant", "answers", "solution"),
    *("assistant_message", "assistant_response", "model_response", "output_text", "target_text"),
    *("outputs", "ideal", "ideal_response", "expected_output", "expected", "best_answer", "bot"),
    *("gpt", "reference_answer", "reponse", "réponse", "respuesta", "resposta", "antwort"),
    *("risposta", "raspuns", "ответ", "答案", "回答", "a", "reference"),
)
_TEXTS = (
    *("text", "message", "utterance", "sentence", "query", "question", "body", "comment"),
    *("review", "tweet", "post", "content", "description", "complaint", "feedback", "ticket"),
    *("sms", "email", "mail", "narrative", "headline", "request", "prompt", "input", "instruction"),
    *("document", "article", "statement", "phrase", "transcript", "texto", "texte", "testo"),
    *("nachricht", "mensaje", "sentence1", "sentence_1", "sentence_a", "text1", "text_1", "text_a"),
    *("premise", "question1", "subject", "title", "summary", "problem"),
)
LABEL_NAMES = ("label", "labels", "label_text", "label_name")
"""A column of such a name is the label, whatever else could be one."""
_CLASSES = (
    *("intent", "category", "class", "sentiment", "emotion", "topic", "tag", "target"),
    *("intents", "categories", "classification", "class_name", "intent_name", "category_name"),
    *("queue", "department", "team", "airline_sentiment", "polarity", "is_spam", "spam", "label"),
    *("etiqueta", "clase", "categoria", "categoría", "catégorie", "kategorie", "clasificacion"),
)

RULES: tuple[Rule, ...] = (
    Rule(
        "messages",
        (
            *("messages", "conversations", "conversation", "dialog", "dialogue", "dialogs"),
            *("turns", "utterances", "chat", "contents", "log", "transcript", "original"),
        ),
        NESTED | {"unknown"},
    ),
    Rule("chosen", ("chosen", "preferred", "chosen_response"), WRITTEN | NESTED | {"object"}),
    Rule("rejected", ("rejected", "dispreferred", "rejected_response")),
    Rule("prompt", _ASKED, ANY - {"empty"}, by_word=frozenset(("text",))),
    Rule("completion", _ANSWERED, ANY - {"empty"}, by_word=frozenset(("text",))),
    Rule("target", ("target", "targets"), frozenset(("text", "object", "turns"))),
    Rule("choices", ("choices", "options", "endings"), frozenset(("strings", "object", "list"))),
    Rule(
        "choice", ("answerkey", "answer", "answer_index", "answer_idx", "label", "correct", "gold")
    ),
    Rule("title", ("subject", "title", "headline", "review_title", "summary"), WRITTEN),
    Rule("summary", ("summary", "highlights", "abstract"), WRITTEN),
    Rule("summarized", ("document", "article", "dialogue", "text", "content"), WRITTEN),
    Rule("written", _TEXTS, WRITTEN | {"date"}, by_word=frozenset(("text",))),
    Rule("label", LABEL_NAMES, LABELS | {"number", "text", "identifier", "strings", "list"}),
    Rule(
        "class",
        _CLASSES,
        LABELS | {"number", "text", "identifier", "strings", "list"},
        by_word=frozenset(("label",)),
    ),
    Rule(
        "context",
        (
            *("context", "passage", "input", "inputs", "knowledge", "background", "paragraph"),
            *("contexts", "reference_contexts", "table_schema", "schema"),
        ),
        WRITTEN | {"empty", "strings", "object"},
    ),
    Rule(
        "system",
        ("system", "system_prompt", "system_message", "systeminstruction", "system_instruction"),
        WRITTEN | {"empty", "object"},
    ),
    Rule("history", ("history", "chat_history"), NESTED | {"empty", "unknown"}),
    Rule("tools", ("tools", "functions"), ANY),
    Rule(
        "wanted",
        ("label", "kto_tag", "desirable", "thumbs_up", "liked", "preferred", "is_helpful"),
        frozenset(("flag",)),
    ),
    Rule("verdict", ("answer",), frozenset(("verdict",))),
    Rule("media", ("images", "image", "audio", "audios", "video", "videos"), MEDIA),
    Rule(
        "conversation",
        (
            *("conversation_id", "conversationid", "conv_id", "convo_id", "dialogue_id"),
            *("dialog_id", "chat_id", "thread_id", "session_id", "ticket_id", "case_id"),
            *("conversation", "thread", "chat", "dialogue", "session", "ticket", "case"),
        ),
        frozenset(("identifier", "number", "label", "text")),
        by_word=frozenset(("identifier", "number", "label")),
    ),
    Rule(
        "role",
        (
            *("role", "speaker", "author", "sender", "from", "who", "author_role", "author_type"),
            *("sender_type", "sender_role", "speaker_role", "user_type", "participant", "actor"),
            *("user_id", "sender_id", "participant_id", "username"),
        ),
        frozenset(("label", "flag")),
    ),
    Rule("content", ("content", "text", "message", "body", "utterance", "said", "msg"), WRITTEN),
    Rule(
        "time",
        ("timestamp", "time", "created_at", "date", "sent_at", "datetime", "turn", "turn_id"),
        frozenset(("date", "number")),
    ),
    Rule(
        "document",
        (
            *("text", "message", "utterance", "sentence", "query", "content", "document", "body"),
            *("article", "page_content"),
        ),
        WRITTEN,
    ),
)
"""Part -> the columns that may play it. A part is listed once."""

_RULE = {rule.part: rule for rule in RULES}
EXACT, WEAKEST_EXACT, BY_WORD = 200, 100, 50
EMPTY = 150
"""Points: a name, its least, a name that holds the word; taken off where a column is empty."""


ASKS = frozenset(("prompt", "instruction", "question", "query", "user_input", "user_message"))
"""What is asked in a column of such a name is answered in another."""
SURELY_TEXT = _TEXTS[:8]
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
LONG_NAME_WORDS, LONG_NAME = 6, 60
_GENERATED = re.compile(r"column_\d+|unnamed.*|_.*|.*_hash|.*_id|id", re.IGNORECASE)
"""Names that tables and tools give columns that hold nothing to learn."""


class Candidate(NamedTuple):
    """A column that may play a part, and how strongly that is meant."""

    score: int
    column: str


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


def candidates(part: str, names: Iterable[str], survey: Survey = UNSEEN) -> list[Candidate]:
    """Return the columns that may play a part, the most likely first."""
    rule = _RULE[part]
    found = [Candidate(_score(rule, name, survey.look(name)), name) for name in names]
    kept = [candidate for candidate in found if candidate.score > 0]
    return sorted(kept, key=lambda candidate: -candidate.score)


def _score(rule: Rule, name: str, look: Look) -> int:
    folded = fold(name)
    if folded in rule.names and (look in rule.looks or look == "empty"):
        points = EXACT - rule.names.index(folded)
        return points - EMPTY if look == "empty" and look not in rule.looks else points
    is_by_word = look in rule.by_word and not words_of(name).isdisjoint(rule.names)
    return BY_WORD if is_by_word else 0


def says_nothing(name: str) -> bool:
    """Tell whether a name leaves open what its column holds."""
    folded = fold(name)
    known = any(folded in rule.names for rule in RULES if rule.part not in {"written", "class"})
    return not known and not _GENERATED.fullmatch(name.strip())


def lacks_header(names: Collection[str], survey: Survey) -> bool:
    """Tell whether what was read as the header is a row: its values are those of the columns."""
    repeated = [name for name in names if name in survey.values.get(name, ())]
    folded = {fold(name) for name in names}
    is_known = any(not folded.isdisjoint(rule.names) for rule in RULES)
    if repeated and not (is_known and len(repeated) == len(names)):
        return True  # all of the known names: a header that stands twice
    if is_known:
        return False
    return any(_is_value(name, survey) for name in names)


def _is_value(name: str, survey: Survey) -> bool:
    if survey.look(name) in {"number", "date"}:
        return name.strip().lstrip("+-").replace(".", "", 1).isdecimal() or name[:1].isdecimal()
    return len(name.split()) > LONG_NAME_WORDS or len(name) > LONG_NAME


def column_named(column: str | int, names: Sequence[str]) -> str:
    """Return the name of a column that a recipe names, or counts from 1."""
    if isinstance(column, int):
        return names[column - 1] if 0 < column <= len(names) else str(column)
    return column


def fold(name: str) -> str:
    """Return a column name as the rules write it: `User Message` is `user_message`."""
    return re.sub(r"[\s.-]+", "_", name.strip(" \t*:?+#").casefold())


def words_of(name: str) -> set[str]:
    """Return the words of a column name: `customerIntent` holds `intent`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return {word for word in re.split(r"[\W_]+", apart.casefold()) if word}


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
        rest = [name for name in self._free if name != own]
        label = self._one("label")
        wanted = None if label else _first(candidates("wanted", rest, self._survey))
        return Shape(messages=own, label=label, wanted=wanted)

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
        label = self._one("label")
        rest = [name for name in self._free if name not in (*prompt, *completion)]
        wanted = None if label else _first(candidates("wanted", rest, self._survey))
        return Shape(prompt=prompt, completion=completion, label=label, wanted=wanted)

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
