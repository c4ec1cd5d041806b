import shutil

import pytest
from tiny import tiny_model, tiny_tokenizer

from ftool.errors import DeviceError
from ftool.model.weights.adapter import attach_adapter
from ftool.recipe.blocks.train import Lora, Train
from ftool.train.checkpoint import Progress, save_checkpoint
from ftool.train.optimizer import make_optimizer
from ftool.train.plan import Plan
from ftool.train.space import Room, refuse_little_room, room_of

GIB = 2**30
TOKENIZER = len(tiny_tokenizer().backend_tokenizer.to_str().encode())


def plan(*, total=100, validate=None, every=10):
    return Plan("cpu", "float32", 64, 16, 999, True, 50, total, validate, every, {})


def train(keep=2):
    return Train(checkpoint={"keep": keep})


@pytest.mark.parametrize("tied", [False, True])
def test_full_training_writes_weights_and_two_states_and_the_model(tied):
    model = tiny_model(tie_word_embeddings=tied)
    size = sum(one.numel() * 4 for one in model.parameters())
    assert room_of(model, tiny_tokenizer(), plan(), train()) == Room(
        3 * size, checkpoints=4, model=size + TOKENIZER
    )


def test_of_adapters_the_base_is_not_written():
    model = attach_adapter(tiny_model(), Lora(r=4), seed=1)
    size = sum(one.numel() * 4 for one in model.parameters() if one.requires_grad)
    found = room_of(model, tiny_tokenizer(), plan(), train())
    assert found == Room(3 * size, checkpoints=4, model=size + TOKENIZER)
    assert found.bytes == 13 * size + TOKENIZER


@pytest.mark.parametrize(
    ("total", "validate", "keep", "count"), [(100, None, 5, 7), (9, None, 5, 1), (9, 5, 5, 3)]
)
def test_no_more_checkpoints_are_counted_than_there_will_be(total, validate, keep, count):
    one = plan(total=total, validate=validate)
    assert room_of(tiny_model(), tiny_tokenizer(), one, train(keep)).checkpoints == count


def test_what_is_foreseen_of_a_checkpoint_is_what_it_takes(tmp_path):
    model = tiny_model()
    optimizer = make_optimizer(model, Train())
    for parameter in model.parameters():
        parameter.grad = parameter.detach() * 0 + 1
    optimizer.step()
    path = save_checkpoint(tmp_path / "checkpoints", model, optimizer, Progress(1), {"plan": {}})
    size = sum(file.stat().st_size for file in path.iterdir())
    # Tensors as small as these have a frame that counts.
    assert 0.95 < room_of(model, tiny_tokenizer(), plan(), train()).checkpoint / size < 1.0


def test_little_room_is_refused_with_both_numbers(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * GIB))
    room = Room(GIB, checkpoints=3, model=GIB // 2)
    with pytest.raises(DeviceError, match=r"needs 3.5 GiB more .* 3 checkpoints of 1 GiB") as found:
        refuse_little_room(tmp_path, room, train(5))
    assert "2 GiB are free; no step was taken" in found.value.message
    assert found.value.hint.startswith("make room, set train.checkpoint.keep=2 (now 5) or")
    with pytest.raises(DeviceError) as found:
        refuse_little_room(tmp_path, room, train())
    assert found.value.hint == "make room or work in a folder on another disk"
    refuse_little_room(tmp_path, Room(GIB, checkpoints=1, model=GIB), train())


def test_what_a_run_has_written_already_is_not_asked_for_again(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/weights").write_bytes(bytes(600))
    refuse_little_room(tmp_path, Room(100, checkpoints=10, model=100), train())
    with pytest.raises(DeviceError):
        refuse_little_room(tmp_path, Room(100, checkpoints=10, model=101), train())
