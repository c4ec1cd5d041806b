import json
import subprocess
import sys
from pathlib import Path

import pytest
from prepare_files import recipe_for, write_csv
from tokenizers import Tokenizer, models, pre_tokenizers

from ftool.artifacts import read_jsonl
from ftool.errors import DataError
from ftool.example import Example, Message
from ftool.prepare.refine.tokens import TokenCounter, token_counter, tokenizer_of
from ftool.prepare.run import prepare
from ftool.recipe.blocks.model import Model
from ftool.recipe.schema import Recipe


def save_tokenizer(folder: Path) -> Path:
    """Write a base model's folder whose tokenizer takes every word and sign for a token."""
    folder.mkdir()
    words = {"[UNK]": 0, "pin": 1, "card": 2}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    return folder / "tokenizer.json"


def with_base(recipe: Recipe, base: str) -> Recipe:
    made = recipe.model_copy(update={"model": Model(base=base)})
    made._folder = recipe.folder
    return made


def test_tokens_of_all_contents_are_counted_and_none_is_cut_off(tmp_path: Path) -> None:
    count = TokenCounter(save_tokenizer(tmp_path / "base"))
    chat = (Message("system", "Route it."), Message("user", "my pin"), Message("assistant", "card"))
    assert count(Example("a", messages=chat)) == 3 + 2 + 1
    assert count(Example("a", text="pin " * 500)) == 500
    assert count(Example("a", text="")) == 0


def test_tokens_are_counted_only_where_a_rule_asks_for_it(tmp_path: Path) -> None:
    file = save_tokenizer(tmp_path / "base")
    free = with_base(recipe_for(tmp_path, "a.csv"), "base")
    asked = with_base(recipe_for(tmp_path, "a.csv", filter={"max_tokens": 5}), "base")
    assert token_counter(free) is None
    assert token_counter(asked) == tokenizer_of(free) == TokenCounter(file)


def test_a_tokenizer_that_is_not_here_is_named(tmp_path: Path) -> None:
    gone = with_base(recipe_for(tmp_path, "a.csv", filter={"max_tokens": 5}), "org/gone")
    assert tokenizer_of(gone) is None
    with pytest.raises(DataError, match="the tokenizer of org/gone is not on this machine") as told:
        token_counter(gone)
    assert "data.filter.max_characters" in told.value.hint


def test_rows_with_too_many_tokens_go_but_for_held_out_ones(tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "base")
    rows = [(f"pin number {n}", "a") for n in range(8)]
    write_csv(tmp_path / "a.csv", [*rows, ("one two three four five six", "a")])
    write_csv(tmp_path / "test.csv", [("six five four three two one zero", "a")])
    recipe = recipe_for(
        tmp_path, "a.csv", {"path": "test.csv", "split": "test"}, filter={"max_tokens": 5}
    )
    made = prepare(with_base(recipe, "base"), output=tmp_path / "data")
    assert made.rejected == {"too_many_tokens": 1}
    assert made.count("test") == 1
    (record,) = read_jsonl(made.path / "rejected.jsonl")
    assert (record["line"], record["detail"]) == (10, "7 tokens")
    assert (record["value"], record["threshold"]) == (7, 5)
    tokens = made.manifest()["statistics"]["tokens"]
    assert (tokens["rows"], tokens["sampled"]) == (9, False)


def test_another_tokenizer_counts_anew(tmp_path: Path) -> None:
    file = save_tokenizer(tmp_path / "base")
    write_csv(tmp_path / "a.csv", [(f"my-pin-{n}", "a") for n in range(8)])
    recipe = with_base(recipe_for(tmp_path, "a.csv", filter={"max_tokens": 4}), "base")
    with pytest.raises(DataError, match="too_many_tokens"):
        prepare(recipe, output=tmp_path / "data")
    content = json.loads(file.read_text())
    content["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text(json.dumps(content))
    (other / "config.json").write_text("{}")
    made = prepare(with_base(recipe, "other"), output=tmp_path / "data")
    assert sum(made.rows["kept"].values()) == 8


def test_counting_loads_no_model_library(tmp_path: Path) -> None:
    file = save_tokenizer(tmp_path / "base")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ftool.example import Example\n"
        "from ftool.prepare.refine.tokens import TokenCounter\n"
        "assert TokenCounter(Path(sys.argv[1]))(Example('a', text='my pin')) == 2\n"
        "print(sorted({'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
