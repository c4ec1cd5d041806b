import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import tiny_gpt2, tiny_model, tiny_of, windowed_model
from transformers import Qwen3MoeConfig

from ftool.errors import RecipeError
from ftool.example import EncodedExample
from ftool.model.compute import memory
from ftool.model.compute.batch import micro_batch
from ftool.model.compute.forward import enable_rows, token_losses, unwrapped
from ftool.model.compute.memory import (
    Memory,
    available_bytes,
    checkpoint_activations,
    estimate_memory,
)
from ftool.model.weights.adapter import attach_adapter
from ftool.recipe.blocks.train import Lora

GIB = 2**30
NEED = Memory(GIB, 2 * GIB, GIB, 2 * GIB, 5 * GIB, GIB, GIB, 1.5, available=18 * GIB)


def examples(count=5, prefix=20):
    generator = torch.Generator().manual_seed(3)
    made = []
    for number in range(count):
        own = torch.randint(3, 300, (6 + 3 * number,), generator=generator).tolist()
        ids = (*range(5, 5 + prefix), *own)
        made.append(EncodedExample(f"e{number}", ids, (*[-100] * (len(ids) - 4), *ids[-4:])))
    return made


def model_of(method, *, seed=1, **settings):
    model = tiny_model(**settings)
    return attach_adapter(model, Lora(r=4), seed=seed) if method == "lora" else model


def really_kept(model, batch):
    """Return the bytes of all that autograd keeps of a real pass through the layers."""
    sizes = {value.untyped_storage().data_ptr(): 0 for value in model.parameters()}
    sizes |= {value.untyped_storage().data_ptr(): 0 for value in model.buffers()}
    kept, at_the_head = [], []

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept.append(storage)
        sizes.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    def stop(*_):
        at_the_head.append(sum(sizes.values()))

    handle = unwrapped(model).base_model.register_forward_hook(stop)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        token_losses(model.train(), batch)
    handle.remove()
    return at_the_head[0]


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("shared", [False, True])
def test_what_autograd_keeps_is_counted_without_a_pass(method, shared):
    data = examples()
    model = model_of(method)
    assert not shared or enable_rows(model, data)
    batch = micro_batch(data, shared=shared)
    found = estimate_memory(model.eval(), batch, dtype=torch.float32)
    assert found is not None
    # Without values to look at, transformers makes a mask for padded rows, and so copies of keys.
    ratio = found.activations / really_kept(model, batch)
    assert ratio == pytest.approx(1, rel=0.005) if shared else 1 <= ratio < 1.15
    assert 0 < found.checkpointed < found.activations
    assert all(value.grad is None for value in model.parameters())


def test_counting_leaves_the_model_as_it_was():
    model = model_of("lora").eval()
    batch = micro_batch(examples(), shared=False)
    before = token_losses(model, batch)
    estimate_memory(model, batch, dtype=torch.float32)
    assert torch.equal(token_losses(model, batch), before)
    assert not model.training


@pytest.mark.parametrize("tied", [False, True])
def test_full_training_holds_gradients_and_two_states_of_every_weight(tied):
    model = tiny_model(tie_word_embeddings=tied)
    found = estimate_memory(model, micro_batch(examples(), shared=False), dtype=torch.float32)
    assert found is not None
    size = sum(value.numel() * 4 for value in model.parameters())
    assert found.parameters == size
    assert found.gradients == size + (300 * 32 * 4 if tied else 0)
    assert found.optimizer == 2 * size
    assert found.logits == 3 * 5 * 4 * 300 * 4  # five examples, four learned tokens each


def test_adapters_alone_have_gradients_and_states():
    model = model_of("lora")
    found = estimate_memory(model, micro_batch(examples(), shared=False), dtype=torch.float32)
    assert found is not None
    learned = sum(value.numel() * 4 for value in model.parameters() if value.requires_grad)
    assert (found.gradients, found.optimizer) == (learned, 2 * learned)


def test_more_tokens_keep_more():
    model = model_of("lora")
    sizes = [
        estimate_memory(model, micro_batch(examples(count), shared=False), dtype=torch.float32)
        for count in (1, 5)
    ]
    assert sizes[0].activations < sizes[1].activations


def test_the_logits_of_many_tokens_are_never_there_at_once(monkeypatch):
    monkeypatch.setattr(memory, "PLAIN_TOKENS", 8)
    batch = micro_batch(examples(), shared=False)
    found = estimate_memory(tiny_model(), batch, dtype=torch.float32)
    assert found.logits == 3 * memory.CHUNK_BYTES


def test_other_architectures_are_counted_too():
    batch = micro_batch(examples(2), shared=False)
    for model in (tiny_gpt2(), windowed_model()):
        assert estimate_memory(model, batch, dtype=torch.float32).activations > 0


