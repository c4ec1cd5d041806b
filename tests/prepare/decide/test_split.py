from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepare_tables import Given, reasons_of, row, table_of

from ftool.errors import DataError
from ftool.example import SPLITS
from ftool.prepare.decide.near import NO_PAIRS, Pairs
from ftool.prepare.decide.split import TEST, TRAIN, VALIDATION, divide, refuse_empty_train
from ftool.prepare.decide.table import LOOSE, Table
from ftool.recipe.schema import Recipe


def recipe(*assigned: str | None, seed: int = 17, **split: object) -> Recipe:
    sources = [{"path": f"{i}.csv", "split": name} for i, name in enumerate(assigned or (None,))]
    data = {"sources": sources, "split": split}
    return Recipe.model_validate({"name": "r", "seed": seed, "data": data})


def table(folder: Path, rows: list[Given], *assigned: str | None) -> Table:
    return table_of(folder, rows, splits=assigned or (None,), near=None, shard_rows=50)


def pairs_of(*links: tuple[int, int]) -> Pairs:
    first, second = np.array(links, np.int64).reshape(-1, 2).T
    return Pairs(first, second, np.full(len(first), 0.9))


def sizes(places: np.ndarray) -> tuple[int, ...]:
    return tuple((places == split).sum() for split in (TRAIN, VALIDATION, TEST))


def of_labels(made: Table, places: np.ndarray, split: int) -> Counter[str]:
    return Counter(made.labels[code] for code in made.label[places == split])


def homes(names: list[str], places: np.ndarray) -> dict[str, set[int]]:
    """Return the splits that the rows of each name are in."""
    found = defaultdict(set)
    for name, place in zip(names, places.tolist(), strict=True):
        found[name].add(place)
    return found


def test_totals_match_the_ratios_and_every_label_its_share(tmp_path: Path) -> None:
    counts = {"a": 57, "b": 33, "c": 10, "d": 7}
    rows = [row(f"{label}{i}", label) for label, n in counts.items() for i in range(n)]
    made = table(tmp_path, rows)
    places = divide(made, NO_PAIRS, recipe())
    assert sizes(places) == (86, 10, 11)
    for label, n in counts.items():
        assert abs(of_labels(made, places, TEST)[label] - 0.1 * n) <= 1
        assert abs(of_labels(made, places, VALIDATION)[label] - 0.1 * n) <= 1
    assert reasons_of(made) == {}


RATIOS = st.sampled_from([(0.1, 0.1), (0.0, 0.2), (0.3, 0.3), (0.05, 0.15), (0.45, 0.5), (0, 0)])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), RATIOS, st.integers(0, 99))
def test_no_label_gives_more_than_its_share_rounded_up_and_each_keeps_one_in_train(
    counts: list[int], ratios: tuple[float, float], seed: int
) -> None:
    rows = [row(f"{label}-{i}", f"l{label}") for label, n in enumerate(counts) for i in range(n)]
    with TemporaryDirectory() as folder:
        made = table(Path(folder), rows)
        validation, test = ratios
        places = divide(made, NO_PAIRS, recipe(seed=seed, validation=validation, test=test))
        for label, n in enumerate(counts):
            held_out = of_labels(made, places, TEST)[f"l{label}"]
            assert abs(held_out - n * test) <= 1 + 1e-9
            assert of_labels(made, places, VALIDATION)[f"l{label}"] <= np.ceil(n * validation)
            assert of_labels(made, places, TRAIN)[f"l{label}"] >= 1
        assert abs(sizes(places)[TEST] - sum(counts) * test) <= max(0.5, len(counts) - 1)
        if min(counts) >= 20 and validation + test <= 0.6:
            # Where every label has rows to give, the totals are met but for a row.
            assert abs(sizes(places)[TEST] - sum(counts) * test) <= 1 + 1e-9
            assert abs(sizes(places)[VALIDATION] - sum(counts) * validation) <= 2


def test_single_examples_stay_in_train(tmp_path: Path) -> None:
    rows = [row(f"only{i}", f"only{i}") for i in range(50)] + [row(f"z{i}", "z") for i in range(8)]
    made = table(tmp_path, rows)
    places = divide(made, NO_PAIRS, recipe())
    assert of_labels(made, places, VALIDATION) == of_labels(made, places, TEST) == {"z": 1}
    assert sizes(places) == (56, 1, 1)


