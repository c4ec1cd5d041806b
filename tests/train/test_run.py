import json
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny import recipe_of, save_tiny_base, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaModel

from ftool.artifacts import TrainingRun
from ftool.errors import DataError, RecipeError, RunError
from ftool.model.answers.rank import rank_labels
from ftool.train.run import train

pytestmark = pytest.mark.filterwarnings("ignore:.*unauthenticated:UserWarning")


class Killed(Exception):
    pass


def weights(run):
    return load_file(next(run.model_path.glob("*model.safetensors")))


def test_a_run_leaves_what_the_house_plan_says(project):
    steps, notes = [], []
    run = train(
        recipe_of(project),
        on_step=lambda step, total: steps.append((step, total)),
        on_note=notes.append,
    )
    names = {path.name for path in run.path.iterdir()}
    assert names >= {"recipe.yaml", "plan.json", "steps.jsonl", "checkpoints", "model"}
    assert [step.step for step, _ in steps] == list(range(1, 11))
    assert {total for _, total in steps} == {10}
    assert run.steps_log() == [json.loads(json.dumps(step.as_dict())) for step, _ in steps]
    assert any(note.startswith("device cpu, float32: no GPU") for note in notes)
    (saved,) = [note for note in notes if note.startswith("shared prefixes: ")]
    assert 40 < int(saved.split()[2].rstrip("%")) < 90
    assert json.loads((run.path / "plan.json").read_text())["shared_prefix"] is True
    manifest = run.manifest()
    assert manifest["best_metric"]["name"] == "f1_macro"
    assert manifest["steps"] == 10 and run.status == "finished"
    assert manifest["trainable_parameters"] < manifest["parameters"]
    assert str(project) not in (run.path / "manifest.json").read_text()


