from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.errors import DataError
from ftool.example import Example, Message
from ftool.prepare.rows import Candidate
from ftool.prepare.sample import draw_samples, quotas
from ftool.recipe.schema import Recipe


def recipe(**source: object) -> Recipe:
    sources = [{"path": "a.csv", **source}, {"path": "b.csv"}]
    return Recipe.model_validate({"name": "r", "data": {"sources": sources}})


def rows(**counts: int) -> list[Candidate]:
    return [
        Candidate(
            Example(
                id=f"{label}{i}",
                messages=(Message("user", f"{label} {i}"), Message("assistant", label)),
                label=label,
            ),
            "",
            0,
            None,
        )
        for label, n in counts.items()
        for i in range(n)
    ]


def test_quotas_by_largest_remainder() -> None:
    assert quotas({"a": 50, "b": 30, "c": 20}, 10) == {"a": 5, "b": 3, "c": 2}
    assert quotas({"a": 2, "b": 2, "c": 3}, 5) == {"a": 2, "b": 1, "c": 2}
    assert quotas({"a": 1_000, "b": 1, "c": 1}, 10) == {"a": 8, "b": 1, "c": 1}
    assert quotas({"a": 5, "b": 1}, 1) == {"a": 1, "b": 0}
    assert quotas({"a": 5, "b": 1}, 60) == {"a": 5, "b": 1}


@given(
    st.dictionaries(st.text(max_size=2), st.integers(1, 50), min_size=1, max_size=8),
    st.integers(1, 200),
)
def test_quotas_add_up(counts: dict[str, int], limit: int) -> None:
    shares = quotas(counts, limit)
    assert sum(shares.values()) == min(limit, sum(counts.values()))
    assert all(0 <= shares[name] <= counts[name] for name in counts)
    assert limit < len(counts) or min(shares.values()) >= 1


def test_limit_is_stratified_and_leaves_other_sources_alone() -> None:
    other = Candidate(Example(id="other", text="x"), "", 1, None)
    kept, left = draw_samples([*rows(a=60, b=40), other], recipe(limit=10))
    assert Counter(c.example.label for c in kept) == {"a": 6, "b": 4, None: 1}
    assert len(left) == 90 and {row.reason for row in left} == {"not_sampled"}


def test_per_label_and_limit_together() -> None:
    kept, _ = draw_samples(rows(a=60, b=40, c=2), recipe(per_label=4, limit=5))
    assert Counter(c.example.label for c in kept) == {"a": 2, "b": 2, "c": 1}


def test_the_draw_depends_on_seed_and_content_only() -> None:
    def drawn(candidates: list[Candidate], seed: int) -> set[str]:
        settings = recipe(limit=10).model_copy(update={"seed": seed})
        return {c.example.messages[0].content for c in draw_samples(candidates, settings)[0]}

    given_order = rows(a=60, b=40)
    assert drawn(given_order, 1) == drawn(given_order[::-1], 1)
    assert drawn(given_order, 1) != drawn(given_order, 2)


def test_per_label_needs_labels() -> None:
    with pytest.raises(DataError, match=r"a\.csv: `per_label` needs a label on every row"):
        draw_samples([Candidate(Example(id="a", text="x"), "", 0, None)], recipe(per_label=1))
