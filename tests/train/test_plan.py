from dataclasses import replace

import torch
from transformers import LlamaConfig

from ftool.model.compute.memory import Memory
from ftool.model.weights.load import Device
from ftool.recipe.blocks.train import Train
from ftool.train.plan import Plan, fit_into_memory, longest_allowed, make_plan

CPU = Device(torch.device("cpu"), torch.float32, "no GPU was found")


def plan(train, lengths):
    return make_plan(
        train, CPU, max_length=(256, "the model's context"), lengths=lengths, shared_prefix=False
    )


def test_auto_becomes_numbers_with_reasons():
    made = plan(Train(), [100] * 40)
    assert (made.steps_per_epoch, made.total_steps) == (3, 9)
    assert (made.batch_size_per_device, made.micro_batch_tokens) == (16, 2048)
    assert (made.validate_every, made.checkpoint_every) == (2, 2)
    assert made.reasons["device"] == "no GPU was found"
    assert Plan(**made.as_dict()) == made


def test_the_recipes_micro_batch_is_at_most_the_global_one():
    assert plan(Train(batch_size_per_device=64), [100]).batch_size_per_device == 16
    assert plan(Train(batch_size_per_device=4), [100]).batch_size_per_device == 4


def test_steps_follow_epochs_unless_max_steps_says_otherwise():
    assert plan(Train(epochs=0.5), [9] * 64).total_steps == 2
    assert plan(Train(epochs=0.01), [9] * 64).total_steps == 1
    assert plan(Train(max_steps=7), [9] * 64).total_steps == 7
    assert plan(Train(validate=None), [9] * 64).validate_every is None


def test_the_context_bounds_the_length():
    config = LlamaConfig(max_position_embeddings=128)
    assert longest_allowed(Train(), config)[0] == 128
    assert longest_allowed(Train(max_length=64), config) == (64, "the recipe says so")
    assert longest_allowed(Train(max_length=999), config)[0] == 128
    assert longest_allowed(Train(), object())[0] == 2048


GIB = 2**30
NEED = Memory(GIB, GIB, GIB, 2 * GIB, 10 * GIB, GIB, GIB, 1.0, available=100 * GIB)


def fitted(memory, wanted="auto"):
    train = Train(activation_checkpointing=wanted)
    return fit_into_memory(plan(train, [9] * 64), train, memory)


def test_activations_are_kept_where_they_fit():
    made = fitted(NEED)
    assert not made.activation_checkpointing
    assert made.reasons["activation_checkpointing"] == (
        "16.0 GiB fit into the 100.0 GiB that are free"
    )
    assert made.memory == NEED.as_dict()
    assert "memory" not in made.reasons
    assert Plan(**made.as_dict()) == made


def test_activations_are_computed_twice_only_where_they_would_not_fit():
    made = fitted(replace(NEED, available=16 * GIB))
    assert made.activation_checkpointing
    assert made.reasons["activation_checkpointing"] == (
        "16.0 GiB may not fit into the 16.0 GiB that are free"
    )
    assert "memory" not in made.reasons
    little = replace(NEED, available=8 * GIB)
    assert fitted(little).reasons["memory"].startswith("it may not fit; lower train.max_length or")
    explicit = Train(batch_size_per_device=4)
    found = fit_into_memory(plan(explicit, [9] * 64), explicit, little)
    assert "lower train.batch_size_per_device or" in found.reasons["memory"]


def test_the_recipe_decides_about_checkpointing_if_it_wants():
    assert fitted(NEED, "on").activation_checkpointing
    off = fitted(replace(NEED, available=GIB), "off")
    assert not off.activation_checkpointing
    assert off.reasons["activation_checkpointing"] == "the recipe says so"


def test_without_knowledge_activations_are_kept():
    for memory, why in ((None, "cannot be foreseen"), (replace(NEED, available=None), "not say")):
        made = fitted(memory)
        assert not made.activation_checkpointing
        assert why in made.reasons["activation_checkpointing"]
