"""A conversation as others write it -> messages in the words of chat templates."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from ftool.example import Message, Role
from ftool.prepare.read.contents import Contents, calls_of, content_of, parsed, plain
from ftool.prepare.read.rows import Unusable
from ftool.wording import cut

SYSTEM = ("system", "developer")
USER = (
    *("user", "human", "customer", "client", "usr", "caller", "visitor", "prompter", "end_user"),
    *("enduser", "requester", "consumer", "guest", "buyer", "questioner", "question", "patient"),
)
ASSISTANT = (
    *("assistant", "gpt", "bot", "model", "agent", "ai", "chatbot", "chatgpt", "support"),
    *("operator", "advisor", "adviser", "representative", "rep", "csr", "staff", "helpdesk"),
    *("support_agent", "customer_service", "customer_support", "service", "wizard", "answer"),
    *("doctor", "virtual_assistant", "ai_assistant", "assistant_message"),
)
TOOL = ("tool", "function", "observation", "ipython", "tool_response", "function_response")
CALL = ("function_call", "tool_call")
"""A turn of the assistant that is nothing but a call of a tool."""

ROLE_NAMES: dict[str, Role] = {
    **dict.fromkeys(SYSTEM, "system"),
    **dict.fromkeys(USER, "user"),
    **dict.fromkeys((*ASSISTANT, *CALL), "assistant"),
    **dict.fromkeys(TOOL, "tool"),
}
"""What speakers are called, without case, with `_` for blanks and hyphens."""

SPEAKERS = ("role", "from", "speaker", "author", "sender", "who")
CONTENTS = ("content", "value", "text", "utterance", "message", "body", "said", "parts")
PAIRS = (
    ("human", "assistant"),
    ("user", "assistant"),
    ("user", "bot"),
    ("question", "answer"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("input", "output"),
    ("human", "gpt"),
    ("query", "response"),
)
"""Keys of a turn that holds what both sides say."""
UNLEARNED = ("weight", "train", "loss", "loss_weight")
"""Keys that say whether an answer is learned, by 0 or false: OpenAI's, Axolotl's, ms-swift's."""
OFF = frozenset(("0", "0.0", "false"))
READ = frozenset(
    (
        *(*SPEAKERS, *CONTENTS, *UNLEARNED, "name", "tool_calls", "tool_call_id"),
        *("function_call", "reasoning_content"),
    )
)
"""What is read of a turn."""
BREAK = "\n\n"
"""Stands between joined messages of one side."""


