import pytest
from loopback_rules import LICENSES as THEIRS

from ftool.recipe.blocks.hub import Hub
from ftool.recipe.licenses import LICENSES, known_to_the_hub


def test_the_licences_are_those_of_the_hub() -> None:
    assert frozenset(THEIRS.split()) == LICENSES
    assert len(LICENSES) > 80 and {"mit", "apache-2.0", "gemma", "other", "unknown"} < LICENSES


@pytest.mark.parametrize("name", sorted(LICENSES))
def test_a_known_one_is_taken(name: str) -> None:
    assert Hub(license=name).license == known_to_the_hub(name) == name


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("apache2", "`apache-2.0`"),
        ("Apache-2.0", "`apache-2.0`"),
        ("Apache License 2.0", "`apache-2.0`"),
        ("MIT", "`mit`"),
        ("MIT License", "`mit`"),
        ("gpl3", "`gpl-3.0`"),
        ("llama-3.1", "`llama3.1`"),
        ("cc-by-4", "`cc-by-4.0`"),
        ("proprietary", None),
        ("", None),
    ],
)
def test_another_is_refused_with_the_nearest(name: str, near: str | None) -> None:
    with pytest.raises(ValueError, match="`other`") as refused:
        known_to_the_hub(name)
    assert ("the nearest are" in str(refused.value)) is (near is not None)
    assert near is None or near in str(refused.value)
