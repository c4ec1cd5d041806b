import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from folders import write_run

from ftool import console
from ftool.errors import RunError


def test_an_error_says_what_and_what_to_do_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error(RunError("runs/x: [red]\x1b[2Jbroken", hint="run: ftool train"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: runs/x: [red]broken\nhint: run: ftool train\n")
    console.show_error(RunError("no hint"))
    assert capsys.readouterr().err == "error: no hint\n"


def test_the_next_command_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_next(["ftool", "train", "--recipe", "my tickets.yaml", "a=[1, 2]"])
    expected = "\nnext: ftool train --recipe 'my tickets.yaml' 'a=[1, 2]'\n"
    assert capsys.readouterr().out == expected


def test_json_is_readable_and_refuses_what_no_reader_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.show_json({"label": "zurück"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"label": "zurück"}
    assert "zurück" in out
    with pytest.raises(ValueError, match="JSON compliant"):
        console.show_json({"loss": float("nan")})


def test_a_run_shows_what_it_came_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.show_run(write_run(tmp_path / "support", overlong_rejected=["a"]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].endswith("support (finished)")
    assert lines[1:] == [
        "base model smollm2-135m-instruct",
        "method lora, 4,884,480 of 139,399,872 parameters (3.5%)",
        "steps 300 in 12 min 10 s on cpu",
        "best f1_macro 0.8123 at step 250",
        "left out 1 example longer than train.max_length",
    ]


def test_a_run_without_validation_shows_no_best(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    console.show_run(write_run(tmp_path, best_metric=None, best_step=None))
    assert "best" not in capsys.readouterr().out


@pytest.mark.parametrize(("dry_run", "private"), [(True, True), (False, False)])
def test_an_upload_shows_files_and_in_a_dry_run_the_card(
    capsys: pytest.CaptureFixture[str], dry_run: bool, private: bool
) -> None:
    upload: Any = SimpleNamespace(
        repo="me/support",
        url=None if dry_run else "https://hub/me/support",
        files=(("README.md", 1800), ("model.safetensors", 269_060_552), ("tiny", 12)),
        card="---\nlicense: mit\n---\n# Card [x]",
        private=private,
        dry_run=dry_run,
    )
    console.show_upload(upload)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    table = ["README.md 1.8 kB", "model.safetensors 269.1 MB", "tiny 12 B", "together 269.1 MB"]
    assert lines[-4:] == table
    if dry_run:
        assert lines[:4] == ["---", "license: mit", "---", "# Card [x]"]
        assert lines[4] == "me/support (private; dry run, nothing was uploaded)"
    else:
        assert lines[0] == "https://hub/me/support (public; published)"
