"""Chat templates with habits of their own, from the recipe to the saved model."""

import copy
import json
from functools import partial
from pathlib import Path

import pytest
from chat_families import family_tokenizer
from tiny import make_project, recipe_of, tiny_model
from transformers import AutoTokenizer

from ftool.artifacts import PreparedDataset, TrainingRun
from ftool.errors import RecipeError, RunError
from ftool.eval.run import evaluate
from ftool.model.tokens import encode
from ftool.model.tokens.encode import make_encoder
from ftool.prepare.run import prepare
from ftool.start.show import show
from ftool.train.assemble import assemble
from ftool.train.run import train

PREDICTIONS = Path("eval/validation/predictions.jsonl")
SWITCH = "model.template_settings={enable_thinking: true}"


def write_base(folder, family):
    tokenizer = family_tokenizer(family)
    tiny_model(vocabulary=len(tokenizer)).save_pretrained(folder)
    copy.deepcopy(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("templates")
    make_project(folder, count=24, extra="  max_steps: 1\n  validate: null\n")
    for family in ("reasoning", "channels", "gemma"):
        write_base(folder / family, family)
    return folder


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project)
    return project


def prompts(recipe, data="data/tiny"):
    """Return what training learns behind, and the first examples."""
    parts = assemble(recipe, PreparedDataset.open(Path(data)), on_note=lambda note: None)
    return parts, PreparedDataset.open(Path(data)).examples("train")


@pytest.mark.parametrize("overrides", [(), (SWITCH,)])
def test_a_setting_holds_in_training_in_the_saved_model_and_in_every_evaluation(here, overrides):
    recipe = recipe_of(here, f"model.base={here / 'reasoning'}", *overrides)
    run = train(recipe, run="reasoning", fresh=True)
    settings = run.manifest()["template"]["settings"]
    assert settings == {"enable_thinking": bool(overrides)}
    parts, examples = prompts(recipe)
    saved = AutoTokenizer.from_pretrained(run.model_path)
    for example, encoded in zip(examples[:4], parts.examples, strict=False):
        given = [message.as_dict() for message in example.prompt]
        ids = saved.apply_chat_template(given, add_generation_prompt=True)["input_ids"]
        assert list(encoded.input_ids[: len(ids)]) == ids
        # Straight to the label, unless the recipe wants the reasoning.
        learned = saved.decode(encoded.input_ids[len(ids) :])
        assert learned == ("<think>\n\n</think>\n\n" if overrides else "") + (
            f"{example.label}<|im_end|>"
        )
        assert make_encoder(saved).prompt(example) == ids
    for mode in ("rank", "generate", "loss"):
        scored = recipe_of(here, f"model.base={here / 'reasoning'}", f"eval.mode={mode}")
        evaluate(run, recipe=scored, split="validation")
    (shown,) = show(recipe, only=examples[0].id)
    assert shown.learned_tokens == parts.examples[0].learned_tokens


def test_another_setting_is_another_run(here):
    recipe = recipe_of(here, f"model.base={here / 'reasoning'}")
    train(recipe, run="other", fresh=True)
    with pytest.raises(RunError, match=r"model\.template_settings\.enable_thinking"):
        train(recipe_of(here, f"model.base={here / 'reasoning'}", SWITCH), run="other")


@pytest.mark.parametrize(
    "override",
    [
        "model.template_settings={enable_thinkin: true}",
        "model.template_settings={enable_thinking: {a: 1}}",
        "model.template_settings={'a b': 1}",
    ],
)
def test_a_setting_that_cannot_be_is_refused(here, override):
    with pytest.raises(RecipeError, match="template_settings"):
        train(recipe_of(here, f"model.base={here / 'reasoning'}", override), run="wrong")


def set_day(monkeypatch, day):
    for module in ("model.tokens.encode", "train.run", "train.assemble", "start.show"):
        monkeypatch.setattr(f"ftool.{module}.today", lambda: day)


def test_the_day_of_a_run_stands_still(here, monkeypatch):
    on = partial(set_day, monkeypatch)
    recipe = recipe_of(here, f"model.base={here / 'channels'}", "eval.mode=loss")
    on("2024-02-29")
    run = train(recipe, run="tiny", fresh=True)
    assert run.manifest()["template"]["date"] == "2024-02-29"
    assert json.loads((run.path / "plan.json").read_text())["template_date"] == "2024-02-29"
    before = evaluate(run, recipe=recipe, split="validation").metrics["loss"]
    # The next day the run goes on from its checkpoint, and is evaluated and shown.
    on("2024-03-01")
    (run.path / "manifest.json").unlink()
    again = train(recipe, run="tiny")
    assert again.manifest()["template"]["date"] == "2024-02-29"
    after = evaluate(TrainingRun.open(run.path), recipe=recipe, split="validation")
    assert after.metrics["loss"] == before
    assert "2024-02-29" in show(recipe, examples=1)[0].pieces[0].text
    fresh = train(recipe, run="tiny", fresh=True)
    assert fresh.manifest()["template"]["date"] == "2024-03-01"
    assert encode.today() == "2024-03-01"


def test_a_system_message_without_a_role_is_folded_and_told(here):
    notes = []
    recipe = recipe_of(here, f"model.base={here / 'gemma'}")
    run = train(recipe, run="gemma", fresh=True, on_note=notes.append)
    template = run.manifest()["template"]
    assert template["folds_system"] and list(template["notes"]) == ["system_folded"]
    assert any("no system role" in note for note in notes)
    evaluate(run, split="validation")