def test_identical_prompts_do_not_straddle(tmp_path: Path) -> None:
    rows = [
        row(f"Prompt {p}" if i else f"prompt  {p}", answer=f"answer {p} {i}")
        for p in range(40)
        for i in range(3)
    ]
    places = divide(table(tmp_path, rows), NO_PAIRS, recipe(validation=0.2, test=0.2))
    names = [str(p) for p in range(40) for _ in range(3)]
    assert all(len(found) == 1 for found in homes(names, places).values())
    assert sizes(places) == (72, 24, 24)


def test_groups_do_not_straddle(tmp_path: Path) -> None:
    groups = [g for g in range(20) for _ in range(g + 1)]
    rows = [row(f"q{i}", "ab"[i % 2], group=f"g{g}") for i, g in enumerate(groups)]
    ratios = recipe(validation=0.2, test=0.2, group="customer")
    places = divide(table(tmp_path, rows), NO_PAIRS, ratios)
    found = homes(list(map(str, groups)), places)
    assert len(found) == 20
    assert all(len(splits) == 1 for splits in found.values())
    assert all(abs(n - 42) <= 20 and n for n in sizes(places)[1:])


def test_a_unit_counts_for_its_most_frequent_label(tmp_path: Path) -> None:
    rows = [row(f"q{n}", "abb"[n % 3], group=f"g{n // 3}") for n in range(60)]
    rows += [row(f"single {n}", "a") for n in range(20)]
    places = divide(table(tmp_path, rows), NO_PAIRS, recipe(validation=0, test=0.2))
    # Each stratum gives a fifth: 4 of 20 groups of three, and 4 of 20 single rows.
    assert [sizes(places[:60])[TEST], sizes(places[60:])[TEST]] == [12, 4]


def test_near_duplicates_do_not_straddle(tmp_path: Path) -> None:
    links = [(n, n + 50) for n in range(50)]
    rows = [row(f"q{n}", "a") for n in range(100)]
    places = divide(table(tmp_path, rows), pairs_of(*links), recipe(validation=0.2, test=0.2))
    assert (places[:50] == places[50:]).all()
    assert sizes(places) == (60, 20, 20)


def test_a_chain_is_one_unit(tmp_path: Path) -> None:
    rows = [row(f"q{n}", "a") for n in range(60)]
    chain = [(n, n + 1) for n in range(9)]
    places = divide(table(tmp_path, rows), pairs_of(*chain), recipe())
    assert len(set(places[:10].tolist())) == 1


def test_a_row_that_goes_still_joins_what_is_like_it(tmp_path: Path) -> None:
    rows = [row(f"q{n}", "a") for n in range(40)]
    links = [(n, n + 1) for n in range(39) if n % 2 == 0] + [(n, n + 2) for n in range(0, 37, 4)]
    made = table(tmp_path, rows)
    made.reject(np.arange(0, 40, 2), "near_duplicate")
    places = divide(made, pairs_of(*links), recipe(validation=0.3, test=0.3))
    assert all(places[n + 1] == places[n + 3] for n in range(0, 36, 4))
    assert len(set(places[made.stays].tolist())) == 3


def test_assigned_rows_stay_and_their_ratio_is_not_applied(tmp_path: Path) -> None:
    rows = [row(f"t{i}", "a") for i in range(5)] + [row(f"u{i}", "a", source=1) for i in range(20)]
    places = divide(table(tmp_path, rows, "test", None), NO_PAIRS, recipe("test", None))
    assert places[:5].tolist() == [TEST] * 5
    assert sizes(places) == (18, 2, 5)


def test_the_seed_decides_and_the_order_of_rows_does_not(tmp_path: Path) -> None:
    prompts = [f"r{i}" for i in range(100)]
    shuffled = Random(2).sample(prompts, 100)

    def held_out(order: list[str], seed: int) -> set[str]:
        folder = tmp_path / f"{order[0]}-{seed}"
        places = divide(table(folder, [row(p) for p in order]), NO_PAIRS, recipe(seed=seed))
        return {prompt for prompt, place in zip(order, places, strict=True) if place == TEST}

    assert held_out(prompts, 1) == held_out(shuffled, 1) != held_out(prompts, 2)
    assert len(held_out(prompts, 1)) == 10


