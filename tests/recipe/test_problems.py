from pathlib import Path

import pytest

from ftool.errors import RecipeError
from ftool.recipe.blocks.model import SETTING_PATTERN
from ftool.recipe.file import load_recipe
from ftool.recipe.problems import OTHER_TOOLS, PATTERNS, all_keys, refusal
from ftool.recipe.schema import Recipe
from ftool.recipe.types import NAME_PATTERN

HEAD = "name: a\ndata: {sources: [{path: x.csv}]}\n"


def problems(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    file = tmp_path / "recipe.yaml"
    file.write_text(HEAD + text)
    with pytest.raises(RecipeError) as refused:
        load_recipe(file, overrides)
    head, *lines = str(refused.value).splitlines()
    count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
    assert head == f"{file} has {count}:"
    return [line.strip() for line in lines]


def test_every_problem_is_told_at_once_overrides_first_then_by_line(tmp_path: Path) -> None:
    text = "train:\n  learning_rte: 1\n  epochs: 0\nlr: 3\n"
    assert problems(tmp_path, text, "seed=-1") == [
        "override  seed: -1 is not at least 0",
        "line 4    train.learning_rte: unknown key; did you mean `learning_rate`?",
        "line 5    train.epochs: 0 is not greater than 0",
        "line 6    lr: unknown key; in ftool this is `train.learning_rate`",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed: abc", "seed: 'abc' is not a whole number"),
        ("seed: 1.5", "seed: 1.5 is not a whole number"),
        ("seed: null", "seed: null is not a whole number"),
        ("seed: 5000000000", "seed: 5000000000 is not less than 4.29497e+09"),
        ("train: {epochs: many}", "train.epochs: 'many' is not a number"),
        ("train: {epochs: .inf}", "train.epochs: Infinity is not a finite number"),
        ("train: {warmup_ratio: 1.5}", "train.warmup_ratio: 1.5 is not at most 1"),
        ("train: 3", "train: 3 is not a block of settings"),
        ("train: {tracking: wandb}", "train.tracking: 'wandb' is not a list"),
        (
            "train: {tracking: [wandbb]}",
            "train.tracking.0: 'wandbb' is not 'tensorboard', 'wandb', 'mlflow' or 'trackio'"
            "; did you mean `wandb`?",
        ),
        (
            "train: {max_length: atuo}",
            "train.max_length: 'atuo' is not a whole number or 'auto'; did you mean `auto`?",
        ),
        (
            "train: {batch_size_per_device: 0}",
            "train.batch_size_per_device: 0 is not greater than 0 or 'auto'",
        ),
        ("hub: {merged: maybe}", "hub.merged: 'maybe' is not 'auto', true or false"),
        ("hub: {repo: 7}", "hub.repo: 7 is not text; put it in quotes"),
        ("hub: {license: true}", "hub.license: true is not text; put it in quotes"),
        ("model: {chat_template: 3}", "model.chat_template: 3 is not a path"),
        (
            "train: {checkpoint: {every: 5}}",
            "train.checkpoint.every: 5: write a span as `0.25 epochs` or `200 steps`",
        ),
        (
            "train: {checkpoint: {every: -1 steps}}",
            "train.checkpoint.every: -1.0 is not greater than 0",
        ),
        ("train: {method: full}", "train.method: 'full' is not a block of settings"),
        (
            "train: {method: {kind: fulll}}",
            "train.method.kind: 'fulll' is not 'lora' or 'full'; did you mean `full`?",
        ),
        (
            "train: {method: {kind: full, r: 8}}",
            "train.method.r: not a setting of this `kind`",
        ),
        (
            "train: {method: {lora_r: 8}}",
            "train.method.lora_r: unknown key; in ftool this is `train.method.r`",
        ),
        ("train: {r: 8}", "train.r: unknown key here; it belongs to `train.method.r`"),
        (
            "hub: {zzz: 1}",
            "hub.zzz: unknown key; allowed here: repo, private, license, merged",
        ),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    assert problems(tmp_path, text) == [f"line 3  {sentence}"]


def test_what_is_missing_is_told_at_its_block(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("data:\n  sources:\n    - {limit: 3}\n")
    with pytest.raises(RecipeError) as refused:
        load_recipe(file)
    assert [line.strip() for line in str(refused.value).splitlines()[1:]] == [
        "line 1  name: must be given",
        "line 3  data.sources.0.path: must be given",
    ]


def test_a_wrong_item_hides_the_other_branches_of_its_list(tmp_path: Path) -> None:
    assert problems(tmp_path, "", "data.label_names=[a, 1]") == [
        "override  data.label_names.1: 1 is not text; put it in quotes"
    ]
    assert problems(tmp_path, "", "data.label_names={a: 1}") == [
        "override  data.label_names: '{a: 1}' is not 'auto', 'words', 'none' or a list"
    ]
    assert problems(tmp_path, "", "data.label_names=[]") == [
        "override  data.label_names: [] is not 'auto', 'words', 'none' or a list of at least 1 item"
    ]


def test_a_split_that_leaves_nothing_is_told_at_its_block(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "", "data.split={validation: 0.5, test: 0.5}")
    assert problem.endswith("validation and test together leave nothing to train on")


@pytest.mark.parametrize("name", ["a b", "../up", "", ".hidden", "x/y", "n" * 101])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    (problem,) = problems(tmp_path, "", f"name={name}")
    assert problem.startswith("override  name: '")
    assert "a name of letters" in problem or "at most 100 characters" in problem
    assert len(problem) < 160


def test_every_pattern_of_the_schema_has_its_words() -> None:
    patterns = {
        schema["pattern"]
        for schema in _strings(Recipe.model_json_schema())
        if "epochs" not in schema["pattern"]
    } | {SETTING_PATTERN}  # of a key, not of a value
    assert patterns == PATTERNS.keys()
    assert "letters, digits" in PATTERNS[NAME_PATTERN]


def test_blocks_are_not_told_to_be_a_name(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "", "train.method.layers=upper")
    assert problem.endswith("'upper' is not two block numbers such as `15-29`")


def _strings(node: object) -> list[dict[str, str]]:
    if isinstance(node, list):
        return [found for item in node for found in _strings(item)]
    if not isinstance(node, dict):
        return []
    inner = [found for value in node.values() for found in _strings(value)]
    return [node, *inner] if isinstance(node.get("pattern"), str) else inner


def test_every_key_of_other_tools_leads_to_a_setting() -> None:
    assert set(OTHER_TOOLS.values()) <= set(all_keys())


def test_all_keys_are_named_as_in_a_recipe() -> None:
    keys = set(all_keys())
    assert {"train.validate.every", "data.sources.path", "train.method.kind"} <= keys
    assert not {"train.validation.every", "train.checkpoint.every.amount"} & keys


def test_one_problem_is_counted_as_one() -> None:
    assert str(refusal(Path("r.yaml"), [(0, "bad")])) == "r.yaml has 1 problem:\n  override  bad"