def test_conversations_become_sequences_and_rows_with_tools_are_left_out_by_name(here):
    call = {"type": "function", "function": {"name": "look", "arguments": {"order": "7"}}}
    rows = [
        {
            "messages": [
                {"role": ("user", "assistant")[n % 2], "content": f"word {number} {n}"}
                for n in range(6)
            ]
        }
        for number in range(20)
    ]
    rows += [
        {
            "messages": [
                {"role": "user", "content": f"look at {number}"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "7"},
                {"role": "assistant", "content": f"it is {number}"},
            ]
        }
        for number in range(4)
    ]
    (here / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = recipe_of(
        here,
        f"model.base={here / 'reasoning'}",
        "data={name: chats, sources: [{path: chats.jsonl}], dedup: {near: null}, split: {test: 0}}",
        "train.validate={every: 1 steps}",
    )
    data = prepare(recipe, output=here / "data", fresh=True)
    run = train(recipe, run="chats", fresh=True)
    manifest = run.manifest()
    train_rows = data.examples("train")
    with_calls = [one.id for one in train_rows if any(m.tool_calls for m in one.messages)]
    assert manifest["left_out"] == ({"tools_not_rendered": with_calls} if with_calls else {})
    assert manifest["template"]["notes"] == {"sequence_per_turn": len(train_rows) - len(with_calls)}
    scored = evaluate(run, split="train")
    assert scored.left_out == {code: len(ids) for code, ids in manifest["left_out"].items()}
    assert scored.examples == len(train_rows) - len(with_calls)
    shown = show(recipe, examples=50)
    by_turn = [one for one in shown if "#turn" in one.id]
    assert len(by_turn) == 3 * (len(train_rows) - len(with_calls))
    (rewrites, begins) = by_turn[1].notes
    assert "rewrites earlier turns" in rewrites and r"begins with '<think>\n\n</think>" in begins
    left = [one for one in shown if "#turn" not in one.id]
    assert all("tools_not_rendered" in one.notes[0] for one in left)


@pytest.mark.parametrize(
    "written",
    [
        "{{ strftime_now('%d %B %Y') }}",
        "{% set form = '%d %B %Y' %}{{ strftime_now(form) }}",
    ],
)
def test_a_run_that_goes_on_on_another_day_ends_as_if_it_had_never_stopped(
    here, monkeypatch, written
):
    on = partial(set_day, monkeypatch)
    base = write_base(here / f"dated-{len(written)}", "chatml")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = f"<|im_start|>system\n{written}<|im_end|>\n{tokenizer.chat_template}"
    tokenizer.save_pretrained(base)
    recipe = recipe_of(
        here, f"model.base={base}", "train.max_steps=4", "train.checkpoint={every: 1 steps}"
    )

    def stop(step, _):
        if step.step == 3:
            raise KeyboardInterrupt

    on("2024-02-29")
    whole = train(recipe, run="whole", fresh=True)
    parts, _ = prompts(recipe)
    assert "29 February 2024" in tokenizer.decode(parts.examples[0].input_ids)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, run="stopped", fresh=True, on_step=stop)
    on("2024-03-01")
    stopped = train(recipe, run="stopped")
    assert stopped.manifest()["template"]["date"] == "2024-02-29"
    assert stopped.manifest()["model_files"] == whole.manifest()["model_files"]
    other = train(recipe, run="other-day", fresh=True)
    assert other.manifest()["model_files"] != whole.manifest()["model_files"]


def test_a_saved_model_keeps_its_setting_scored_and_trained_as_a_base(here):
    overrides = (f"model.base={here / 'reasoning'}", "train.method={kind: full}")
    run = train(recipe_of(here, *overrides, SWITCH), run="thinks", fresh=True)
    own = evaluate(run, split="validation")
    notes = []
    again = recipe_of(here, f"model.base={run.model_path.resolve()}", "train.method={kind: full}")
    plain = evaluate(str(run.model_path), recipe=again, split="validation", on_note=notes.append)
    assert plain.metrics == own.metrics
    saved = [json.loads(line) for line in (run.path / PREDICTIONS).read_text().splitlines()]
    (folder,) = Path("eval").glob("*model/tiny-validation")
    found = (folder / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in found] == saved
    parts, _ = prompts(again)
    assert parts.encoder.chosen == {}
    assert not any("enable_thinking" in note for note in notes)


@pytest.mark.parametrize("family", ["chatml", "reasoning"])
def test_an_answer_of_weight_0_is_given_and_not_learned_from_prepare_to_encode(here, family):
    weights = (None, 0, 1, None)
    rows = [
        {
            "messages": [
                message
                for turn, weight in enumerate(weights)
                for message in (
                    {"role": "user", "content": f"question {number} {turn}"},
                    {"role": "assistant", "content": f"answer {number} {turn}"}
                    | ({} if weight is None else {"weight": weight}),
                )
            ]
        }
        for number in range(8)
    ]
    (here / "weighted.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = recipe_of(
        here,
        "data={sources: [{path: weighted.jsonl}], dedup: {near: null}, name: weighted,"
        " split: {validation: 0, test: 0}}",
    )
    examples = prepare(recipe, output=here / "data", fresh=True).examples("train")
    tokenizer = family_tokenizer(family)
    assert len(examples) == 8
    for example, found in zip(examples, make_encoder(tokenizer).many(examples), strict=True):
        learned = [
            tokenizer.decode(
                [token for token, label in zip(one.input_ids, one.labels, strict=True) if label > 0]
            )
            for one in found.sequences
        ]
        number = example.messages[0].content.split()[1]
        text = "".join(learned)
        is_learned = [f"answer {number} {turn}<|im_end|>" in text for turn in range(4)]
        assert is_learned == [True, False, True, True]
        assert text.count("<|im_end|>") == 3 and "question" not in text
        # It is given in front of what follows.
        assert f"answer {number} 1" in tokenizer.decode(found.sequences[-1].input_ids)