def test_names_of_files_and_the_number_of_sources_do_not_decide(tmp_path: Path) -> None:
    one = table(tmp_path / "one", [row(f"r{n}", "a") for n in range(60)])
    rows = [row(f"r{n}", "a", source=n // 20 + 1) for n in range(60)]
    many = table(tmp_path / "many", rows, None, None, None, None)
    places = divide(many, NO_PAIRS, recipe(None, None, None, None))
    assert places.tolist() == divide(one, NO_PAIRS, recipe()).tolist()


def test_zero_ratios_and_no_stratification(tmp_path: Path) -> None:
    made = table(tmp_path, [row(f"r{i}", "ab"[i % 2]) for i in range(10)])
    assert sizes(divide(made, NO_PAIRS, recipe(validation=0, test=0))) == (10, 0, 0)
    assert sizes(divide(made, NO_PAIRS, recipe(stratify=None))) == (8, 1, 1)


def test_rows_that_go_are_not_counted(tmp_path: Path) -> None:
    made = table(tmp_path, [row(f"r{i}", "a") for i in range(40)])
    made.reject(np.arange(20), "near_duplicate")
    assert sizes(divide(made, NO_PAIRS, recipe())[20:]) == (16, 2, 2)


def checked(made: Table, settings: Recipe) -> None:
    refuse_empty_train(made, divide(made, NO_PAIRS, settings), settings)


def test_train_never_ends_empty(tmp_path: Path) -> None:
    one = [row("a")]
    loose = table(tmp_path / "1", one)
    assert sizes(divide(loose, NO_PAIRS, recipe(validation=0.4, test=0.5))) == (1, 0, 0)
    beside = table(tmp_path / "2", one, "test", None)
    with pytest.raises(DataError, match=r"the train split is empty \(1 in test\)"):
        checked(beside, recipe("test", None))
    only = table(tmp_path / "3", one, "test")
    assert sizes(divide(only, NO_PAIRS, recipe("test"))) == (0, 0, 1)
    with pytest.raises(DataError, match=r"the train split is empty \(no rows were kept\)"):
        checked(table(tmp_path / "4", []), recipe())


def test_all_sources_assigned(tmp_path: Path) -> None:
    rows = [row(f"r{source}", "a", source=source) for source in range(3)]
    made = table(tmp_path, rows, *SPLITS)
    assert divide(made, NO_PAIRS, recipe(*SPLITS)).tolist() == [TRAIN, VALIDATION, TEST]


def test_earlier_places_stay_and_new_rows_fill_what_is_lacking(tmp_path: Path) -> None:
    rows = [row(f"r{n}", "ab"[n % 2]) for n in range(200)]
    first = divide(table(tmp_path / "1", rows[:100]), NO_PAIRS, recipe())
    made = table(tmp_path / "2", rows)
    made.earlier[:100] = first
    places = divide(made, NO_PAIRS, recipe())
    assert places[:100].tolist() == first.tolist()
    assert sizes(places) == (160, 20, 20)
    assert of_labels(made, places, TEST) == {"a": 10, "b": 10}


def test_new_rows_go_where_the_rest_of_their_unit_is(tmp_path: Path) -> None:
    made = table(tmp_path, [row(f"r{n}", "a") for n in range(60)])
    made.earlier[:30] = TRAIN
    made.earlier[[3, 4]] = TEST, VALIDATION
    places = divide(made, pairs_of((3, 40), (4, 41), (5, 42), (42, 43)), recipe())
    assert places[[40, 41, 42, 43]].tolist() == [TEST, VALIDATION, TRAIN, TRAIN]


def test_where_new_rows_join_splits_test_never_moves(tmp_path: Path) -> None:
    made = table(tmp_path, [row(f"r{n}", "a") for n in range(60)])
    made.earlier[:30] = TRAIN
    made.earlier[[3, 4, 6]] = TEST, VALIDATION, VALIDATION
    links = pairs_of((3, 40), (5, 40), (4, 41), (7, 41), (6, 42), (3, 42))
    places = divide(made, links, recipe())
    # 3, 5, 6 are in one unit with test, 4 and 7 in one with validation.
    assert reasons_of(made) == dict.fromkeys((5, 6, 7), "leaks_across_splits")
    assert places[[3, 4, 40, 41, 42]].tolist() == [TEST, VALIDATION, TEST, VALIDATION, TEST]


def test_what_an_assigned_row_was_earlier_says_nothing(tmp_path: Path) -> None:
    rows = [row("t", "a")] + [row(f"u{i}", "a", source=1) for i in range(9)]
    made = table(tmp_path, rows, "validation", None)
    made.earlier[0] = TEST
    places = divide(made, pairs_of((0, 1)), recipe("validation", None, test=0))
    assert reasons_of(made) == {1: "leaks_across_splits"}
    assert places[made.stays].tolist() == [VALIDATION, *[TRAIN] * 8]


def components(links: list[tuple[int, int]], count: int) -> list[int]:
    """Return the least row that each row is joined with."""
    names = list(range(count))
    changed = True
    while changed:
        changed = False
        for one, other in links:
            least = min(names[one], names[other])
            changed |= names[one] != names[other]
            names[one] = names[other] = least
    return names


ROWS = st.tuples(st.integers(0, 30), st.sampled_from([None, None, "g", "h"]), st.sampled_from("ab"))
LINKS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=6)
EARLIER = st.lists(st.integers(LOOSE, TEST), min_size=20, max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ROWS, min_size=20, max_size=20), LINKS, EARLIER, st.sets(st.integers(0, 19)),
    st.booleans(),
)  # fmt: skip
def test_no_unit_straddles_and_test_never_moves(
    drawn: list[tuple[int, str | None, str]],
    links: list[tuple[int, int]],
    earlier: list[int],
    gone: set[int],
    is_first: bool,
) -> None:
    rows = [row(f"p{p}", answer=f"{a}{n}", group=g) for n, (p, g, a) in enumerate(drawn)]
    rows += [row(f"train {n}", answer="x") for n in range(5)]
    with TemporaryDirectory() as folder:
        made = table(Path(folder), rows)
        made.reject(np.array(sorted(gone), np.int64), "near_duplicate")
        if not is_first:
            made.earlier[:] = [*earlier, *[TRAIN] * 5]
        places = divide(made, pairs_of(*links), recipe(validation=0.25, test=0.25))
        same = [
            (n, m)
            for n in range(20)
            for m in range(n)
            if drawn[n][0] == drawn[m][0] or (drawn[n][1] and drawn[n][1] == drawn[m][1])
        ]
        names = components([*links, *same], len(rows))
        leaks = {n for n, why in reasons_of(made).items() if why == "leaks_across_splits"}
        for name in set(names):
            members = [n for n in range(len(rows)) if names[n] == name and n not in gone]
            known = [int(made.earlier[n]) for n in members if made.earlier[n] != LOOSE]
            staying = [n for n in members if n not in leaks]
            assert len({int(places[n]) for n in staying}) <= 1
            assert {n for n in members if LOOSE < made.earlier[n] < max(known)} == leaks & set(
                members
            )
            if known:
                assert {int(places[n]) for n in staying} == {max(known)}
        assert not leaks or not is_first


