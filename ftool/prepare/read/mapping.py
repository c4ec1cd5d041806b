"""Which column may play which part: one table of rules, scored by names and what columns hold."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ftool.prepare.read.survey import UNSEEN, Look, Survey

NESTED: frozenset[Look] = frozenset(("turns", "pairs", "strings", "list"))
LABELS: frozenset[Look] = frozenset(("label", "flag", "unknown"))
CLASSES: frozenset[Look] = LABELS | {"number", "text", "identifier", "strings", "list"}
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
TEXT_NAMES = (
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
    Rule("written", TEXT_NAMES, WRITTEN | {"date"}, by_word=frozenset(("text",))),
    Rule("label", LABEL_NAMES, CLASSES),
    Rule(
        "class",
        _CLASSES,
        CLASSES,
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
EXACT, BY_WORD = 200, 50
EMPTY = 150
"""Points of a name, and of one that holds its word; those taken off where a column is empty."""


LONG_NAME_WORDS, LONG_NAME = 6, 60
_GENERATED = re.compile(r"column_\d+|unnamed.*|_.*|.*_hash|.*_id|id", re.IGNORECASE)
"""Names that tables and tools give columns that hold nothing to learn."""


class Candidate(NamedTuple):
    """A column that may play a part, and how strongly that is meant."""

    score: int
    column: str


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
