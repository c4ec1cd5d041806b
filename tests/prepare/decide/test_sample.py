from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepare_tables import Given, reasons_of, row, table_of

from ftool.errors import DataError
from ftool.prepare.decide.sample import draw_samples, quotas
from ftool.prepare.decide.table import Table
from ftool.recipe.blocks.data import Source


def rows(source: int = 0, **counts: int) -> list[Given]:
    return [row(f"{name} {i}", name, source=source) for name, n in counts.items() for i in range(n)]


def table(folder: Path, given_rows: list[Given], sources: int = 2) -> Table:
    return table_of(folder, given_rows, splits=(None,) * sources, near=None, shard_rows=40)


def draw(of: Table, seed: int = 17, **first: int | None) -> Table:
    sources = [Source.model_validate({"path": "a.csv", **first}), Source(path="b.csv")]
    draw_samples(of, sources, seed=seed)
    return of


def kept_labels(of: Table) -> Counter[str | None]:
    codes = of.label[of.stays].tolist()
    return Counter(of.labels[code] if code >= 0 else None for code in codes)


def kept_prompts(of: Table) -> list[str]:
    return [example.messages[0].content for example in of.read_examples(np.flatnonzero(of.stays))]


def test_quotas_by_largest_remainder() -> None:
    assert quotas({1: 50, 2: 30, 3: 20}, 10) == {1: 5, 2: 3, 3: 2}
    assert quotas({1: 2, 2: 2, 3: 3}, 5) == {1: 2, 2: 1, 3: 2}
    assert quotas({1: 1_000, 2: 1, 3: 1}, 10) == {1: 8, 2: 1, 3: 1}
    assert quotas({1: 5, 2: 1}, 1) == {1: 1, 2: 0}
    assert quotas({1: 5, 2: 1}, 60) == {1: 5, 2: 1}


COUNTS = st.dictionaries(st.integers(-1, 20), st.integers(1, 50), min_size=1, max_size=8)


@given(COUNTS, st.integers(1, 200))
def test_quotas_add_up(counts: dict[int, int], limit: int) -> None:
    shares = quotas(counts, limit)
    assert sum(shares.values()) == min(limit, sum(counts.values()))
    assert all(0 <= shares[name] <= counts[name] for name in counts)
    assert limit < len(counts) or min(shares.values()) >= 1


@given(COUNTS, st.integers(1, 200))
def test_quotas_do_not_depend_on_the_order(counts: dict[int, int], limit: int) -> None:
    assert quotas(dict(reversed(counts.items())), limit) == quotas(counts, limit)


@given(st.lists(st.integers(10, 50), min_size=1, max_size=6), st.integers(10, 200))
def test_quotas_are_within_one_of_the_share_where_labels_are_frequent(
    counts: list[int], limit: int
) -> None:
    numbered = dict(enumerate(counts))
    total = sum(counts)
    exact = {name: min(limit, total) * n / total for name, n in numbered.items()}
    shares = quotas(numbered, limit)
    if min(exact.values()) >= 1:
        assert all(abs(shares[name] - exact[name]) < 1 for name in numbered)


def test_limit_is_stratified_and_leaves_other_sources_alone(tmp_path: Path) -> None:
    made = draw(table(tmp_path, [*rows(a=60, b=40), row("other", source=1)]), limit=10)
    assert kept_labels(made) == {"a": 6, "b": 4, None: 1}
    assert Counter(reasons_of(made).values()) == {"not_sampled": 90}


def test_a_limit_of_rows_without_labels(tmp_path: Path) -> None:
    given_rows = [row(f"q{n}", answer=f"r{n}") for n in range(30)]
    assert len(kept_prompts(draw(table(tmp_path, given_rows), limit=7))) == 7


def test_per_label_takes_so_many_of_each(tmp_path: Path) -> None:
    made = draw(table(tmp_path, rows(a=60, b=40, c=2)), per_label=4)
    assert kept_labels(made) == {"a": 4, "b": 4, "c": 2}


def test_per_label_and_limit_together(tmp_path: Path) -> None:
    made = draw(table(tmp_path, rows(a=60, b=40, c=2)), per_label=4, limit=5)
    assert kept_labels(made) == {"a": 2, "b": 2, "c": 1}


def test_a_smaller_sample_is_a_part_of_a_larger_one(tmp_path: Path) -> None:
    samples = []
    for count in (2, 5, 9):
        made = draw(table(tmp_path / str(count), rows(a=20, b=20)), per_label=count)
        samples.append(set(kept_prompts(made)))
    assert samples[0] < samples[1] < samples[2]


def test_every_source_has_its_own_limit(tmp_path: Path) -> None:
    made = table(tmp_path, [*rows(0, a=20), *rows(1, b=30)])
    sources = [Source(path="a.csv", limit=3), Source(path="b.csv", per_label=5)]
    draw_samples(made, sources, seed=1)
    assert kept_labels(made) == {"a": 3, "b": 5}


def test_rows_that_go_are_not_drawn(tmp_path: Path) -> None:
    made = table(tmp_path, rows(a=20))
    made.reject(np.arange(15), "near_duplicate")
    draw(made, limit=4)
    assert Counter(reasons_of(made).values()) == {"near_duplicate": 15, "not_sampled": 1}


def test_the_draw_depends_on_seed_and_content_only(tmp_path: Path) -> None:
    given_rows = rows(a=60, b=40)
    shuffled = Random(3).sample(given_rows, len(given_rows))

    def drawn(name: str, some: list[Given], seed: int) -> list[str]:
        return sorted(kept_prompts(draw(table(tmp_path / name, some), seed, limit=10)))

    assert drawn("1", given_rows, 1) == drawn("2", shuffled, 1)
    assert drawn("3", given_rows, 1) != drawn("4", given_rows, 2)


def test_the_draw_does_not_depend_on_names(tmp_path: Path) -> None:
    made = table(tmp_path / "1", rows(1, a=60, b=40))
    sources = [Source(path="other.csv"), Source(path="name.csv", limit=10)]
    draw_samples(made, sources, seed=17)
    first = draw(table(tmp_path / "2", rows(0, a=60, b=40)), limit=10)
    assert kept_prompts(made) == kept_prompts(first)


def test_the_draw_is_no_prefix(tmp_path: Path) -> None:
    prompts = kept_prompts(draw(table(tmp_path, rows(a=100)), limit=20))
    numbers = [int(prompt.split()[1]) for prompt in prompts]
    assert numbers == sorted(numbers)
    assert 30 < sum(numbers) / len(numbers) < 70


def test_no_limit_no_draw(tmp_path: Path) -> None:
    assert reasons_of(draw(table(tmp_path / "1", rows(a=5)))) == {}
    assert reasons_of(draw(table(tmp_path / "2", rows(a=5)), limit=5, per_label=9)) == {}
    assert reasons_of(draw(table(tmp_path / "3", []), limit=5)) == {}


def test_per_label_needs_labels(tmp_path: Path) -> None:
    made = table(tmp_path, [row("x")])
    with pytest.raises(DataError, match=r"a\.csv: `per_label` needs a label on every row"):
        draw(made, per_label=1)
