import pytest

from ftool.recipe.document import dotted, read_document, read_value


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


def test_dotted_paths() -> None:
    assert dotted(("data", "sources", 0, "path")) == "data.sources.0.path"
    assert dotted(()) == "recipe"


def test_a_character_that_json_escapes_by_halves_is_whole() -> None:
    assert read_document('{"system": "\\ud83d\\ude00!"}').values == {"system": "\N{GRINNING FACE}!"}
    document = read_document('name: x\nsystem: "\\ud83d"')
    assert document.problems == [(2, "system: half of a character pair stands alone")]


def test_one_value_is_read_as_in_a_recipe() -> None:
    assert read_value("[1, a]", ("train", "tracking")).values == [1, "a"]
    assert read_value("[", ("a",)).problems[0][1].startswith("not valid YAML: ")
