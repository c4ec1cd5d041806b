from hypothesis import given
from hypothesis import strategies as st

from ftool.model.answers.prompts import prompt_batches


@given(st.lists(st.integers(1, 40)), st.integers(1, 6), st.integers(1, 100))
def test_every_prompt_is_in_one_batch_that_is_not_too_large(lengths, size, tokens):
    batches = list(prompt_batches(lengths, size=size, tokens=tokens))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= size
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= tokens
    inside = [lengths[place] for batch in batches for place in batch]
    assert inside == sorted(lengths)


def test_what_is_left_after_some_batches_is_divided_alike():
    lengths = [9, 3, 4, 4, 8, 1, 7]
    first, *rest = prompt_batches(lengths, size=3, tokens=20)
    left = [place for place in range(len(lengths)) if place not in first]
    again = prompt_batches([lengths[place] for place in left], size=3, tokens=20)
    assert [[left[place] for place in batch] for batch in again] == rest