def test_an_architecture_that_needs_values_is_not_foreseen():
    model = tiny_model()
    forward = model.model.forward

    def looking(*args, input_ids=None, **settings):
        assert input_ids[0, 0].item() >= 0
        return forward(*args, input_ids=input_ids, **settings)

    model.model.forward = looking
    assert (
        estimate_memory(model, micro_batch(examples(), shared=False), dtype=torch.float32) is None
    )


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")
def test_experts_behind_adapters_are_not_foreseen_and_not_talked_about(caplog, capfd):
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    model = attach_adapter(tiny_of(Qwen3MoeConfig, head_dim=8, **experts), Lora(r=4), seed=0)
    batch = micro_batch(examples(2), shared=False)
    assert estimate_memory(model, batch, dtype=torch.float32) is None
    assert caplog.text == "" and capfd.readouterr().err == ""


def test_a_peak_is_the_sum_and_fits_with_a_margin():
    assert NEED.peak(checkpointing=False) == 15 * GIB
    assert NEED.peak(checkpointing=True) == 9 * GIB
    assert NEED.fits(checkpointing=False)
    assert not replace(NEED, available=17 * GIB).fits(checkpointing=False)
    assert replace(NEED, available=17 * GIB).fits(checkpointing=True)
    assert replace(NEED, available=None).fits(checkpointing=False)
    assert NEED.as_dict()["optimizer"] == 2 * GIB


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("shared", [False, True])
def test_checkpointed_activations_give_the_same_gradients(method, shared):
    data = examples()

    def gradients(*, checkpointing):
        model = model_of(method, attention_dropout=0.0 if shared else 0.3).double()
        if method == "lora":
            for value in (value for value in model.parameters() if value.requires_grad):
                torch.nn.init.normal_(value, std=0.1, generator=torch.Generator().manual_seed(9))
        assert not shared or enable_rows(model, data)
        if checkpointing:
            checkpoint_activations(model)
        torch.manual_seed(4)
        losses = token_losses(model.train(), micro_batch(data, shared=shared))
        losses.sum().backward()
        found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        return losses.detach(), found

    losses, plain = gradients(checkpointing=False)
    again, checkpointed = gradients(checkpointing=True)
    assert torch.equal(again, losses)
    assert plain.keys() == checkpointed.keys() and plain
    for name, value in plain.items():
        torch.testing.assert_close(checkpointed[name], value, rtol=1e-12, atol=1e-12)


def test_checkpointing_is_refused_where_an_architecture_cannot(monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(type(model), "supports_gradient_checkpointing", False)
    with pytest.raises(RecipeError, match="LlamaForCausalLM cannot do it"):
        checkpoint_activations(model)


def write_group(folder, files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_limits_of_control_groups_above_count_too(tmp_path):
    root = tmp_path / "cgroup"
    write_group(
        root / "a",
        {
            "memory.max": "1000\n",
            "memory.current": "700\n",
            "memory.stat": "anon 400\ninactive_file 250\n",
        },
    )
    write_group(
        root / "a/b",
        {"memory.max": "max\n", "memory.current": "300\n", "memory.stat": "inactive_file 5\n"},
    )
    groups = tmp_path / "groups"
    groups.write_text("3:cpu:/x\n0::/a/b\n")
    assert list(memory._cgroup_free(root, groups)) == [1000 - 700 + 250]


def test_limits_of_the_first_version_are_read(tmp_path):
    root = tmp_path / "cgroup"
    write_group(
        root / "memory/a",
        {
            "memory.limit_in_bytes": "5000",
            "memory.usage_in_bytes": "1200",
            "memory.stat": "total_inactive_file 200\nhierarchical_memory_limit 5000\n",
        },
    )
    groups = tmp_path / "groups"
    groups.write_text("4:memory:/a\n1:cpu:/a\n0::/\n")
    assert list(memory._cgroup_free(root, groups)) == [4000]
    assert list(memory._cgroup_free(root, tmp_path / "none")) == []


def test_the_smallest_limit_counts_and_what_is_held_is_free(monkeypatch):
    held = memory._resident_bytes()
    assert 2**24 < held < 2**36
    monkeypatch.setattr(memory, "_machine_free", lambda: 9 * GIB)
    monkeypatch.setattr(memory, "_cgroup_free", lambda *_: iter([3 * GIB, 5 * GIB]))
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 100)
    assert available_bytes(torch.device("cpu")) == 3 * GIB + 100
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "6"), ("LOCAL_WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    assert available_bytes(torch.device("cpu")) == 1 * GIB + 100  # two others are here
    assert available_bytes(torch.device("xpu")) is None


def test_a_system_without_proc_says_what_there_is(monkeypatch):
    class Missing(type(Path())):
        def read_text(self, **_):
            raise FileNotFoundError(self)

    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory._machine_free() <= there
    monkeypatch.setattr(memory, "Path", Missing)
    assert memory._machine_free() == there
    assert memory._resident_bytes() == 0


@pytest.mark.gpu
def test_a_gpu_is_foreseen_within_a_fifth():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    model = tiny_model(vocabulary=30_000).cuda()
    batch = micro_batch(examples(), shared=False).to(model.device)
    found = estimate_memory(model, batch, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        token_losses(model, batch).sum().backward()
        optimizer.step()
    measured = torch.cuda.max_memory_allocated()
    assert 0.8 < found.peak(checkpointing=False) / measured < 1.2
