import pytest

from ftool.errors import RecipeError
from ftool.recipe.document import OVERRIDE, apply_overrides, dotted, read_document


def test_every_key_and_item_knows_its_line() -> None:
    document = read_document("name: a\ntrain:\n  epochs: 1\ndata:\n  sources:\n    - {path: x}\n")
    assert document.problems == []
    assert document.values["data"]["sources"] == [{"path": "x"}]
    assert document.line(("train", "epochs")) == 3
    assert document.line(("data", "sources", 0, "path")) == 6
    assert document.line(("train", "missing", "deeper")) == 2
    assert document.line(("nowhere",)) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4),
        ("1.5", 1.5),
        ("-3", -3),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0o17", 15),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ("'7'", "7"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, expected: object) -> None:
    value = read_document(f"key: {text}").values["key"]
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", (1, "a recipe is a mapping of keys such as `name:`")),
        ("- a", (1, "a recipe is a mapping of keys such as `name:`")),
        ("a: 1\nb: 2\na: 3", (3, "a: given twice")),
        ("a:\n  b: 1\n  b: 2", (3, "a.b: given twice")),
        ("a: 1\nb: !!python/name:os.system x", (2, "tags, anchors and aliases are not allowed")),
        ("a: &x 1", (1, "tags, anchors and aliases are not allowed")),
        ("a: 1\n[x]: 2", (2, "a key is one word, not a list or a mapping")),
        ("a: 1\nb: [", (2, "not valid YAML: ")),
        ("a: 1\n---\nb: 2", (2, "not valid YAML: ")),
        ("a: \x00", (1, "not valid YAML: ")),
        ("a: " + "[" * 600, (1, "nested too deeply")),
        ("a: " + "9" * 5000, (1, "not a number that can be read")),
        ("a: 1\nb: hf_" + "x" * 30, (2, "looks like a secret; recipes must not hold any")),
    ],
)
def test_what_no_recipe_may_hold_is_told_with_its_line(text: str, problem: tuple[int, str]) -> None:
    line, sentence = problem
    found = read_document(text).problems
    assert any(at == line and what.startswith(sentence) for at, what in found), found


def test_a_secret_is_never_repeated() -> None:
    secret = "sk-" + "a1" * 20
    (problem,) = read_document(f"key: {secret}").problems
    assert secret not in problem[1]
    document = read_document("a: 1")
    with pytest.raises(RecipeError) as refused:
        apply_overrides(document, [f"hub.repo={secret}"])
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


def test_dotted_paths() -> None:
    assert dotted(("data", "sources", 0, "path")) == "data.sources.0.path"
    assert dotted(()) == "recipe"


def test_a_character_that_json_escapes_by_halves_is_whole() -> None:
    assert read_document('{"system": "\\ud83d\\ude00!"}').values == {"system": "\N{GRINNING FACE}!"}
    document = read_document('name: x\nsystem: "\\ud83d"')
    assert document.problems == [(2, "system: half of a character pair stands alone")]