@dataclass(slots=True)
class Conversations:
    """Reads conversations; counts `repairs`.

    It remembers the parts of turns that nothing reads, and which patterns of `roles` matched.

    Args:
        roles: role -> patterns of what its speakers are called, before the usual names.
    """

    roles: Mapping[Role, Sequence[str]] = field(default_factory=dict)
    repairs: Counter[str] = field(default_factory=Counter)
    unread: set[str] = field(default_factory=set)
    matched: set[str] = field(default_factory=set)

    def read(self, value: Any, *, is_table: bool = False) -> list[Message]:
        """Return the messages of a conversation, without what follows the last answer.

        Args:
            value: the turns, in any of the known forms, or their JSON text.
            is_table: whether absent keys were filled with null, as tables do.

        Raises:
            Unusable: it is no conversation that can be learned.
        """
        return self.repair(self.messages(value, is_table=is_table))

    def messages(self, value: Any, *, is_table: bool = False) -> list[Message]:
        """Return the messages as they stand.

        Raises:
            Unusable: they cannot be read.
        """
        turns = _turns(plain(value) if is_table else value)
        if all(isinstance(turn, str) or _is_bare(turn) for turn in turns):
            self.repairs["speakers_alternate"] += 1
            texts = [turn if isinstance(turn, str) else turn["text"] for turn in turns]
            return [_alternating(number, text) for number, text in enumerate(texts)]
        messages = [
            message
            for number, turn in enumerate(turns, start=1)
            for message in self._of_turn(turn, number)
        ]
        is_task = _answers_as_system(messages)
        if not is_task:
            return messages
        self.repairs["system_as_assistant"] += 1
        return _system_as_assistant(messages)

    def _of_turn(self, turn: Any, number: int) -> Iterator[Message]:
        if isinstance(turn, list) and len(turn) == 2:
            yield from self._of_pair(turn, number)
            return
        if not isinstance(turn, Mapping):
            detail = f"message {number} is no object with a role and a content"
            raise Unusable("not_messages", detail)
        turn = unwrapped(turn)
        keys = {str(key).casefold(): key for key in turn}
        speaker = next((turn[keys[name]] for name in SPEAKERS if name in keys), None)
        both = next((pair for pair in PAIRS if pair[0] in keys and pair[1] in keys), None)
        if speaker is None and both is not None:
            yield Message("user", content_of(turn[keys[both[0]]]))
            yield Message("assistant", content_of(turn[keys[both[1]]]))
            self.unread.update(key for key in keys if key not in both)
            return
        self.unread.update(k for k in turn.keys() - READ if turn[k] is not None)
        yield from self._of_object(turn, keys, speaker, number)

    def _of_pair(self, pair: Sequence[Any], number: int) -> Iterator[Message]:
        """Read [speaker, text], or [question, answer]."""
        first, second = pair
        role = self._role(first) if isinstance(first, str) else None
        if role is not None:
            yield Message(role, content_of(second))
        else:
            if number == 1:
                self.repairs["speakers_alternate"] += 1
            yield Message("user", content_of(first))
            yield Message("assistant", content_of(second))

    def _of_object(
        self, turn: Mapping[str, Any], keys: Mapping[str, str], speaker: Any, number: int
    ) -> Iterator[Message]:
        role = self._role(speaker) if isinstance(speaker, str) else None
        if role is None:
            who = "it names no speaker" if speaker is None else f"{cut(repr(speaker), 60)} spoke"
            raise Unusable(
                "invalid_role",
                f"message {number}: {who}; known are user, assistant, system, tool and the like;"
                " others: roles: {user: [...], assistant: [...]}",
            )
        values = (turn[keys[name]] for name in CONTENTS if name in keys)
        value = next((value for value in values if value is not None), None)
        contents = Contents.read(value)
        calls = [*calls_of(turn.get("tool_calls")), *contents.calls]
        if turn.get("function_call"):
            calls += calls_of([turn["function_call"]])
        text = contents.text
        if folded(speaker) in CALL and not calls:
            parsed_call = parsed(text, "tool_calls")
            calls = calls_of(parsed_call if isinstance(parsed_call, list) else [parsed_call])
            text = ""
        yield from contents.results
        if contents.results and not text and not calls:
            return
        call_id, name = turn.get("tool_call_id"), turn.get("name")
        reasoning = turn.get("reasoning_content") or contents.reasoning
        yield Message(
            role=role,
            content=text,
            name=str(name) if name else None,
            tool_calls=tuple(calls),
            tool_call_id=str(call_id) if call_id else None,
            reasoning_content=content_of(reasoning) or None,
            learned=not (role == "assistant" and any(_is_off(turn.get(k)) for k in UNLEARNED)),
        )

    def _role(self, speaker: str) -> Role | None:
        own = own_role(speaker, self.roles)
        if own is None:
            return ROLE_NAMES.get(folded(speaker))
        self.matched.add(own[1])
        return own[0]

    def repair(self, messages: Sequence[Message]) -> list[Message]:
        """Bring messages into the order that chat templates know; what is done is counted.

        Raises:
            Unusable: nobody answers, or with nothing.
        """
        said = any(message.role == "assistant" for message in messages)
        steps: tuple[Callable[[list[Message]], list[Message]], ...] = (
            _without_system_lines,
            _without_empty_turns,
            _merged,
            _without_tail,
        )
        found = list(messages)
        for step in steps:
            before = len(found)
            found = step(found)
            if len(found) < before:
                self.repairs[REPAIRS[step.__name__]] += 1
        if found:
            return found
        if said:
            raise Unusable("empty_completion", "the assistant says nothing")
        last = messages[-1].role if messages else "nobody"
        raise Unusable("last_not_assistant", f"the last message is by {last}")


REPAIRS = {
    "_without_system_lines": "system_lines_dropped",
    "_without_empty_turns": "empty_turns_dropped",
    "_merged": "turns_merged",
    "_without_tail": "tail_cut",
}
"""What is done with a conversation -> its code."""