def test_shared_prefixes_change_speed_alone(project):
    notes = []
    shared = train(recipe_of(project), run="shared")
    plain = train(recipe_of(project, "train.shared_prefix=off"), run="plain", on_note=notes.append)
    assert not any("shared" in note for note in notes)
    assert json.loads((plain.path / "plan.json").read_text())["shared_prefix"] is False
    losses = [[step["loss"] for step in run.steps_log()] for run in (shared, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_the_adapter_opens_by_plain_peft_and_says_the_same(project):
    run = train(recipe_of(project))
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(project / "base"), run.model_path
    ).eval()
    direct = AutoModelForCausalLM.from_pretrained(run.model_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(run.model_path)
    assert tokenizer.chat_template == tiny_tokenizer().chat_template
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(model(ids).logits, direct(ids).logits)
    assert model.generation_config.eos_token_id is not None
    labels = [[9, 2], [10, 11, 2]]
    assert rank_labels(model, [[5, 6]], labels) == rank_labels(direct, [[5, 6]], labels)


def test_full_fine_tuning_opens_by_plain_transformers(project):
    run = train(recipe_of(project, "train.method={kind: full}", "train.learning_rate=1e-3"))
    tuned = AutoModelForCausalLM.from_pretrained(run.model_path)
    base = AutoModelForCausalLM.from_pretrained(project / "base")
    changed = [
        not torch.equal(mine, theirs)
        for mine, theirs in zip(tuned.parameters(), base.parameters(), strict=True)
    ]
    assert all(changed)


@pytest.mark.parametrize("method", ["lora", "full", "lora, layers: 1-1"])
@pytest.mark.parametrize("kill_at", [3, 7])
def test_resumed_is_bit_equal_to_uninterrupted(project, method, kill_at):
    settings = [
        f"train.method={{kind: {method}}}",
        "train.checkpoint={every: 2 steps}",
        "train.validate={every: 3 steps}",
    ]
    if method != "full":
        settings.append("train.method.dropout=0.3")
    recipe = recipe_of(project, *settings)
    whole = train(recipe, run="whole")

    def kill(step, total):
        if step.step == kill_at:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, run="killed", on_step=kill)
    notes = []
    resumed = train(recipe, run="killed", on_note=notes.append)
    assert any(note.startswith("going on from step") for note in notes)
    for name, value in weights(whole).items():
        assert torch.equal(weights(resumed)[name], value)
    timeless = [
        [{**row, "tokens_per_second": 0, "peak_memory_gib": 0} for row in run.steps_log()]
        for run in (whole, resumed)
    ]
    assert timeless[0] == timeless[1]


def test_a_finished_run_says_so_and_fresh_moves_it_aside(project):
    first = train(recipe_of(project))
    before = (first.path / "manifest.json").read_bytes()
    notes = []
    train(recipe_of(project), on_note=notes.append)
    assert notes == ["runs/tiny is finished already; --fresh trains again"]
    train(recipe_of(project, "train.batch_size_per_device=2"), on_note=notes.append)
    assert notes[1:] == [
        "runs/tiny is finished already, so nothing reads train.batch_size_per_device;"
        " --fresh trains again"
    ]
    assert (first.path / "manifest.json").read_bytes() == before
    train(recipe_of(project, "train.epochs=1"), fresh=True)
    assert (project / "runs/tiny.old-1/manifest.json").read_bytes() == before
    assert TrainingRun.open(project / "runs/tiny").steps == 5


def test_a_run_of_another_recipe_is_refused_with_both_values(project):
    train(recipe_of(project))
    with pytest.raises(RunError, match=r"train\.learning_rate: 0\.01 there, 0\.001 here") as caught:
        train(recipe_of(project, "train.learning_rate=1e-3"))
    assert "--fresh" in caught.value.hint


def test_a_folder_that_is_not_a_run_stays_untouched(project):
    folder = project / "runs/tiny"
    folder.mkdir(parents=True)
    (folder / "precious.txt").write_text("mine")
    with pytest.raises(RunError, match="not a run of ftool"):
        train(recipe_of(project))
    assert [path.name for path in folder.iterdir()] == ["precious.txt"]


def test_missing_and_stale_data_name_the_next_command(project):
    with pytest.raises(DataError, match="is not a prepared dataset") as caught:
        train(recipe_of(project, "data.name=other"))
    assert caught.value.hint == "run: ftool prepare"
    with pytest.raises(DataError, match="another `data` or `seed`"):
        train(recipe_of(project, "data.system=Something else."))


def test_another_base_is_refused_on_resume(project):
    def kill(step, total):
        if step.step == 2:
            raise Killed

    recipe = recipe_of(project, "train.checkpoint={every: 1 steps}")
    with pytest.raises(Killed):
        train(recipe, on_step=kill)
    save_tiny_base(project / "base", seed=4)
    with pytest.raises(RunError, match="is of another run:\n  base weights: "):
        train(recipe)


def test_patience_stops_early_and_the_best_weights_are_kept(project):
    settings = ["train.validate={every: 1 steps, patience: 2}", "train.learning_rate=1.0e-12"]
    notes = []
    run = train(recipe_of(project, *settings, "train.epochs=20"), on_note=notes.append)
    assert run.steps < 100
    assert any(note.startswith("stopped early: 2 validations") for note in notes)
    assert run.best_step == run.steps - 2
    best = load_file(run.path / f"checkpoints/step-{run.best_step:06d}/weights.safetensors")
    final = weights(run)
    assert all(torch.equal(final[n.replace(".default", "")], value) for n, value in best.items())


def test_rows_that_are_too_long_are_named_and_all_too_long_is_refused(project):
    notes = []
    with pytest.raises(DataError, match="every train example is longer than 9 tokens"):
        train(recipe_of(project, "train.max_length=9"), on_note=notes.append)
    assert "left out: tickets.csv:" in " ".join(notes)


def test_a_layer_that_does_not_exist_is_refused_with_the_nearest(project):
    with pytest.raises(RecipeError, match="did you mean `q_proj`"):
        train(recipe_of(project, "train.method={kind: lora, target_modules: [q_projj]}"))


def test_two_processes_in_one_folder_are_refused(project):
    script = (
        "from ftool.lock import locked; from pathlib import Path; import sys\n"
        "with locked(Path('runs/tiny')): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=project
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="another ftool process"):
            train(recipe_of(project))
    finally:
        holder.communicate(b"")
    train(recipe_of(project))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "x" * 101, "/tmp/x", "a\nb"])
def test_a_run_lies_under_runs(project, name):
    with pytest.raises(RecipeError, match="cannot name a folder under runs/"):
        train(recipe_of(project), run=name)
    assert not (project / "runs").exists()


def test_a_start_that_failed_can_be_corrected(project):
    with pytest.raises(RecipeError, match=r"model\.base: \./typo"):
        train(recipe_of(project, "model.base=./typo"))
    assert train(recipe_of(project)).status == "finished"


def test_smaller_micro_batches_may_finish_a_run(project):
    def kill(step, total):
        if step.step == 5:
            raise Killed

    with pytest.raises(Killed):
        train(recipe_of(project, "train.checkpoint={every: 1 steps}"), on_step=kill)
    settings = ["train.checkpoint={every: 1 steps}", "train.batch_size_per_device=2"]
    assert train(recipe_of(project, *settings)).steps == 10


def test_an_adapter_on_a_tied_head_is_refused(project):
    save_tiny_base(project / "base", tie_word_embeddings=True)
    settings = "train.method={kind: lora, target_modules: [q_proj, lm_head]}"
    with pytest.raises(RecipeError, match="lm_head shares its weights with the embedding"):
        train(recipe_of(project, settings))


def test_the_blocks_are_compiled_where_the_recipe_says_so(project, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **settings: compiled.append((type(self), settings))
    )
    train(recipe_of(project, "train.max_steps=1"), run="plain")
    assert compiled == []
    train(recipe_of(project, "train.max_steps=1", "train.compile=true"), run="compiled")
    assert compiled == [(LlamaModel, {"dynamic": True})]
