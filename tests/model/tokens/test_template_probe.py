import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
from chat_families import FAMILIES
from tiny import CHAT_TEMPLATE

from ftool.errors import RecipeError
from ftool.model.tokens import template_probe
from ftool.model.tokens.template_probe import FAULTS, check_template

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture(autouse=True)
def _nothing_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_probe, "_passed", set())


def tokenizer(template: Any) -> Any:
    tokens = {"bos_token": "<s>", "additional_special_tokens": ["<a>"]}
    return SimpleNamespace(chat_template=template, special_tokens_map=tokens)


def test_sound_templates_pass_and_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_template(tokenizer(CHAT_TEMPLATE), "x", passed=tmp_path / "templates")
    (file,) = (tmp_path / "templates").iterdir()
    assert len(file.name) == 64
    monkeypatch.setattr(template_probe, "_fault", None)
    check_template(tokenizer(CHAT_TEMPLATE), "x", passed=tmp_path / "elsewhere")
    monkeypatch.setattr(template_probe, "_passed", set())
    check_template(tokenizer(CHAT_TEMPLATE), "x", passed=tmp_path / "templates")
    check_template(tokenizer(None), "x", passed=tmp_path / "templates")


def test_a_memory_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_template(tokenizer(CHAT_TEMPLATE), "x", passed=tmp_path / "file")


def test_templates_of_known_families_pass() -> None:
    templates = [family[0] for family in FAMILIES.values()]
    assert template_probe._fault(json.dumps([templates, {"bos_token": "<s>"}])) == ""


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (LOOP, "time"),
        ("{{ 'x' * 10 ** 12 }}", "memory"),
        ("{{ 'x' * 2000000 }}", "size"),
        ("{{ cycler.__init__.__globals__ }}", "sandbox"),
        ("{% set n = namespace() %}{% set n.__class__ = 1 %}", "sandbox"),
        ("{{ raise_exception('only users') }}", ""),
        ("{{ strftime_now('%Y') }}{{ messages | tojson }}", ""),
        ("{% generation %}x{% endgeneration %}{% break %}", ""),
        ("{% if", ""),
        ("{{ 1 / 0 }}", ""),
    ],
)
def test_faults(template: str, fault: str) -> None:
    assert template_probe._fault(json.dumps([[template], {}])) == fault


def test_any_of_several_templates_is_tried(tmp_path: Path) -> None:
    named = {"default": CHAT_TEMPLATE, "tool_use": "{{ 'x' * 10 ** 12 }}"}
    with pytest.raises(RecipeError, match=f"^here: .* refused, for {FAULTS['memory']}"):
        check_template(tokenizer(named), "here", passed=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_process_knows_no_secrets_and_writes_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}
    run = subprocess.run

    def spy(command: list[str], **settings: Any) -> Any:
        started.update(settings["env"])
        return run(command, **settings)

    monkeypatch.setenv("HF_TOKEN", "hf_" + "a1" * 15)
    monkeypatch.setattr(subprocess, "run", spy)
    check_template(tokenizer("{{ '%s' }}"), "x", passed=tmp_path)
    assert "PYTHONPATH" in started and "HF_TOKEN" not in started


def test_a_process_that_fails_otherwise_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(RuntimeError, match="could not be tried"):
        template_probe._fault("[]")


def test_it_takes_less_than_half_a_second() -> None:
    def seconds() -> float:
        started = perf_counter()
        template_probe._fault(json.dumps([[CHAT_TEMPLATE], {}]))
        return perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.5
