import copy
import functools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_gpt2, tiny_model, tiny_of
from transformers import PhiConfig

from ftool.example import EncodedExample
from ftool.model.compute.batch import make_row
from ftool.model.compute.forward import blocks_of, enable_rows, token_losses
from ftool.model.compute.lower import can_keep, count_contexts, keep_lower_states
from ftool.model.weights.adapter import attach_adapter
from ftool.recipe.blocks.train import Lora


def example(*ids: int) -> EncodedExample:
    """Return an example that learns its last two tokens."""
    return EncodedExample(str(ids), ids, (*(-100 for _ in ids[2:]), *ids[-2:]))


EXAMPLES = [
    example(*range(5, 25), 7, 8),
    example(*range(5, 25), 9, 7, 7),
    example(4, 3, 9, 9),
]


def adapted(model):
    """Return a model in rows whose second block alone has adapters, as random as the weights."""
    assert enable_rows(model, EXAMPLES)
    model = attach_adapter(model, Lora(r=4, layers="1-1"), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@functools.cache
def tiny_adapted():
    """Return a model in float64, where what is left of a difference is no rounding."""
    return adapted(tiny_model().double())


def learned(model, batch):
    """Return losses, and the gradients of everything that learns."""
    model.zero_grad()
    losses = token_losses(model, batch)
    losses.sum().backward()
    gradients = [value.grad.flatten() for value in model.parameters() if value.requires_grad]
    return losses.detach(), torch.cat(gradients)


def test_a_context_counts_once():
    assert count_contexts([example(1, 2, 3), example(1, 2, 4), example(1, 2, 3)]) == 4
    assert count_contexts([example(1, 2, 3), example(2, 3), example(1, 2, 3, 4)]) == 6
    assert count_contexts([]) == 0


IDS = st.lists(st.integers(3, 6), min_size=3, max_size=14)


@settings(max_examples=30, deadline=None)
@given(st.lists(IDS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_losses_and_gradients_are_those_of_the_whole_model(rows, dice):
    model = tiny_adapted()
    examples = [example(*ids) for ids in rows]
    kept = keep_lower_states(model, 1, examples)
    assert len(kept.states) == count_contexts(examples)
    part = dice.sample(examples, dice.randrange(1, len(examples) + 1))
    row = make_row(part)
    expected, found = learned(model, row), learned(model, kept.given_to(row, part))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_the_frozen_blocks_are_back_behind_a_pass():
    model = adapted(tiny_model())
    names = list(model.state_dict())
    before = list(blocks_of(model.get_base_model()))
    kept = keep_lower_states(model, 1, EXAMPLES)
    ran = []
    before[0].register_forward_hook(lambda *_: ran.append(0))
    token_losses(model, kept.given_to(make_row(EXAMPLES), EXAMPLES))
    assert ran == [] and list(blocks_of(model.get_base_model())) == before
    token_losses(model, make_row(EXAMPLES))
    assert ran == [0] and list(model.state_dict()) == names


def test_what_is_kept_is_the_same_again_whatever_was_learned():
    model = adapted(tiny_model())
    first = keep_lower_states(model, 1, EXAMPLES)
    for value in model.parameters():
        if value.requires_grad:
            torch.nn.init.normal_(value)
    model.train()
    again = keep_lower_states(model, 1, copy.deepcopy(EXAMPLES))
    assert model.training and torch.equal(first.states, again.states)


def test_only_what_gives_the_same_losses_is_kept():
    assert can_keep(adapted(tiny_model()), 1, EXAMPLES)
    assert not can_keep(adapted(tiny_model(attention_dropout=0.1)), 1, EXAMPLES)
    # Its positions are added to whatever it is given.
    positions_inside = tiny_gpt2()
    assert enable_rows(positions_inside, EXAMPLES)
    assert not can_keep(positions_inside, 1, EXAMPLES)


def test_what_is_drawn_before_the_blocks_that_learn_is_found():
    model = tiny_of(PhiConfig, embd_pdrop=0.5)
    assert enable_rows(model, EXAMPLES)
    before = torch.random.get_rng_state()
    assert not can_keep(model, 1, EXAMPLES)
    assert torch.equal(torch.random.get_rng_state(), before)
    model.model.embed_dropout.p = 0.0
    assert can_keep(model, 1, EXAMPLES)


def test_blocks_that_are_not_found_are_not_kept():
    assert not can_keep(tiny_adapted(), 9, EXAMPLES)


def test_of_a_context_that_stands_in_a_row_twice_the_first_state_is_kept(monkeypatch):
    rows = []

    def counted(model, blocks, row):
        rows.append(row.input_ids.shape[1])
        return torch.arange(rows[-1], dtype=torch.float32)[None, :, None].expand(-1, -1, 32)

    monkeypatch.setattr("ftool.model.compute.lower._behind", counted)
    examples = [example(5, 6, 7, 8, 9), example(5, 6, 7, 3, 4)]
    kept = keep_lower_states(tiny_model(), 1, examples)
    assert rows == [10] and len(kept.states) == 7, "what is in common is short, so stands twice"
    assert kept.states[kept.places[examples[0].input_ids][:3], 0].max() < 5


def test_progress_reaches_the_number_of_examples():
    told = []
    keep_lower_states(adapted(tiny_model()), 1, EXAMPLES, on_progress=lambda *t: told.append(t))
    assert told[-1] == ("running the frozen blocks", 3, 3)
