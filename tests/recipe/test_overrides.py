from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ftool.credentials import is_secret
from ftool.errors import RecipeError
from ftool.recipe.document import OVERRIDE, read_document
from ftool.recipe.file import dump_recipe, load_recipe
from ftool.recipe.overrides import NULL, apply_overrides

RECIPE = "name: a\ndata: {sources: [{path: x.csv}], keep_columns: [a]}\n"
TEXTS = st.text(
    st.characters(categories=("L", "N", "P", "S", "Z"), include_characters="\t\n\r"), max_size=60
)


def value_of(override: str) -> object:
    """Return what an override makes of a key, before it is validated."""
    document = read_document(RECIPE)
    apply_overrides(document, [override])
    found = document.values
    for part in override.partition("=")[0].split("."):
        found = found[int(part) if part.isdecimal() else part]
    return found


@given(TEXTS)
@example("Rate ticket #1: bad or good")
@example("a: b")
@example("# not a comment")
@example("- x")
@example('"quoted"')
@example("'tis")
@example("*bold*")
@example("&c")
@example("!important")
@example("@me")
@example("%d")
@example("{}")
@example("[x")
@example("{a: b}")
@example("yes")
@example("true")
@example("7")
@example("~")
@example(" blank ")
@example("a=b")
@example("line\nline")
@example("\N{GRINNING FACE}")
def test_text_comes_back_equal(text: str) -> None:
    assume(not is_secret(f"data.system={text}") and text not in NULL)
    assert value_of(f"data.system={text}") == text
    assert value_of(f"data.sources.0.path={text}") == text
    assert value_of(f"data.keep_columns.0={text}") == text


@given(TEXTS)
def test_text_survives_the_recipe_of_a_run(tmp_path_factory: pytest.TempPathFactory, text: str):
    assume(not is_secret(f"data.system={text}") and text not in NULL)
    file = tmp_path_factory.mktemp("overrides") / "recipe.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    recipe = load_recipe(file, [f"data.system={text}"])
    assert recipe.data.system == text
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(file).data.system == text


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.epochs=2", 2),
        ("train.learning_rate=1e-4", 1e-4),
        ("train.max_steps=null", None),
        ("train.max_length=auto", "auto"),
        ("train.max_length=512", 512),
        ("train.compile=true", True),
        ("hub.merged=false", False),
        ("hub.merged=auto", "auto"),
        ("train.validate=null", None),
        ("train.checkpoint={every: 2 steps}", {"every": "2 steps"}),
        ("train.checkpoint.every=0.5 epochs", "0.5 epochs"),
        ("train.tracking=[wandb]", ["wandb"]),
        ("data.label_names=[a, b: c]", ["a", {"b": "c"}]),
        ("data.label_names=words", "words"),
        ("data.filter.languages=[no, de]", ["no", "de"]),
        ("data.filter.languages.0=no", "no"),
        ("data.split={test: 0.5}", {"test": 0.5}),
        # A key that can go without text does.
        ("data.system=null", None),
        ("data.system=", None),
        ("data.split.stratify=null", None),
        # One that cannot takes the word.
        ("name=null", "null"),
        ("data.sources.0.hub_split=true", "true"),
        # A key that nobody knows is told as such, whatever it holds.
        ("train.lr=2", 2),
    ],
)
def test_other_keys_take_what_their_type_wants(override: str, value: object) -> None:
    text = override.replace("data.filter.languages.0", "data.keep_columns.0")
    found = value_of(text)
    assert found == value and type(found) is type(value)


def test_a_list_of_texts_or_one_of_them(tmp_path: Path) -> None:
    assert value_of("train.method.target_modules=[q_proj, v_proj]") == ["q_proj", "v_proj"]
    assert value_of("train.method.target_modules=all-linear") == "all-linear"
    assert value_of("train.method.target_modules=[q_proj") == "[q_proj"


def test_bytes_that_are_no_characters_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"data\.system: half of a character pair"):
        value_of("data.system=\udcff")


def test_a_secret_is_never_repeated() -> None:
    secret = "sk-" + "a1" * 20
    with pytest.raises(RecipeError) as refused:
        value_of(f"hub.repo={secret}")
    assert secret not in str(refused.value)


def test_overrides_go_over_the_values_in_order() -> None:
    document = read_document("train: {epochs: 1, tags: [a, b]}")
    apply_overrides(document, ["train.epochs=2", "train.tags.1=c", "train.epochs=3", "hub.repo="])
    assert document.values == {
        "train": {"epochs": 3, "tags": ["a", "c"]},
        "hub": {"repo": None},
    }
    assert document.line(("train", "epochs")) == OVERRIDE
    assert document.line(("train", "tags", 0)) == 1


def test_an_override_makes_the_blocks_that_are_missing() -> None:
    document = read_document("train: null")
    apply_overrides(document, ["train.method.r=8", "name=x=y"])
    assert document.values == {"train": {"method": {"r": 8}}, "name": "x=y"}


def test_a_block_given_by_override_has_no_lines_of_the_file() -> None:
    document = read_document("train:\n  method:\n    r: -1\n")
    apply_overrides(document, ["train.method={r: -2}"])
    assert document.line(("train", "method", "r")) == OVERRIDE


def test_a_block_that_only_an_override_names_is_the_override() -> None:
    document = read_document("name: x\n")
    apply_overrides(document, ["traim.epochs=1"])
    assert document.line(("traim",)) == OVERRIDE and document.line(("name",)) == 1


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epochs", "not of the form key=value"),
        ("=1", "not of the form key=value"),
        ("train..epochs=1", "not of the form key=value"),
        ("sources.2.path=x", "there is no item `2`; the items are 0..1"),
        ("sources.path=x", "there is no item `path`; the items are 0..1"),
        ("empty.0=x", "there is no item `0`; the list is empty"),
        ("a=[", "not valid YAML: "),
        ("a=[&a [x], *a]", "tags, anchors and aliases are not allowed"),
        ("a=" + "[" * 600, "nested too deeply"),
        ("a={b: 1, b: 2}", "given twice"),
    ],
)
def test_an_override_that_fits_nowhere_is_refused(override: str, sentence: str) -> None:
    document = read_document("sources: [{path: a}, {path: b}]\nempty: []")
    with pytest.raises(RecipeError, match="override") as refused:
        apply_overrides(document, [override])
    assert sentence in str(refused.value)
