from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prepare_tables import Given, reasons_of, row, table_of

from ftool.example import SPLITS, Example
from ftool.prepare.decide.dedup import drop_exact, drop_near, find_near, precedence
from ftool.prepare.decide.near import Pairs
from ftool.prepare.decide.table import LOOSE, Table
from ftool.prepare.decide.verdicts import finding_of

ASSIGNED = (None, "train", "validation", "test")
"""The splits of sources 0 to 3 in these tests."""
LOOSE_SOURCE, TRAIN, VALIDATION, TEST = range(4)


def table(folder: Path, rows: list[Given]) -> Table:
    return table_of(folder, rows, splits=ASSIGNED)


def told(of: Table) -> list[tuple[int, str, str]]:
    """Return the rows that go, from 1, with reason and sentence."""
    names = of.ids_of(of.twin)
    findings = {row: finding_of(of, row, names[row]) for row in reasons_of(of)}
    return [(row + 1, found.reason, found.detail) for row, found in findings.items()]


def exact(folder: Path, rows: list[Given], *, wanted: bool = True) -> list[tuple[int, str, str]]:
    made = table(folder, rows)
    drop_exact(made, wanted=wanted)
    return told(made)


def test_first_stays_and_labels_may_not_conflict(tmp_path: Path) -> None:
    rows = [row("Hi there", "a"), row(" hi  THERE", "a"), row("hi there", "b")]
    assert exact(tmp_path, rows) == [
        (2, "exact_duplicate", "same as 0.csv:1"),
        (3, "conflicting_label", "same as 0.csv:1, labelled `a`"),
    ]


def test_without_labels_the_whole_conversation_counts(tmp_path: Path) -> None:
    rows = [row("hi", answer="a"), row("hi", answer="b"), row("hi", answer="A")]
    assert exact(tmp_path, rows) == [(3, "exact_duplicate", "same as 0.csv:1")]


def test_held_out_rows_stay_and_their_twins_go(tmp_path: Path) -> None:
    rows = [
        row("hi", "a"),
        row("ho", "a", source=TRAIN),
        row("hi", "a", source=TEST),
        row("hi", "b", source=TEST),
        row("ho", "a", source=VALIDATION),
        row("hi", "a", source=VALIDATION),
    ]
    leaks = [
        (1, "leaks_into_test", "same as 3.csv:3"),
        (2, "leaks_into_validation", "same as 2.csv:5"),
    ]
    assert exact(tmp_path / "wanted", rows) == leaks
    assert exact(tmp_path / "unwanted", rows, wanted=False) == leaks


def test_repeats_are_kept_when_wanted(tmp_path: Path) -> None:
    assert exact(tmp_path, [row("hi", "a"), row("hi", "b")], wanted=False) == []


def test_a_row_that_goes_is_no_ones_twin(tmp_path: Path) -> None:
    made = table(tmp_path, [row("hi", "a"), row("hi", "a"), row("hi", "a")])
    made.reject(np.array([0]), "unknown_label")
    drop_exact(made, wanted=True)
    assert reasons_of(made) == {0: "unknown_label", 2: "exact_duplicate"}
    assert made.twin.tolist() == [-1, -1, 1]


def test_repeats_are_found_across_shards(tmp_path: Path) -> None:
    made = table_of(tmp_path, [row(name, "a") for name in "abcab"], shard_rows=2)
    drop_exact(made, wanted=True)
    assert made.twin.tolist() == [-1, -1, -1, 0, 1]


def test_precedence(tmp_path: Path) -> None:
    sources = [LOOSE_SOURCE] * 5 + [TRAIN, VALIDATION, TEST, TEST, VALIDATION]
    made = table(tmp_path, [row(str(n), "a", source=s) for n, s in enumerate(sources)])
    made.earlier[:5] = [LOOSE, SPLITS.index("train"), LOOSE, *map(SPLITS.index, SPLITS[1:])]
    order = np.argsort(precedence(made)).tolist()
    assert order == [7, 8, 6, 9, 4, 3, 1, 0, 2, 5]


PROMPTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 3)), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(PROMPTS, st.booleans())
def test_exact_repeats_as_in_plain_words(drawn: list[tuple[str, str, int]], wanted: bool) -> None:
    drawn = sorted(drawn, key=lambda item: item[2])  # one source after the other
    with TemporaryDirectory() as folder:
        made = table(Path(folder), [row(p, label, source=s) for p, label, s in drawn])
        drop_exact(made, wanted=wanted)
    expected: dict[int, str] = {}
    for number, (prompt, label, source) in enumerate(drawn):
        alike = [n for n, (other, _, _) in enumerate(drawn) if other == prompt]
        best = min(alike, key=lambda n: ({TEST: 0, VALIDATION: 1}.get(drawn[n][2], 2), n))
        of_source = drawn[best][2]
        if source in (VALIDATION, TEST) or best == number:
            continue
        if of_source in (VALIDATION, TEST):
            expected[number] = f"leaks_into_{ASSIGNED[of_source]}"
        elif wanted:
            same = drawn[best][1] == label
            expected[number] = "exact_duplicate" if same else "conflicting_label"
    assert reasons_of(made) == expected


def sentence(*numbers: int) -> str:
    return " ".join(f"word{number}" for number in numbers)


def chain() -> list[str]:
    """Return A, B, C, of which A and C are both like B and not like one another."""
    a = list(range(60))
    b = [*range(100, 106), *a[6:]]
    c = [*b[:-6], *range(200, 206)]
    return [sentence(*a), sentence(*b), sentence(*c)]


def near(folder: Path, rows: list[Given], *, wanted: bool = True, threshold: float = 0.8) -> Table:
    made = table(folder, rows)
    drop_exact(made, wanted=wanted)
    steps: list[tuple[str, int, int | None]] = []
    pairs = find_near(made, threshold, workers=2, on_progress=lambda *step: steps.append(step))
    assert steps == [("comparing", number, 16) for number in range(1, 17)]
    drop_near(made, pairs.repeats, exact=wanted)
    return made


def repeats(made: Table) -> Pairs:
    return find_near(made, 0.8, workers=1, on_progress=lambda *_: None).repeats


def test_a_near_duplicate_goes_with_its_similarity(tmp_path: Path) -> None:
    text = list(range(40))
    rows = [row(sentence(*text), "a"), row(sentence(*text[:-1], 99), "a"), row("else", "a")]
    made = near(tmp_path, rows)
    assert told(made) == [(2, "near_duplicate", "0.95 like 0.csv:1")]
    assert abs(made.value[1] - 35 / 37) < 1e-6


def test_another_label_or_answer_is_no_near_duplicate(tmp_path: Path) -> None:
    one, other = sentence(*range(40)), sentence(*range(39), 99)
    assert reasons_of(near(tmp_path / "label", [row(one, "a"), row(other, "b")])) == {}
    assert reasons_of(near(tmp_path / "none", [row(one, "a"), row(other, answer="a")])) == {}
    long = sentence(*range(100, 130))
    answers = [
        ("yes", "no", False),
        ("1", "2", False),
        ("a > b", "a < b", False),
        ("Yes.", "yes", True),
        ("the mill", "the  mill!", True),
        (long, f"{long} word7", True),
        (long, sentence(*range(200, 230)), False),
        (long, "yes", False),
        ("+", "-", False),
        ("+", "+", True),
    ]
    for number, (first, second, repeats) in enumerate(answers):
        rows = [row(one, answer=first), row(other, answer=second)]
        assert reasons_of(near(tmp_path / str(number), rows)) == (
            {1: "near_duplicate"} if repeats else {}
        )
        labelled = [row(one, "x", answer=first), row(other, "x", answer=second)]
        assert bool(reasons_of(near(tmp_path / f"{number}x", labelled))) is repeats


def test_one_prompt_with_two_answers_beside_a_label(tmp_path: Path) -> None:
    rows = [
        row("hi there", "a", answer="first answer"),
        row("hi there", "a", answer="second answer"),
        row("hi there", "a", answer="First  answer"),
        row("hi there", "b", answer="third answer"),
        row("hi there", "b", answer="first answer"),
    ]
    assert exact(tmp_path, rows) == [
        (3, "exact_duplicate", "same as 0.csv:1"),
        (4, "conflicting_label", "same as 0.csv:1, labelled `a`"),
        (5, "conflicting_label", "same as 0.csv:1, labelled `a`"),
    ]


def test_in_a_chain_only_what_repeats_a_row_that_stays_goes(tmp_path: Path) -> None:
    a, b, c = (row(text, "a") for text in chain())
    assert reasons_of(near(tmp_path / "abc", [a, b, c])) == {1: "near_duplicate"}
    assert reasons_of(near(tmp_path / "acb", [a, c, b])) == {2: "near_duplicate"}
    bac = near(tmp_path / "bac", [b, a, c])
    assert reasons_of(bac) == {1: "near_duplicate", 2: "near_duplicate"}
    assert bac.twin.tolist() == [-1, 0, 0]


