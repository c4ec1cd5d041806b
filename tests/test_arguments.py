from pathlib import Path

import pytest
from folders import RECIPE, write_run

from ftool.arguments import again, find_run, find_subject, only_overrides, read_recipe, split_words
from ftool.console import Screen
from ftool.errors import RecipeError, RunError


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("support.yaml").write_text(RECIPE)
    return tmp_path


def test_a_recipe_is_read_with_its_overrides(desk: Path) -> None:
    recipe, file = read_recipe("support", ["train.epochs=1"])
    assert (recipe.train.epochs, file) == (1, Path("support.yaml"))


def test_the_words_for_the_next_verb() -> None:
    assert again("r.yaml", ["a=1"]) == ["--recipe", "r.yaml", "a=1"]
    assert again(None, None) == []


def test_words_that_are_no_settings_are_refused() -> None:
    assert only_overrides(["a=1"]) == ["a=1"]
    assert only_overrides(None) == []
    with pytest.raises(RecipeError, match="`support` is not a setting"):
        only_overrides(["a=1", "support"])


def test_one_name_among_settings() -> None:
    assert split_words(["a=1", "runs/x", "b=2"], "model") == ("runs/x", ["a=1", "b=2"])
    assert split_words(None, "model") == (None, [])
    with pytest.raises(RecipeError, match=r"only one model .* not 2: x, y"):
        split_words(["x", "y"], "model can be scored")


def test_a_run_by_name_by_folder_and_the_newest(desk: Path) -> None:
    with pytest.raises(RunError):
        find_run(None, Screen())
    write_run(Path("runs/support"))
    for name in (None, "support", "runs/support"):
        assert find_run(name, Screen()).path == Path("runs/support")


def test_a_model_whose_name_is_nearly_that_of_a_run_is_told(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("runs/support"))
    with Screen() as screen:
        assert find_subject("suport", "support", [], screen, needs_recipe=True)[0] == "suport"
    assert "suport is no run here; did you mean `support`?" in capsys.readouterr().err