def test_a_row_of_one_unit_with_an_assigned_one_goes(tmp_path: Path) -> None:
    rows = [row("one", "a", group="g", source=1), row("two", "a", group="g")]
    rows += [row("three", "a", group="h"), row("four", "a", group="h")]
    made = table(tmp_path, rows, None, "test")
    places = divide(made, NO_PAIRS, recipe(None, "test", validation=0))
    assert reasons_of(made) == {1: "leaks_across_splits"}
    assert places[[0, 2, 3]].tolist() == [TEST, TRAIN, TRAIN]


def test_rows_of_an_assigned_train_source_keep_their_group_in_train(tmp_path: Path) -> None:
    rows = [row(f"a{n}", "x", group=f"g{n}") for n in range(20)]
    rows += [row(f"b{n}", "x", group=f"g{n}", source=1) for n in range(40)]
    made = table(tmp_path, rows, "train", None)
    places = divide(made, NO_PAIRS, recipe("train", None))
    assert (places[20:40] == TRAIN).all() and set(places[40:].tolist()) == {0, 1, 2}


def test_one_prompt_in_several_groups_is_one_unit(tmp_path: Path) -> None:
    rows = [row("same", answer=f"a{n}", group=f"g{n}") for n in range(10)]
    rows += [row(f"p{n}", answer="a", group=f"h{n}") for n in range(30)]
    made = table(tmp_path, rows)
    assert len(set(divide(made, NO_PAIRS, recipe())[:10].tolist())) == 1
