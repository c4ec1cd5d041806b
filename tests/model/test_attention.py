import pytest
import torch
from tiny import tiny_model, windowed_model

from ftool.model.attention import attend, make_row, use_rows


def places(group):
    """Return which places of the row a group's examples hold, without the padding."""
    return group.takes[group.keeps].tolist()


def test_groups_hold_neighbours_of_similar_length():
    row = make_row(3, [2, 3, 9, 4])
    assert [group.examples for group in row.groups] == [2, 1, 1]
    assert [places(group) for group in row.groups] == [
        [3, 4, 5, 6, 7],
        [*range(8, 17)],
        [*range(17, 21)],
    ]
    assert row.groups[0].takes.tolist() == [3, 4, 3, 5, 6, 7]


def test_an_example_sees_the_prefix_and_what_came_before():
    (group,) = make_row(2, [2, 2]).groups
    assert group.sees.int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize("prefix", [0, 3])
@pytest.mark.parametrize("lengths", [[2, 2], [1, 4, 2], [5]])
def test_attention_is_that_of_a_mask(prefix, lengths):
    torch.manual_seed(0)
    length = prefix + sum(lengths)
    owners = [0] * prefix + [i for i, count in enumerate(lengths, 1) for _ in range(count)]
    owner = torch.tensor(owners)
    sees = ((owner[:, None] == owner) | (owner == 0)).tril()
    module = tiny_model().model.layers[0].self_attn
    query = torch.randn(1, 4, length, 8)
    key, value = torch.randn(2, 1, 2, length, 8)
    expected, _ = attend(module, query, key, value, sees[None, None])
    found, _ = attend(module, query, key, value, None, row=make_row(prefix, lengths))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_call_without_a_row_stays_as_it_was():
    model, ids = tiny_model(), torch.tensor([[5, 6, 7]])
    mask = torch.tensor([[0, 1, 1]])
    before = model(input_ids=ids, attention_mask=mask).logits
    use_rows(model)
    torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, before)


def test_a_window_is_refused_on_a_row():
    model = windowed_model()
    use_rows(model)
    with pytest.raises(ValueError, match="windows"):
        model(
            input_ids=torch.tensor([[5, 6, 7]]),
            attention_mask=torch.zeros(1, 1, 1, 1),
            row=make_row(1, [1, 1]),
        )
