import re
from types import SimpleNamespace

import pytest
import torch
from tiny import make_project

from ftool.artifacts import PreparedDataset
from ftool.errors import DataError, RecipeError
from ftool.model.compute import memory
from ftool.recipe.file import load_recipe
from ftool.train import assemble as module
from ftool.train.assemble import assemble, make_accelerator, open_dataset, prepare_to_train

pytestmark = pytest.mark.filterwarnings("ignore:.*unauthenticated:UserWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    return folder


def parts_of(project, *overrides):
    notes = []
    recipe = load_recipe(project / "recipe.yaml", [f"model.base={project}/base", *overrides])
    dataset = PreparedDataset.open(project / "data/tiny")
    return assemble(recipe, dataset, on_note=notes.append), notes


def layers_that_compute_twice(model):
    return [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]


def test_every_decision_is_told_with_its_reason(project):
    parts, notes = parts_of(project)
    assert notes[0].startswith("device cpu, float32: no GPU was found")
    assert notes[-3].startswith("shared prefixes: ")
    assert notes[-2].startswith("10 steps of 8 examples, micro-batches of at most 8 (about ")
    assert re.match(
        r"memory: about \d\.\d GiB, activation checkpointing off \(\d\.\d GiB fit into", notes[-1]
    )
    assert parts.plan.memory == parts.memory.as_dict()
    assert max(map(len, notes)) < 160


def test_activations_are_computed_twice_where_they_would_not_fit(project, monkeypatch):
    held = memory._resident_bytes()
    monkeypatch.setattr(module, "estimate_memory", lambda *_, **__: tight(held))
    parts, notes = parts_of(project)
    assert parts.plan.activation_checkpointing
    assert "activation checkpointing on (" in notes[-1] and "may not fit into" in notes[-1]
    model, _ = prepare_to_train(parts, make_accelerator(parts))
    assert layers_that_compute_twice(model)
    off, notes = parts_of(project, "train.activation_checkpointing=off")
    assert not off.plan.activation_checkpointing
    assert notes[-1] == "it may not fit; lower train.max_length or use a smaller model.base"
    assert len(off.layout.largest) == 1


def tight(held):
    return memory.Memory(0, 10, 1, 2, 90, 9, 5, 1.0, available=100)


def test_auto_takes_as_much_at_a_time_as_fits(project, monkeypatch):
    fits = 2**30

    def estimate(model, batch, **_):
        return memory.Memory(0, 0, 0, 0, batch.input_ids.numel(), 0, 0, 1.0, int(1.2 * fits) + 1)

    monkeypatch.setattr(module, "estimate_memory", estimate)
    off = "train.activation_checkpointing=off"
    plain, _ = parts_of(project, off, "train.batch_size_per_device=8")
    assert "memory" not in plain.plan.reasons
    fits = plain.memory.activations - 1
    explicit, _ = parts_of(project, off, "train.batch_size_per_device=8")
    assert explicit.layout == plain.layout and "memory" in explicit.plan.reasons
    parts, notes = parts_of(project, off)
    assert parts.memory.activations <= fits and "memory" not in parts.plan.reasons
    assert parts.plan.batch_size_per_device == 8 and len(parts.layout.largest) > 1
    said = f"at most {parts.plan.micro_batch_tokens} tokens at a time, for the memory"
    assert parts.plan.reasons["batch_size_per_device"] == said
    assert any(f"({said})" in note for note in notes)
    ids = {example.id for example in plain.examples}
    assert {example.id for example in parts.examples} == ids


def test_the_recipe_may_ask_for_it(project):
    parts, notes = parts_of(project, "train.activation_checkpointing=on")
    assert "activation checkpointing on (the recipe says so)" in notes[-1]
    model, _ = prepare_to_train(parts, make_accelerator(parts))
    assert layers_that_compute_twice(model)
    plain, _ = parts_of(project)
    assert not layers_that_compute_twice(prepare_to_train(plain, make_accelerator(plain))[0])


@pytest.mark.parametrize("kind", module.SHARDED)
def test_a_sharding_of_accelerates_configuration_is_refused(project, monkeypatch, kind):
    made = SimpleNamespace(distributed_type=kind)
    monkeypatch.setattr(module, "Accelerator", lambda **_: made)
    with pytest.raises(RecipeError, match=f"accelerate is configured for {kind.value}"):
        make_accelerator(parts_of(project)[0])


def test_adapters_are_attached_from_the_seed_alone(project):
    first, _ = parts_of(project)
    torch.rand(7)
    second, _ = parts_of(project)
    pairs = zip(first.model.named_parameters(), second.model.named_parameters(), strict=True)
    assert all(torch.equal(one, other) for (_, one), (_, other) in pairs)


def test_data_of_other_settings_are_refused(project):
    recipe = load_recipe(project / "recipe.yaml", ["data.system=Other."])
    with pytest.raises(DataError, match="prepared with another `data`"):
        open_dataset(recipe, project / "data")


def test_nothing_left_to_learn_is_refused(project):
    with pytest.raises(DataError, match="every train example is longer than 8 tokens"):
        parts_of(project, "train.max_length=8")
