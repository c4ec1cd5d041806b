import pytest
import torch
from tiny import tiny_gpt2, tiny_model, windowed_model

from ftool.model.compute import branches as branches_module
from ftool.model.compute.branches import Branches, Call, branching

BEGINNING = [7, 8, 9]
PROMPTS = [[10, 11], [12, 13, 14, 15]]
UNREAD = torch.zeros(1, 1, 1, 1)


def run(model, branches, tokens, positions, call):
    branches.start(call, torch.float32)
    return model(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.tensor([positions]),
        attention_mask=UNREAD,
        use_cache=False,
        branches=branches,
    ).logits[0]


def new_branches():
    slots, columns = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 2, 3])
    return Call(slots, columns, columns, branches=2, width=4, used=4, sees=None)


def two_nodes():
    """Return the call that lets each prompt go on in two ways: 20 and 21, each sees its own."""
    sees = torch.zeros(2, 2, 6, dtype=torch.bool)
    sees[0, :, :2] = True
    sees[1, :, :4] = True
    for slot, first in ((0, 2), (1, 4)):
        sees[slot, 0, first] = sees[slot, 1, first + 1] = True
    slots, columns = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 3, 4, 5])
    return Call(slots, columns, torch.tensor([0, 1, 0, 1]), 2, 2, 6, sees)


@pytest.mark.parametrize("make_model", [tiny_model, tiny_gpt2])
@pytest.mark.parametrize("in_slices", [True, False])
@pytest.mark.parametrize("beginning", [BEGINNING, []])
@torch.inference_mode()
def test_branches_give_the_logits_of_plain_rows(make_model, in_slices, beginning, monkeypatch):
    if not in_slices:
        monkeypatch.setattr(branches_module, "IN_SLICES", frozenset())
    monkeypatch.setattr(branches_module, "SPARE_COLUMNS", 1)
    model, branches, begins = make_model(), Branches(), len(beginning)
    before = model.config._attn_implementation
    with branching(model):
        if beginning:
            model(input_ids=torch.tensor([beginning]), use_cache=False, branches=branches)
        tokens = [token for prompt in PROMPTS for token in prompt]
        places = [begins + place for prompt in PROMPTS for place in range(len(prompt))]
        # A second time, as a second batch finds what the first one left.
        for _ in range(2):
            found = run(model, branches, tokens, places, new_branches())
            ends = [begins + len(prompt) for prompt in PROMPTS for _ in (20, 21)]
            grown = run(model, branches, [20, 21, 20, 21], ends, two_nodes())
    assert model.config._attn_implementation == before
    plain = [model(torch.tensor([[*beginning, *prompt]])).logits[0, begins:] for prompt in PROMPTS]
    torch.testing.assert_close(found, torch.cat(plain), atol=1e-5, rtol=1e-5)
    for row, (prompt, token) in enumerate(
        (prompt, token) for prompt in PROMPTS for token in (20, 21)
    ):
        alone = model(torch.tensor([[*beginning, *prompt, token]])).logits[0, -1]
        torch.testing.assert_close(grown[row], alone, atol=1e-5, rtol=1e-5)


def test_windowed_attention_is_refused_and_the_model_left_as_it_was():
    model = windowed_model()
    before = model.config._attn_implementation
    with pytest.raises(ValueError, match="do not work on branches"), branching(model):
        model(input_ids=torch.tensor([BEGINNING]), use_cache=False, branches=Branches())
    assert model.config._attn_implementation == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@torch.inference_mode()
def test_branches_on_a_gpu_give_the_logits_of_plain_rows():
    model, branches = tiny_model().cuda(), Branches()
    tokens = [token for prompt in PROMPTS for token in prompt]
    places = [place for prompt in PROMPTS for place in range(len(prompt))]
    device = model.device
    with branching(model):
        branches.start(new_branches().to(device), torch.float32)
        found = model(
            input_ids=torch.tensor([tokens], device=device),
            position_ids=torch.tensor([places], device=device),
            attention_mask=UNREAD.to(device),
            use_cache=False,
            branches=branches,
        ).logits[0]
    plain = [model(torch.tensor([prompt], device=device)).logits[0] for prompt in PROMPTS]
    torch.testing.assert_close(found, torch.cat(plain), atol=1e-4, rtol=1e-4)
