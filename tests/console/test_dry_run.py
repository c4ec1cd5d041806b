from dataclasses import replace

import pytest

from ftool import console
from ftool.train.dry_run import DryRun

TRIED = DryRun(
    base_model="smollm2-135m-instruct",
    method="lora",
    device="cpu, float32",
    examples=10_003,
    overlong=0,
    steps_looked_at=201,
    tokens=612_000,
    learned_tokens=19_000,
    run_tokens=201_000,
    saved_ratio=0.694,
    padding_ratio=0.0123,
    global_batch_size=16,
    steps=1878,
    steps_per_epoch=626,
    seconds_per_step=4.321,
    seconds=8114.8,
    tokens_per_second=704.6,
    largest_examples=16,
    largest_tokens=1024,
    expected_memory_gib=2.47,
    measured_memory_gib=2.71,
    available_memory_gib=20.64,
    activation_checkpointing=False,
    disk_gib=0.0712,
    free_disk_gib=49.04,
    plan={},
)


def shown(capsys: pytest.CaptureFixture[str], tried: DryRun) -> list[str]:
    console.show_dry_run(tried)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return [" ".join(line.split()) for line in lines]


def test_a_dry_run_says_what_a_training_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, TRIED) == [
        "smollm2-135m-instruct, lora (dry run, nothing was written)",
        "device cpu, float32",
        "examples 10,003",
        "tokens 612,000 in 201 steps, 3.1% of them learned",
        "tokens run 201,000, 1.2% of them padding",
        "shared prefixes 69% of the prompt tokens are not run again",
        "largest micro-batch 16 examples, 1,024 tokens; a step of it was run",
        "memory 2.7 GiB measured, 2.5 foreseen; 20.6 are free",
        "checkpointing off, activations are kept",
        "disk 0.071 GiB of checkpoints and model at most; 49.0 are free",
        "steps 1,878 of 16 examples, 626 an epoch",
        "time 2 h 15 min, 4.32 s a step; without validation",
        "speed 705 tokens/s",
    ]


def test_data_without_a_common_beginning_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, replace(TRIED, saved_ratio=0.001, steps_looked_at=626, overlong=1))
    assert "shared prefixes none to gain by; the examples do not begin alike" in lines
    assert "tokens 612,000 in an epoch, 3.1% of them learned" in lines
    assert lines[-1] == "left out 1 example longer than train.max_length"


def test_a_pass_over_frozen_blocks_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, replace(TRIED, seconds=TRIED.seconds_per_step * TRIED.steps + 90))
    assert lines[-1] == "frozen blocks 1 min 30 s of this time, before the first step"


def test_what_cannot_be_foreseen_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    tried = replace(TRIED, expected_memory_gib=None, available_memory_gib=None)
    assert "memory 2.7 GiB measured" in shown(capsys, tried)


def test_short_memory_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    tried = replace(TRIED, available_memory_gib=2.0, activation_checkpointing=True)
    lines = shown(capsys, tried)
    assert lines[-1] == "memory is short; lower train.batch_size_per_device"
    assert "checkpointing activations are computed twice" in lines
