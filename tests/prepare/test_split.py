from collections import Counter, defaultdict

import pytest

from ftool.errors import DataError
from ftool.example import Example, Message
from ftool.prepare.rows import Candidate
from ftool.prepare.split import split_examples
from ftool.recipe.schema import Recipe


def recipe(*assigned: str | None, seed: int = 17, **split: object) -> Recipe:
    sources = [{"path": f"{i}.csv", "split": name} for i, name in enumerate(assigned or (None,))]
    data = {"sources": sources, "split": split}
    return Recipe.model_validate({"name": "r", "seed": seed, "data": data})


def row(
    name: str,
    label: str | None = None,
    *,
    prompt: str | None = None,
    group: str | None = None,
    assigned: str | None = None,
) -> Candidate:
    messages = (Message("user", prompt or name), Message("assistant", label or name))
    return Candidate(Example(id=name, messages=messages, label=label, group=group), "", 0, assigned)


def sizes(splits: dict[str, list[Example]]) -> tuple[int, int, int]:
    return len(splits["train"]), len(splits["validation"]), len(splits["test"])


def test_totals_match_the_ratios_and_every_label_its_share() -> None:
    rows = [
        row(f"{label}{i}", label)
        for label, n in (("a", 57), ("b", 33), ("c", 10), ("d", 7))
        for i in range(n)
    ]
    splits = split_examples(rows, recipe())
    assert sizes(splits) == (86, 10, 11)
    by_label = {name: Counter(e.label for e in found) for name, found in splits.items()}
    for label, n in (("a", 57), ("b", 33), ("c", 10), ("d", 7)):
        assert abs(by_label["test"][label] - 0.1 * n) <= 1
        assert abs(by_label["validation"][label] - 0.1 * n) <= 1
    assert [e.id for e in splits["train"]] == [
        c.example.id for c in rows if c.example in splits["train"]
    ]


def test_single_examples_stay_in_train() -> None:
    rows = [row(f"only{i}", f"only{i}") for i in range(50)] + [row(f"z{i}", "z") for i in range(8)]
    splits = split_examples(rows, recipe())
    assert {e.label for e in splits["validation"] + splits["test"]} == {"z"}
    assert sizes(splits) == (56, 1, 1)


def test_identical_prompts_do_not_straddle() -> None:
    rows = [
        row(f"{p}-{i}", prompt=f"Prompt {p}" if i else f"prompt  {p}")
        for p in range(40)
        for i in range(3)
    ]
    splits = split_examples(rows, recipe(validation=0.2, test=0.2))
    homes = defaultdict(set)
    for name, found in splits.items():
        for example in found:
            homes[example.id.split("-")[0]].add(name)
    assert all(len(names) == 1 for names in homes.values())
    assert sizes(splits) == (72, 24, 24)


def test_groups_do_not_straddle() -> None:
    rows = [row(f"{g}-{i}", "ab"[i % 2], group=f"g{g}") for g in range(20) for i in range(g + 1)]
    splits = split_examples(rows, recipe(validation=0.2, test=0.2, group="customer"))
    groups = [{e.group for e in found} for found in splits.values()]
    assert all(groups) and sum(map(len, groups)) == 20
    assert all(abs(n - 42) <= 20 for n in sizes(splits)[1:])


def test_assigned_rows_stay_and_their_ratio_is_not_applied() -> None:
    rows = [row(f"t{i}", "a", assigned="test") for i in range(5)]
    rows += [row(f"u{i}", "a") for i in range(20)]
    splits = split_examples(rows, recipe("test", None))
    assert [e.id for e in splits["test"]] == ["t0", "t1", "t2", "t3", "t4"]
    assert sizes(splits) == (18, 2, 5)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    rows = [row(f"r{i}") for i in range(100)]

    def test_ids(candidates: list[Candidate], seed: int) -> set[str]:
        return {e.id for e in split_examples(candidates, recipe(seed=seed))["test"]}

    assert test_ids(rows, 1) == test_ids(rows[::-1], 1) != test_ids(rows, 2)


def test_zero_ratios_and_no_stratification() -> None:
    rows = [row(f"r{i}", "ab"[i % 2]) for i in range(10)]
    assert sizes(split_examples(rows, recipe(validation=0, test=0))) == (10, 0, 0)
    assert sizes(split_examples(rows, recipe(stratify=None))) == (8, 1, 1)


def test_train_never_ends_empty() -> None:
    assert sizes(split_examples([row("a")], recipe(validation=0.4, test=0.5))) == (1, 0, 0)
    with pytest.raises(DataError, match=r"the train split is empty \(1 in test\)"):
        split_examples([row("a", assigned="test")], recipe("test", None))
    assert sizes(split_examples([row("a", assigned="test")], recipe("test"))) == (0, 0, 1)
    with pytest.raises(DataError, match=r"the train split is empty \(no rows were kept\)"):
        split_examples([], recipe())
