from ftool.example import Example, Message
from ftool.prepare.dedup import drop_duplicates, example_key, prompt_key
from ftool.prepare.rows import Candidate


def row(
    name: str, prompt: str, completion: str, label: bool = True, assigned: str | None = None
) -> Candidate:
    messages = (Message("user", prompt), Message("assistant", completion))
    example = Example(id=name, messages=messages, label=completion if label else None, source="f")
    return Candidate(example, name, 0, assigned)


def outcome(
    rows: list[Candidate], *, exact: bool = True
) -> tuple[list[str], list[tuple[str, ...]]]:
    kept, rejected = drop_duplicates(rows, exact=exact)
    return [c.example.id for c in kept], [(r.raw, r.reason, r.detail) for r in rejected]


def test_first_stays_and_labels_may_not_conflict() -> None:
    rows = [row("1", "Hi there", "a"), row("2", " hi  THERE", "a"), row("3", "hi there", "b")]
    assert outcome(rows) == (
        ["1"],
        [
            ("2", "exact_duplicate", "same as 1"),
            ("3", "conflicting_label", "same as 1, labelled `a`"),
        ],
    )


def test_without_labels_the_whole_conversation_counts() -> None:
    rows = [row("1", "hi", "a", False), row("2", "hi", "b", False), row("3", "hi", "A", False)]
    assert outcome(rows) == (["1", "2"], [("3", "exact_duplicate", "same as 1")])


def test_held_out_rows_stay_and_their_twins_go() -> None:
    rows = [
        row("1", "hi", "a"),
        row("2", "ho", "a", assigned="train"),
        row("3", "hi", "a", assigned="test"),
        row("4", "hi", "b", assigned="test"),
        row("5", "ho", "a", assigned="validation"),
    ]
    leaks = [
        ("1", "leaks_into_test", "same as 3"),
        ("2", "leaks_into_validation", "same as 5"),
    ]
    assert outcome(rows) == (["3", "4", "5"], leaks)
    assert outcome(rows, exact=False) == (["3", "4", "5"], leaks)


def test_repeats_are_kept_when_wanted() -> None:
    assert outcome([row("1", "hi", "a"), row("2", "hi", "b")], exact=False) == (["1", "2"], [])


def test_keys() -> None:
    text = Example(id="a", text="One  two")
    assert example_key(text) == example_key(Example(id="b", text="one two\n"))
    plain = Example(id="a", messages=(Message("user", "q"), Message("assistant", "a")))
    tools = Example(id="a", messages=plain.messages, tools=({"name": "f"},))
    system = Example(id="a", messages=(Message("system", "s"), *plain.messages))
    assert len({prompt_key(example) for example in (plain, tools, system)}) == 3