def test_a_row_that_went_already_sends_no_other_away(tmp_path: Path) -> None:
    made = table(tmp_path, [row(text, "a") for text in chain()])
    pairs = repeats(made)
    assert sorted(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 1), (1, 2)]
    made.reject(np.array([0]), "unknown_label")
    drop_near(made, pairs, exact=True)
    assert reasons_of(made) == {0: "unknown_label", 2: "near_duplicate"}


def test_near_duplicates_of_held_out_rows_leak(tmp_path: Path) -> None:
    a, b, c = chain()
    rows = [row(a, "a"), row(c, "a", source=TRAIN), row(b, "a", source=TEST)]
    rows += [row(b, "a", source=VALIDATION), row(c, "a", source=TEST)]
    made = near(tmp_path, rows)
    assert reasons_of(made) == {0: "leaks_into_test", 1: "leaks_into_test"}
    only = [row(a, "a"), row(b, "a", source=VALIDATION)]
    assert reasons_of(near(tmp_path / "only", only)) == {0: "leaks_into_validation"}


def test_what_an_earlier_preparation_put_somewhere_goes_before_new_rows(tmp_path: Path) -> None:
    text = list(range(40))
    made = table(tmp_path, [row(sentence(*text[:-1], n), "a") for n in (98, 99, 39)])
    made.earlier[:] = [LOOSE, SPLITS.index("train"), SPLITS.index("test")]
    drop_near(made, repeats(made), exact=True)
    assert reasons_of(made) == {0: "near_duplicate", 1: "near_duplicate"}
    assert made.twin.tolist() == [2, 2, -1]
    made = table(tmp_path / "train", [row(sentence(*text[:-1], n), "a") for n in (98, 99)])
    made.earlier[:] = [LOOSE, SPLITS.index("train")]
    drop_near(made, repeats(made), exact=True)
    assert reasons_of(made) == {0: "near_duplicate"}


def test_exact_repeats_that_are_wanted_are_no_near_duplicates(tmp_path: Path) -> None:
    text = list(range(40))
    rows = [row(sentence(*numbers), "a") for numbers in (text, text, [*text[:-1], 99])]
    assert reasons_of(near(tmp_path, rows, wanted=False)) == {2: "near_duplicate"}


def test_short_texts_repeat_only_as_a_whole(tmp_path: Path) -> None:
    rows = [row("no thanks", "a"), row("no, thanks!", "a"), row("well no thanks", "a")]
    assert reasons_of(near(tmp_path, rows)) == {}
    rows = [row("well no thanks", "a"), row("Well, no thanks!", "a")]
    assert told(near(tmp_path / "three", rows)) == [(2, "near_duplicate", "same as 0.csv:1")]


def test_texts_without_roles_are_compared_too(tmp_path: Path) -> None:
    text = list(range(40))
    given = [(Example(id="", text=sentence(*text[:-1], last)), 0) for last in (1, 2)]
    made = table_of(tmp_path, given, kind="text", splits=ASSIGNED)
    drop_near(made, repeats(made), exact=True)
    assert reasons_of(made) == {1: "near_duplicate"}


LINKS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=25)


@settings(max_examples=40, deadline=None)
@given(LINKS, st.lists(st.integers(0, 3), min_size=12, max_size=12), st.booleans())
def test_rows_go_for_a_row_that_stays(
    links: list[tuple[int, int]], sources: list[int], wanted: bool
) -> None:
    rows = [row(str(number % 9), "a", source=s) for number, s in enumerate(sources)]
    with TemporaryDirectory() as folder:
        made = table(Path(folder), rows)
        ranks = precedence(made)
        linked = {
            tuple(sorted(link, key=lambda n: ranks[n])) for link in links if len(set(link)) == 2
        }
        shuffled = Random(1).sample(sorted(linked), len(linked))
        first, second = np.array(shuffled, np.int64).reshape(-1, 2).T
        drop_near(made, Pairs(first, second, np.full(len(first), 0.9)), exact=wanted)
        gone, twin = set(reasons_of(made)), made.twin.tolist()
        assert not any(made.held_out[n] for n in gone)
        assert not any(twin[n] in gone for n in gone)
        assert all((twin[n], n) in linked for n in gone)
        # No pair stays, unless the rules keep its second row.
        for one, other in linked:
            is_asked = wanted or one % 9 != other % 9
            if one not in gone and is_asked and not made.held_out[other]:
                assert other in gone
        kinds = {None: "near_duplicate", "train": "near_duplicate"}
        for n, reason in reasons_of(made).items():
            split = ASSIGNED[sources[twin[n]]]
            assert reason == kinds.get(split, f"leaks_into_{split}")
