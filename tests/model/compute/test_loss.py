import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny import tiny_gpt2, tiny_model
from transformers import Gemma2Config, Gemma2ForCausalLM

from ftool.example import EncodedExample
from ftool.model.compute import forward, loss
from ftool.model.compute.batch import make_batch
from ftool.model.compute.forward import token_losses
from ftool.model.compute.loss import chunked_losses, cross_entropy

WIDTH = 8


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(1, 13),
    chunk=st.integers(1, 14),
    learns=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 999),
)
def test_chunks_give_the_losses_and_gradients_of_the_whole(tokens, chunk, learns, bias, seed):
    torch.manual_seed(seed)
    head = torch.nn.Linear(WIDTH, 50, bias=bias, dtype=torch.float64).requires_grad_(learns)
    hidden = torch.randn(tokens, WIDTH, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(50, (tokens,))
    weights = torch.randn(tokens, dtype=torch.float64)
    read = [hidden, *(parameter for parameter in head.parameters() if learns)]

    whole = cross_entropy(head(hidden), targets)
    expected = torch.autograd.grad((whole * weights).sum(), read)
    found = chunked_losses(hidden, targets, head, chunk=chunk)
    gradients = torch.autograd.grad((found * weights).sum(), read)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_long_table_of_logits_is_never_held():
    class Watched(torch.nn.Linear):
        largest = 0

        def forward(self, rows):
            self.largest = max(self.largest, len(rows))
            return super().forward(rows)

    for learns in (False, True):
        head = Watched(WIDTH, 50).requires_grad_(learns)
        hidden = torch.randn(40, WIDTH, requires_grad=True)
        chunked_losses(hidden, torch.arange(40), head, chunk=7).sum().backward()
        assert head.largest == (7 * loss.LEARNING_CHUNKS if learns else 7)


def test_nothing_is_recorded_where_no_gradient_is_wanted():
    head = torch.nn.Linear(WIDTH, 50)
    hidden, targets = torch.randn(5, WIDTH), torch.arange(5)
    with torch.inference_mode():
        found = chunked_losses(hidden, targets, head, chunk=2)
        torch.testing.assert_close(found, cross_entropy(head(hidden), targets))
    assert not found.requires_grad


def tied():
    return tiny_model(tie_word_embeddings=True)


def softcapped():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return Gemma2ForCausalLM(
        Gemma2Config(vocab_size=300, final_logit_softcapping=2.0, **sizes, **heads)
    ).eval()


def lora_on_the_head():
    config = LoraConfig(r=2, target_modules=["lm_head", "q_proj"], init_lora_weights=False)
    return get_peft_model(tiny_model(), config)


def lora_below():
    return get_peft_model(tied(), LoraConfig(r=2, target_modules=["q_proj"]))


EXAMPLES = [
    EncodedExample("a", tuple(range(5, 25)), (-100, -100, *range(7, 25))),
    EncodedExample("b", (10, 11, 12), (-100, 11, 12)),
]


def losses_and_gradients(model):
    model.zero_grad()
    losses = token_losses(model, make_batch(EXAMPLES))
    losses.sum().backward()
    learned = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return losses.detach(), torch.cat(learned)


@pytest.mark.parametrize(
    "make_model", [tiny_model, tied, tiny_gpt2, softcapped, lora_on_the_head, lora_below]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_learned_tokens_give_what_few_do(make_model, dtype, monkeypatch):
    model = make_model().to(dtype)
    expected = losses_and_gradients(copy.deepcopy(model))
    monkeypatch.setattr(forward, "PLAIN_TOKENS", 0)
    monkeypatch.setattr(loss, "CHUNK_BYTES", 3 * 300 * 4)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    for one, other in zip(losses_and_gradients(model), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_the_model_is_called_once_unless_it_works_on_its_logits(monkeypatch):
    monkeypatch.setattr(forward, "PLAIN_TOKENS", 0)
    for make_model, calls in ((tied, [1, 1]), (softcapped, [2, 1])):
        model, seen = make_model(), []
        model.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        for expected in calls:
            seen.clear()
            token_losses(model, make_batch(EXAMPLES))
            assert len(seen) == expected


def test_a_wrapper_for_several_processes_sees_one_call_and_averages_its_gradients(monkeypatch):
    monkeypatch.setattr(forward, "PLAIN_TOKENS", 0)
    monkeypatch.setattr(loss, "CHUNK_BYTES", 3 * 300 * 4)
    alone = losses_and_gradients(tied())
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        # Nameless: a wrapper that outlives its group waits, when freed, for the group's threads,
        # and they may wait for the interpreter, which it holds.
        found = losses_and_gradients(torch.nn.parallel.DistributedDataParallel(tied()))
    finally:
        torch.distributed.destroy_process_group()
    for one, other in zip(found, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_losses_that_are_no_numbers_stay_so(monkeypatch):
    monkeypatch.setattr(forward, "PLAIN_TOKENS", 0)
    model = tied()
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.nan)
    assert token_losses(model, make_batch(EXAMPLES)).isnan().all()
    assert model not in loss._WORKS_ON_LOGITS
