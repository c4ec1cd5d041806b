import os
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch
from folders import data_manifest, example_to_record, write_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CHAT_TEMPLATE, LABELS, save_tiny_base, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from ftool.artifacts import data_settings
from ftool.errors import DataError, RecipeError
from ftool.example import EncodedExample, Example, Message
from ftool.model.tokens.encode import NOTES, encode_examples, make_encoder
from ftool.model.weights.load import load_base_model, load_config, load_tokenizer
from ftool.recipe.blocks.data import Data, Source
from ftool.recipe.blocks.model import Model
from ftool.recipe.blocks.train import Train
from ftool.recipe.schema import Recipe
from ftool.start.show import Piece, ShownExample, pieces_of, show

ENCODER = make_encoder(tiny_tokenizer())
USER_AND_ANSWER = (Message("user", "where is my box"), Message("assistant", "delivery"))


def chat(name: str, *messages: Message, label: str | None = None) -> Example:
    return Example(name, messages=messages or USER_AND_ANSWER, label=label)


def recipe_for(base: Path, **changes: Any) -> Recipe:
    template = changes.pop("chat_template", None)
    return Recipe(
        name="support",
        seed=changes.pop("seed", 17),
        model=Model(base=str(base), chat_template=template),
        data=Data(sources=[Source(path="tickets.csv")]),
        train=Train(**changes),
    )


def write_dataset(folder: Path, recipe: Recipe, **splits: list[Example]) -> None:
    for split, examples in splits.items():
        (folder / split).mkdir(parents=True)
        rows = [example_to_record(example) for example in examples]
        parquet.write_table(arrow.Table.from_pylist(rows), folder / split / "data.parquet")
    kind = "text" if next(iter(splits.values()))[0].text is not None else "chat"
    kept = {split: len(examples) for split, examples in splits.items()}
    rows = {"read": 9, "kept": kept, "rejected": {}}
    write_manifest(folder, data_manifest(kind=kind, rows=rows, recipe=data_settings(recipe)))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny_base(tmp_path_factory.mktemp("tiny") / "base")
    (folder / "model.safetensors").unlink()  # no weights are ever read
    return folder


def show_one(
    example: Example,
    folder: Path,
    base: Path,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    split: str = "train",
    **changes: Any,
) -> ShownExample:
    """Show one example, with another tokenizer in the place of the base's where one is given."""
    if tokenizer:
        tokenizer.save_pretrained(folder / "base")
        os.link(base / "config.json", folder / "base/config.json")
        base = folder / "base"
    recipe = recipe_for(base, **changes)
    write_dataset(folder / "data/support", recipe, **{split: [example]})
    (shown,) = show(recipe, folder=folder, split=split)
    return shown


def test_what_is_shown_is_what_is_trained(base: Path, tmp_path: Path) -> None:
    example = chat(
        "tickets.csv:2",
        Message("system", "Name the intent."),
        Message("user", "Päckchen 📦 fehlt"),
        Message("assistant", "Which order?"),
        Message("user", "7"),
        Message("assistant", "delivery"),
        label="delivery",
    )
    shown = show_one(example, tmp_path, base)
    (trained,) = encode_examples([example], ENCODER, max_length=256).examples
    assert shown == ShownExample(
        id="tickets.csv:2",
        split="train",
        label="delivery",
        pieces=(
            Piece(
                "<|im_start|>system\nName the intent.<|im_end|>\n"
                "<|im_start|>user\nPäckchen 📦 fehlt<|im_end|>\n<|im_start|>assistant\n",
                False,
            ),
            Piece("Which order?<|im_end|>", True),
            Piece("\n<|im_start|>user\n7<|im_end|>\n<|im_start|>assistant\n", False),
            Piece("delivery<|im_end|>", True),
        ),
        tokens=len(trained.input_ids),
        learned_tokens=trained.learned_tokens,
        notes=(),
    )


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6))
def test_pieces_join_to_the_whole_text_and_alternate(contents: list[str]) -> None:
    roles: Any = ("user", "assistant")
    turns = (Message(roles[index % 2], content) for index, content in enumerate(contents))
    encoded = ENCODER.example(chat("a", *turns, Message("assistant", "end")))
    pieces = list(pieces_of(encoded, ENCODER.tokenizer))
    whole = ENCODER.tokenizer.decode(encoded.input_ids, clean_up_tokenization_spaces=False)
    assert "".join(piece.text for piece in pieces) == whole
    marks = [piece.learned for piece in pieces]
    assert marks == [bool(index % 2) for index in range(len(pieces))]


