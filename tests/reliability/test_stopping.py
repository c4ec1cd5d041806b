"""A model learns to stop: what is learned, what is asked, and what a fresh process loads."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from chat_families import FAMILIES, family_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from reliability.harness import METHODS, TESTS, copied, run_task, training

from ftool.artifacts import PreparedDataset, TrainingRun
from ftool.example import NOT_LEARNED, Example, Message
from ftool.model.answers.generate import generated_batches
from ftool.model.tokens.encode import encode_examples, make_encoder
from ftool.model.tokens.template import UnwritableError
from ftool.model.weights.adapter import load_run_model
from ftool.model.weights.load import load_tokenizer
from ftool.recipe.blocks.model import Model
from ftool.recipe.file import load_recipe

WORDS = ("refund", " ", "\n", "é", "🙂", "<|im_end|>", "</s>", "<end_of_turn>", "<|eot_id|>", "{0}")
CONTENTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=4), min_size=1, max_size=5).map(
    lambda parts: "a" + "".join(parts)
)


def chat(*contents, system=""):
    turns = [Message(("user", "assistant")[n % 2], text) for n, text in enumerate(contents)]
    return Example("a", messages=(*([Message("system", system)] if system else []), *turns))


chats = st.lists(CONTENTS, min_size=2, max_size=6).filter(lambda t: len(t) % 2 == 0)


REFUSED = {"escaping": "marker_in_content"}
"""Families that refuse some of the conversations, and by which code."""


def try_chats(check, family, *, most=50, **others):
    """Check what training learns of conversations; count those that the family may refuse."""
    counts, encoder = Counter(), make_encoder(family_tokenizer(family))

    @settings(max_examples=most, deadline=None)
    @given(contents=chats, **others)
    def check_one(contents, **own):
        (found,) = encoder.many([chat(*contents)])
        if isinstance(found, UnwritableError):
            counts[found.code] += 1
            return
        counts["checked"] += 1
        check(encoder, found.sequences, contents, **own)

    check_one()
    assert counts.keys() <= {"checked", REFUSED.get(family)}
    assert counts["checked"] >= most // 4


@pytest.mark.parametrize("family", FAMILIES)
def test_one_start_token_and_every_answer_ends(family):
    def check(encoder, sequences, contents):
        start = encoder.tokenizer.bos_token_id
        wanted = "bos_token" in encoder.tokenizer.chat_template
        answers = 0
        for one in sequences:
            ids, labels = one.input_ids, one.labels
            if start is not None:
                assert ids.count(start) == wanted
                assert not wanted or (ids[0] == start and labels[0] == NOT_LEARNED)
            # Every stretch that is learned is an answer, its end token learned behind it.
            ends = [
                index
                for index, label in enumerate(labels)
                if label != NOT_LEARNED and (*labels, NOT_LEARNED)[index + 1] == NOT_LEARNED
            ]
            answers += len(ends)
            assert all(ids[index] == encoder.end_of_turn_id for index in ends)
            pairs = zip(ids, labels, strict=True)
            assert all(label in (NOT_LEARNED, token) for token, label in pairs)
        assert answers == len(contents) // 2

    try_chats(check, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_the_beginning_that_was_trained(family):
    def check(encoder, sequences, contents):
        example, last = chat(*contents), sequences[-1]
        prompt = encoder.prompt(example)
        assert list(last.input_ids[: len(prompt)]) == prompt
        assert last.labels[len(prompt) :] == last.input_ids[len(prompt) :]
        assert list(last.input_ids[len(prompt) :]) == encoder.completion(example, contents[-1])

    try_chats(check, family)


def eval_asking(notes, *, project, mode):
    """Score a run on what it learned, and tell every prompt that the model is given."""
    from ftool.eval.predict import scorer
    from ftool.eval.run import evaluate

    os.chdir(project)
    name = {"rank": "ranked_batches", "generate": "generated_batches"}[mode]
    made = getattr(scorer, name)

    def asked(*arguments, **named):
        prompts = next(one for one in arguments if isinstance(one, list))
        notes.append(json.dumps(prompts))
        return made(*arguments, **named)

    setattr(scorer, name, asked)
    run = TrainingRun.open(Path("runs/lora"))
    recipe = load_recipe(Path("recipe.yaml"), [f"eval.mode={mode}", "eval.max_new_tokens=4"])
    evaluate(run, recipe=recipe, split="train")


@pytest.mark.parametrize("mode", ["rank", "generate"])
def test_evaluation_asks_what_training_began_with(finished, tmp_path, mode):
    project = copied(finished, tmp_path / "project")
    outcome = run_task(eval_asking, project=project, mode=mode)
    assert outcome.code == 0, outcome
    encoder = make_encoder(load_tokenizer(Model(base=str(project / "base"))))
    examples = PreparedDataset.open(project / "data/tiny").examples("train")
    trained = [chat.sequences[-1].input_ids for chat in encoder.many(examples)]
    asked = json.loads(outcome.notes[0])
    assert len(asked) == len(trained) > 20
    for prompt, ids, example in zip(asked, trained, examples, strict=True):
        assert (*prompt, *encoder.completion(example, example.completion)) == ids


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("overlong", ["reject", "trim_prompt"])
def test_no_answer_and_no_end_is_cut(family, overlong):
    def check(encoder, sequences, contents, max_length):
        example = chat(*contents)
        answer = encoder.completion(example, contents[-1])
        found = encode_examples([example], encoder, max_length=max_length, overlong=overlong)
        assert len(found.examples) + len(found.overlong) == len(sequences)
        for encoded in found.examples:
            assert len(encoded.input_ids) <= max_length
            assert encoded.labels[-1] == answer[-1] == encoder.end_of_turn_id
            if encoded.id == sequences[-1].id:
                assert list(encoded.labels[-len(answer) :]) == answer

    try_chats(check, family, most=30, max_length=st.integers(8, 80))


LOADED = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
turns = [{"role": "system", "content": "Name the intent."}, {"role": "user", "content": "box?"}]
text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
print(json.dumps({
    "template": tokenizer.chat_template,
    "ids": tokenizer(text, add_special_tokens=False)["input_ids"],
    "stops": model.generation_config.eos_token_id,
}))
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_fresh_process_loads_the_same_template_and_stops_where_was_learned(finished, method):
    run = TrainingRun.open(finished / "runs" / method)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(run.model_path)],
        cwd=finished,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = json.loads(done.stdout)
    base = load_tokenizer(Model(base=str(finished / "base")))
    encoder = make_encoder(base)
    example = chat("box?", "refund", system="Name the intent.")
    assert loaded["template"] == base.chat_template
    assert loaded["ids"] == encoder.prompt(example)
    stops = loaded["stops"] if isinstance(loaded["stops"], list) else [loaded["stops"]]
    assert encoder.end_of_turn_id in stops


def test_what_was_memorized_is_said_again_and_ended(clean, tmp_path):
    """The trained model gives every answer of its data, then its end token, and nothing more."""
    project = copied(clean, tmp_path / "project")
    words = ("train.max_steps=150", "train.validate=null", "train.learning_rate=3e-3")
    assert training(project, "full", words=words).code == 0
    loaded = load_run_model(TrainingRun.open(project / "runs/full"), dtype=torch.float32)
    encoder = make_encoder(loaded.tokenizer)
    examples = PreparedDataset.open(project / "data/tiny").examples("train")
    prompts = [encoder.prompt(example) for example in examples]
    said = dict[int, str]()
    for batch in generated_batches(
        loaded.model.eval(),
        loaded.tokenizer,
        prompts,
        end_id=encoder.end_of_turn_id,
        max_new_tokens=30,
    ):
        said.update(batch)
    assert said == dict(enumerate(example.completion for example in examples))