def unwrapped(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a turn that stands as the only object in another, or the turn itself."""
    inner = [value for value in turn.values() if isinstance(value, Mapping)]
    return inner[0] if len(inner) == 1 and not turn.keys() & set(SPEAKERS) else turn


def names_speaker(turn: Mapping[str, Any]) -> bool:
    """Tell whether an object is a turn: it says who speaks."""
    return any(str(key).casefold() in SPEAKERS for key in unwrapped(turn))


def own_role(speaker: str, roles: Mapping[Role, Sequence[str]]) -> tuple[Role, str] | None:
    """Return the role whose patterns a speaker's name matches, and the pattern."""
    name = folded(speaker)
    for role, patterns in roles.items():
        for pattern in patterns:
            if fnmatchcase(name, folded(pattern)):
                return role, pattern
    return None


def folded(speaker: str) -> str:
    """Return how a speaker is called, without case, blanks and hyphens."""
    return "_".join(speaker.strip().casefold().replace("-", " ").split())


def _turns(value: Any) -> list[Any]:
    if isinstance(value, str):
        if value.lstrip()[:1] not in {"[", "{", ""}:
            raise Unusable("not_messages", "the conversation is text, no list of messages")
        value = parsed(value, "messages") if value.strip() else []
    if value is None or (isinstance(value, Sequence) and not value):
        raise Unusable("no_messages", "the conversation is empty")
    if not isinstance(value, list):
        raise Unusable("not_messages", "the conversation is no list of messages")
    return value


def _alternating(number: int, text: str) -> Message:
    return Message("assistant" if number % 2 else "user", text)


def _is_bare(turn: Any) -> bool:
    """Tell a turn that has a text, and nobody who says it."""
    if not isinstance(turn, Mapping) or not isinstance(turn.get("text"), str):
        return False
    return not any(str(key).casefold() in SPEAKERS for key in turn)


def _is_off(value: Any) -> bool:
    return value in (0, False) if not isinstance(value, str) else value.strip().casefold() in OFF


def _answers_as_system(messages: Sequence[Message]) -> bool:
    """Tell where `system` answers a user, and nobody else does.

    Sets of task dialogues call the two sides USER and SYSTEM.
    """
    roles = [message.role for message in messages]
    if "assistant" in roles or "user" not in roles:
        return False
    return "system" in roles[roles.index("user") :]


def _system_as_assistant(messages: Sequence[Message]) -> list[Message]:
    first = [message.role for message in messages].index("user")
    return [
        replace(message, role="assistant")
        if number > first and message.role == "system"
        else message
        for number, message in enumerate(messages)
    ]


def _without_system_lines(messages: list[Message]) -> list[Message]:
    """Leave out system lines behind the first turn, and join those before it."""
    lead = 0
    while lead < len(messages) and messages[lead].role == "system":
        lead += 1
    head = [message.content for message in messages[:lead] if message.content.strip()]
    rest = [message for message in messages[lead:] if message.role != "system"]
    return [*([Message("system", BREAK.join(head))] if head else []), *rest]


def _without_empty_turns(messages: list[Message]) -> list[Message]:
    return [
        message
        for message in messages
        if message.role == "tool" or message.content.strip() or message.tool_calls
    ]


def _merged(messages: list[Message]) -> list[Message]:
    """Join messages that one side sends in a row; behind a call stands its result."""
    found: list[Message] = []
    for message in messages:
        last = found[-1] if found else None
        is_joined = (
            last is not None
            and message.role == last.role
            and message.role in {"user", "assistant"}
            and not last.tool_calls
        )
        if last is not None and is_joined and message.learned != last.learned:
            found[-1] = message if message.learned else last  # nobody wants the other
        elif last is not None and is_joined:
            found[-1] = replace(
                last,
                content=BREAK.join(text for text in (last.content, message.content) if text),
                tool_calls=message.tool_calls,
                reasoning_content=last.reasoning_content or message.reasoning_content,
            )
        else:
            found.append(message)
    return found


def _without_tail(messages: list[Message]) -> list[Message]:
    """Cut what follows the last answer."""
    answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
    return messages[: answers[-1] + 1] if answers else []