def test_a_cut_inside_a_character_loses_no_token() -> None:
    ids = tuple(ENCODER.tokenizer("📦")["input_ids"])
    assert len(ids) > 1
    first, rest = pieces_of(EncodedExample("a", ids, (-100, *ids[1:])), ENCODER.tokenizer)
    assert (first.learned, rest.learned) == (False, True)
    assert first.text
    assert set(rest.text) == {"\ufffd"}


def word_tokenizer(words: str, **special: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words that drops the space in front of what it decodes."""
    vocabulary = {word: index for index, word in enumerate(words.split())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", **special
    )
    fast.chat_template = (
        "{% for m in messages %}{{ m['content'] }}"
        "{% if m['role'] == 'assistant' %}</s>{% else %} :{% endif %}{% endfor %}"
    )
    return fast


def test_a_space_that_a_tokenizer_drops_in_front_is_kept() -> None:
    encoder = make_encoder(word_tokenizer("<unk> </s> ▁box ▁: ▁yes"))
    messages = (Message("user", "box"), Message("assistant", " yes"))
    pieces = list(pieces_of(encoder.example(chat("a", *messages)), encoder.tokenizer))
    assert [piece.learned for piece in pieces] == [False, True]
    assert pieces[1].text.startswith(" yes")


def test_unknown_tokens_are_counted(base: Path, tmp_path: Path) -> None:
    example = chat("a", Message("user", "box 📦 zzz"), Message("assistant", " yes"))
    tokenizer = word_tokenizer("<unk> </s> ▁box ▁: ▁yes")
    shown = show_one(example, tmp_path, base, tokenizer=tokenizer)
    assert shown.notes == (
        "2 of its tokens are <unk>: the tokenizer does not know what stood there",
    )


def test_a_start_token_that_the_template_doubles_is_told(base: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(bos=True)
    tokenizer.chat_template = "{{ bos_token }}{{ bos_token }}" + CHAT_TEMPLATE
    shown = show_one(chat("a"), tmp_path, base, tokenizer=tokenizer)
    assert shown.notes == ("it has 2 start tokens (<|endoftext|>), not one",)


@pytest.mark.parametrize("word", ["box", "<|endoftext|>"])
def test_a_start_token_is_neither_added_to_the_template_nor_read_from_the_data(
    base: Path, tmp_path: Path, word: str
) -> None:
    tokenizer = tiny_tokenizer(bos=True)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    example = chat("a", Message("user", word), Message("assistant", "x"))
    shown = show_one(example, tmp_path, base, tokenizer=tokenizer)
    assert shown.notes == ((NOTES["marker_as_text"].format(count="this one"),) * (word != "box"))
    assert shown.pieces[0].text.startswith("<|im_start|>user\n" + word)


def test_a_start_token_that_opens_every_turn_is_no_fault(base: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = "<|im_start|>"
    assert show_one(chat("a"), tmp_path, base, tokenizer=tokenizer).notes == ()


def test_a_template_without_generation_prompt_is_told(base: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE.partition("{% if add")[0]
    shown = show_one(chat("a"), tmp_path, base, tokenizer=tokenizer)
    assert shown.pieces[-1] == Piece("<|im_start|>assistant\ndelivery<|im_end|>", True)
    (note,) = shown.notes
    assert note.startswith(
        "what is learned begins with '<|im_start|>assistant\\ndelivery<|im_end|>', not with the"
    )


@pytest.mark.parametrize("answer", ["", " refund", "\nrefund ", "é 🙂", "refund\n\nfollows"])
def test_an_answer_in_its_place_is_no_fault(base: Path, tmp_path: Path, answer: str) -> None:
    example = chat("a", Message("user", "x"), Message("assistant", answer))
    assert show_one(example, tmp_path, base).notes == ()


def test_nothing_learned_is_told(base: Path, tmp_path: Path) -> None:
    shown = show_one(chat("a", Message("user", "x")), tmp_path, base)
    assert (shown.learned_tokens, shown.pieces) == (0, ())
    assert shown.notes == (
        "nothing is learned, no assistant message has content: training refuses it",
    )


LONG = chat("a", Message("user", "box " * 60), Message("assistant", "delivery"))


@pytest.mark.parametrize(
    ("split", "verdict"),
    [
        ("train", "training leaves it out"),
        ("validation", "training does not validate on it"),
        ("test", "training would leave such a one out"),
    ],
)
def test_a_longer_example_is_shown_whole_and_told(
    base: Path, tmp_path: Path, split: str, verdict: str
) -> None:
    shown = show_one(LONG, tmp_path, base, split=split, max_length=32)
    tokens = len(ENCODER.example(LONG).input_ids)
    assert shown.tokens == tokens > 32
    assert shown.notes == (
        f"it has {tokens} tokens, 32 tokens are allowed (the recipe says so): {verdict}",
    )


def test_the_models_context_is_the_limit_where_the_recipe_names_none(
    base: Path, tmp_path: Path
) -> None:
    example = chat("a", Message("user", "box " * 400), Message("assistant", "delivery"))
    (note,) = show_one(example, tmp_path, base).notes
    assert "256 tokens are allowed (the model's context)" in note


def test_a_trimmed_prompt_is_shown_as_it_is_trained(base: Path, tmp_path: Path) -> None:
    changes = {"max_length": 32, "overlong": "trim_prompt"}
    shown = show_one(LONG, tmp_path, base, **changes)
    (trained,) = encode_examples([LONG], ENCODER, **changes).examples
    assert shown.tokens == len(trained.input_ids) <= 32
    assert "".join(piece.text for piece in shown.pieces) == ENCODER.tokenizer.decode(
        trained.input_ids
    )
    (note,) = shown.notes
    assert note.startswith("its prompt is trimmed: it has ")


def test_a_prompt_that_cannot_be_trimmed_enough_is_left_out(base: Path, tmp_path: Path) -> None:
    example = chat("a", Message("user", "x"), Message("assistant", "w " * 50))
    shown = show_one(example, tmp_path, base, max_length=20, overlong="trim_prompt")
    assert shown.tokens == len(ENCODER.example(example).input_ids)
    assert shown.notes[0].endswith("(the recipe says so): training leaves it out")


def test_a_text_is_learned_but_for_its_first_token(base: Path, tmp_path: Path) -> None:
    shown = show_one(Example("t", text="my box"), tmp_path, base)
    assert [piece.learned for piece in shown.pieces] == [False, True]
    assert "".join(piece.text for piece in shown.pieces) == "my box<|im_end|>"
    assert (shown.learned_tokens, shown.notes) == (shown.tokens - 1, ())


def test_of_a_long_text_the_first_window_is_shown(base: Path, tmp_path: Path) -> None:
    example = Example("t", text="where is my box " * 10)
    shown = show_one(example, tmp_path, base, max_length=16)
    windows = ENCODER.text(example, 16)
    assert shown.tokens == 16
    assert shown.notes == (
        f"the first of {len(windows)} windows of at most 16 tokens (the recipe says so)",
    )


def test_an_empty_text_is_told(base: Path, tmp_path: Path) -> None:
    shown = show_one(Example("t", text=""), tmp_path, base)
    assert (shown.pieces, shown.notes) == ((), ("it is empty: nothing is learned of it",))


@pytest.fixture
def project(base: Path, tmp_path: Path) -> tuple[Path, Recipe]:
    recipe = recipe_for(base)
    splits = {
        split: [chat(f"{split}:{n}", label=LABELS[n % 3]) for n in range(count)]
        for split, count in (("train", 30), ("test", 6))
    }
    write_dataset(tmp_path / "data/support", recipe, **splits)
    return tmp_path, recipe


def ids(shown: list[ShownExample]) -> list[str]:
    return [example.id for example in shown]


def test_the_sample_is_the_same_on_every_call_and_follows_the_seed(
    project: tuple[Path, Recipe],
) -> None:
    folder, recipe = project
    shown = show(recipe, folder=folder)
    assert {example.label for example in shown} == set(LABELS)
    assert {example.split for example in shown} == {"train"}
    assert ids(show(recipe, folder=folder)) == ids(shown)
    others = {
        tuple(ids(show(recipe.model_copy(update={"seed": n}), folder=folder))) for n in (1, 2)
    }
    assert others != {tuple(ids(shown))}


@pytest.mark.parametrize(("examples", "expected"), [(1, 1), (5, 5), (99, 6)])
def test_as_many_as_are_asked_for_or_there(
    project: tuple[Path, Recipe], examples: int, expected: int
) -> None:
    folder, recipe = project
    shown = show(recipe, folder=folder, split="test", examples=examples)
    assert len(set(ids(shown))) == expected
    assert all(example.split == "test" for example in shown)


def test_one_example_is_found_in_any_split(project: tuple[Path, Recipe]) -> None:
    folder, recipe = project
    (shown,) = show(recipe, folder=folder, only="test:4")
    assert (shown.id, shown.split) == ("test:4", "test")


def test_an_example_that_is_not_there_is_a_sentence(project: tuple[Path, Recipe]) -> None:
    folder, recipe = project
    with pytest.raises(DataError, match="has no example nothing:1 in train, test") as refused:
        show(recipe, folder=folder, only="nothing:1")
    assert refused.value.hint.startswith("an id looks like train:0; removed rows are in ")
    with pytest.raises(DataError, match=r"has no example test:4 in train$"):
        show(recipe, folder=folder, only="test:4", split="train")
    with pytest.raises(DataError, match="has no validation split; it has train, test"):
        show(recipe, folder=folder, split="validation")


def test_a_dataset_is_found_by_name_and_by_folder(
    project: tuple[Path, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, recipe = project
    expected = ids(show(recipe, folder=folder))
    for data in ("support", "data/support", str(folder / "data/support")):
        assert ids(show(recipe, folder=folder, data=data)) == expected
    monkeypatch.chdir(folder)
    assert ids(show(recipe, data="support")) == expected


def test_a_dataset_that_is_not_there_is_a_sentence(project: tuple[Path, Recipe]) -> None:
    folder, recipe = project
    with pytest.raises(DataError, match="did you mean `support`") as refused:
        show(recipe, folder=folder, data="suport")
    assert refused.value.hint == "there is support"
    with pytest.raises(DataError, match="neither a prepared dataset nor the name") as refused:
        show(recipe, folder=folder / "elsewhere", data="support")
    assert refused.value.hint == "run: ftool prepare"


def test_data_of_other_settings_are_shown_and_told(project: tuple[Path, Recipe]) -> None:
    folder, recipe = project
    notes: list[str] = []
    show(recipe, folder=folder, on_note=notes.append)
    assert notes == []
    show(recipe.model_copy(update={"seed": 5}), folder=folder, on_note=notes.append)
    assert len(notes) == 1
    assert notes[0].endswith("was prepared with another `data` or `seed` than this recipe's")


def test_the_template_of_the_recipe_is_used(base: Path, tmp_path: Path) -> None:
    template = tmp_path / "plain.jinja"
    template.write_text(CHAT_TEMPLATE.replace("<|im_start|>", "##"), encoding="utf-8")
    shown = show_one(chat("a"), tmp_path, base, chat_template=template)
    assert shown.pieces[0].text.startswith("##user\n")


def test_the_tokenizer_is_the_one_that_comes_with_the_model(tmp_path: Path) -> None:
    save_tiny_base(tmp_path / "base")
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "base")
    loaded = load_base_model(Model(base="base"), folder=tmp_path, dtype=torch.float32)
    alone = load_tokenizer(Model(base="base"), tmp_path)
    assert alone.pad_token == loaded.tokenizer.pad_token == "<|im_end|>"
    assert alone.get_vocab() == loaded.tokenizer.get_vocab()
    assert alone.chat_template == loaded.tokenizer.chat_template == CHAT_TEMPLATE
    config = load_config(Model(base="base"), tmp_path)
    assert config.max_position_embeddings == loaded.model.config.max_position_embeddings == 256


def test_an_adapter_has_no_tokenizer_to_show_with(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(RecipeError, match="holds an adapter"):
        load_tokenizer(Model(base="."), tmp_path)
