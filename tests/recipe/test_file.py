from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftool.errors import DataError, RecipeError
from ftool.prepare.read.readers import EXTENSIONS, NAMED_ONLY
from ftool.prepare.read.sources import find_inputs
from ftool.recipe.blocks.data import Source
from ftool.recipe.file import (
    dump_recipe,
    find_recipe,
    load_recipe,
    recipe_for_file,
    shipped_recipes,
)
from ftool.recipe.schema import Recipe

TEXT = "name: a\ndata: {sources: [{path: x.csv}]}\n"


def write(folder: Path, name: str = "recipe.yaml", text: str = TEXT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_recipe_knows_the_folder_its_paths_are_relative_to(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert load_recipe(file).folder == tmp_path
    assert load_recipe(file, folder=tmp_path / "else").folder == tmp_path / "else"


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert load_recipe(file).name == "a"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(RecipeError, match="cannot be read as UTF-8 text"):
        load_recipe(tmp_path / "recipe.yaml")


def test_problems_of_the_text_come_before_those_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has 1 problem:\n  line 2  name: given twice"):
        load_recipe(write(tmp_path, text="name: a\nname: b\nfoo: 1\n"))


def test_a_recipe_is_found_by_file_by_name_and_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("customer_support") == shipped_recipes()["customer_support"]
    assert find_recipe("customer_support.yaml") == shipped_recipes()["customer_support"]
    write(tmp_path, "customer_support.yaml")
    assert find_recipe("customer_support") == Path("customer_support.yaml")
    write(tmp_path / "deep", "mine.yaml")
    assert find_recipe("deep/mine") == Path("deep/mine.yaml")
    assert find_recipe(Path("deep/mine.yaml")) == Path("deep/mine.yaml")


@pytest.mark.parametrize("name", ["custom_support", "", ".", "..", "deep/zzz", "/"])
def test_a_recipe_that_is_not_there_is_refused_with_the_shipped_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="no recipe") as refused:
        find_recipe(name)
    assert "customer_support" in refused.value.hint
    near = "; did you mean `customer_support`?" in str(refused.value)
    assert near is (name == "custom_support")


def test_without_a_name_it_is_the_only_recipe_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="there is none") as refused:
        find_recipe(None)
    assert refused.value.hint == "name one: --recipe customer_support"
    write(tmp_path, "b.yaml")
    assert find_recipe(None) == Path("b.yaml")
    write(tmp_path, "c.yaml")
    with pytest.raises(RecipeError, match=r"several could be meant: b\.yaml, c\.yaml"):
        find_recipe(None)
    write(tmp_path, "recipe.yaml")
    assert find_recipe(None) == Path("recipe.yaml")


def test_a_recipe_written_with_every_default_loads_back_equal(tmp_path: Path) -> None:
    overrides = [
        "train.checkpoint.every=0.333333333 epochs",
        "train.validate=null",
        "data.system='no: yes # \"quoted\" é 日本'",
        "data.label_names=['7', 'no', 'null', '1e5', 'x y']",
        "train.learning_rate=1e-5",
    ]
    recipe = load_recipe(write(tmp_path), overrides)
    again = load_recipe(write(tmp_path, "again.yaml", dump_recipe(recipe)))
    assert again == recipe
    assert dump_recipe(again) == dump_recipe(recipe)
    assert "weight_decay: 0.0" in dump_recipe(recipe)


def test_files_of_one_name_have_places_of_their_own(tmp_path: Path) -> None:
    like = load_recipe(write(tmp_path), ["eval.metric=mine.py:score"])
    made = [
        recipe_for_file(tmp_path / month / "tickets.csv", split="test", like=like)
        for month in ("jan", "feb")
    ]
    names = [recipe.data_name for recipe in made]
    assert len(set(names)) == 2 and all(name.startswith("tickets-") for name in names)
    assert made[0].eval.metric == "../mine.py:score"  # the recipe's own, not one beside the data
    assert (made[0].data.split.validation, made[0].data.split.test) == (0, 0)


SAID = {"labels": {"0": "bad"}, "roles": {"assistant": ["agent"]}, "columns": {"prompt": 1}}
OF_THE_FILE = {"header": "none", "delimiter": ";", "encoding": "latin-1"}
DEFAULTS = {"header": "auto", "delimiter": None, "encoding": None}


@pytest.mark.parametrize("extension", [*EXTENSIONS, *NAMED_ONLY, ".csv.gz", ".JSONL", ".Parquet"])
def test_a_file_is_read_as_the_recipe_says_as_far_as_that_means_something(
    tmp_path: Path, extension: str
) -> None:
    like = load_recipe(write(tmp_path))
    like.data.sources[0] = Source.model_validate({"path": "x.csv", **SAID, **OF_THE_FILE})
    file = tmp_path / f"new{extension}"
    file.touch()
    (source,) = recipe_for_file(file, split="test", like=like).data.sources
    made = source.model_dump(exclude_defaults=True)
    assert {name: made[name] for name in SAID} == SAID
    # Every setting is kept that is not refused for such a file.
    for name, value in OF_THE_FILE.items():
        alone = Source.model_validate({"path": file.name, name: value})
        try:
            find_inputs(tmp_path, [alone], lambda note: None)
        except DataError:
            value = DEFAULTS[name]
        assert getattr(source, name) == value
    find_inputs(tmp_path, [source], lambda note: None)


def test_a_recipe_that_moves_still_finds_its_files(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    text = (
        "name: a\nmodel: {base: base, chat_template: chat.jinja}\n"
        "data: {sources: [{path: rows/*.csv}, {path: /abs/x.csv}, {path: hf://org/name}]}\n"
        "eval: {metric: mine.py:score}\n"
    )
    recipe = load_recipe(write(tmp_path, text=text))
    moved_text = dump_recipe(recipe, relative_to=tmp_path / "runs" / "a")
    moved = load_recipe(write(tmp_path / "runs" / "a", text=moved_text))
    paths = [source.path for source in moved.data.sources]
    assert paths[0] == "../../rows/*.csv"
    assert (moved.folder / paths[1]).resolve() == Path("/abs/x.csv")
    assert paths[2] == "hf://org/name"
    assert (moved.folder / moved.model.base).resolve() == tmp_path / "base"
    assert moved.model.chat_template == Path("../../chat.jinja")
    assert moved.eval.metric == "../../mine.py:score"


def test_a_hub_id_or_embedded_name_stays_when_a_recipe_moves(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path), ["model.base=org/name"])
    assert "base: org/name" in dump_recipe(recipe, relative_to=tmp_path / "runs" / "a")


ANY = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
YAML_TEXT = st.text(st.sampled_from("ab:1-?[]{},\n '\"#|>&*!%@`.~\t\x00\ud800"), max_size=40)


@given(st.one_of(st.text(max_size=40), YAML_TEXT))
@ANY
def test_any_text_is_a_recipe_or_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes((TEXT + text).encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load_recipe(file), Recipe)
    except RecipeError as error:
        assert error.exit_code == 2


@given(YAML_TEXT, YAML_TEXT)
@ANY
def test_any_override_is_taken_or_refused(tmp_path: Path, key: str, value: str) -> None:
    try:
        load_recipe(write(tmp_path), [f"{key}={value}", f"data.sources.0.{key}={value}"])
    except RecipeError as error:
        assert error.exit_code == 2
