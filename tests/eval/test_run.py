import json
import shutil

import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from tiny import CHAT_TEMPLATE, make_project, recipe_of, tiny_tokenizer, write_tickets

from ftool.artifacts import PreparedDataset, TrainingRun
from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.judge.caveats import caveats
from ftool.eval.judge.findings import Columns
from ftool.eval.judge.gate import Gates
from ftool.eval.report import Report
from ftool.eval.run import evaluate
from ftool.prepare.run import prepare
from ftool.recipe.file import load_recipe, recipe_for_file
from ftool.train.run import train


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return train(make_project(tmp_path))


def test_the_metrics_are_scikit_learns_on_the_predictions(run):
    report = evaluate(run, split="test")
    folder = run.path / "eval/test"
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    expected = [row["expected"] for row in rows]
    predicted = [row["predicted"] for row in rows]
    precision, recall, f1, _ = precision_recall_fscore_support(
        expected, predicted, labels=sorted(set(expected)), average="macro", zero_division=0
    )
    values = {name: estimate.value for name, estimate in report.metrics.items()}
    assert values["accuracy"] == pytest.approx(accuracy_score(expected, predicted))
    assert values["precision_macro"] == pytest.approx(precision)
    assert values["recall_macro"] == pytest.approx(recall)
    assert values["f1_macro"] == pytest.approx(f1)
    assert Report.read(folder) == report
    assert report.mode == "rank" and report.examples == len(rows)


def test_base_and_floor_stand_beside_the_run(run):
    recipe = load_recipe(run.path / "recipe.yaml", ["eval.base_examples=5"])
    report = evaluate(run, recipe=recipe, split="test")
    assert report.base.examples == 5
    assert report.floor.examples == report.examples
    assert report.floor.metrics["f1_macro"].value > 0.9
    alone = load_recipe(run.path / "recipe.yaml", ["eval.base=false", "eval.floor=false"])
    report = evaluate(run, recipe=alone, split="test")
    assert report.base is None and report.floor is None


def test_the_base_of_a_run_equals_the_plain_model(run, tmp_path):
    recipe = run.recipe()
    tuned = evaluate(run, split="validation")
    plain = evaluate(str(tmp_path / "base"), recipe=recipe, split="validation")
    assert plain.base is None
    assert plain.metrics == tuned.base.metrics
    (report,) = (tmp_path / "eval").glob("*/*/metrics.json")
    assert report.parent.name == "tiny-validation"
    assert report.parent.parent.name == f"{tmp_path.name}--base"


def test_the_score_in_training_is_the_score_in_the_report(run):
    best = run.manifest()["best_metric"]
    report = evaluate(run, split="validation")
    assert report.metrics["f1_macro"].value == pytest.approx(best["value"])


def test_generation_counts_what_it_cannot_read(run):
    recipe = load_recipe(run.path / "recipe.yaml", ["eval.mode=generate", "eval.max_new_tokens=4"])
    report = evaluate(run, recipe=recipe, split="test")
    assert report.mode == "generate"
    assert report.unparsed == sum(row[-1] for row in report.confusion)


def test_open_answers_get_loss_and_perplexity(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    recipe = load_recipe(tmp_path / "recipe.yaml", ["data.label_names=none", "data.name=open"])
    prepare(recipe)
    run = train(recipe, run="open")
    report = evaluate(run, split="test")
    assert report.mode == "loss" and set(report.metrics) >= {"loss", "perplexity"}
    assert report.metrics["loss"].value < report.base.metrics["loss"].value
    assert run.manifest()["best_metric"]["name"] == "loss"


def test_changed_data_is_refused_unless_named(run, tmp_path):
    write_tickets(tmp_path / "tickets.csv", count=90)
    prepare(load_recipe(tmp_path / "recipe.yaml"))
    with pytest.raises(RunError, match="is not what runs/tiny was trained on"):
        evaluate(run, split="test")
    evaluate(run, data=tmp_path / "data/tiny", split="test")


def test_a_missing_split_and_a_model_without_recipe_are_sentences(run, tmp_path):
    with pytest.raises(DataError, match="is not a prepared dataset"):
        evaluate(run, data=tmp_path / "nothing")
    with pytest.raises(RecipeError, match="is a plain model"):
        evaluate(str(tmp_path / "base"))


def test_the_floor_of_a_file_is_fitted_on_what_the_run_learned_from(run, tmp_path):
    notes = []
    train = PreparedDataset.open(tmp_path / "data/tiny").examples("train")
    write_tickets(tmp_path / "more.csv", count=20)
    made = recipe_for_file(tmp_path / "more.csv", split="test", like=run.recipe())
    data = prepare(made, on_note=notes.append)
    assert data.count("train") == 0 and not any("is empty" in note for note in notes)
    report = evaluate(run, data=data.path, split="test", on_note=notes.append)
    labels = {str(example.label) for example in train}
    assert report.floor is not None and report.scored.startswith("test of more-")
    assert report.floor.examples == 20 - sum(data.rejected.values()) and len(labels) > 1
    shutil.rmtree(tmp_path / "data/tiny")
    assert evaluate(run, data=data.path, split="test", on_note=notes.append).floor is None
    assert "no floor: it is fitted on a train split, and there is none but what is scored" in notes


def test_a_report_on_other_data_never_replaces_the_runs_own(run, tmp_path):
    own = evaluate(run, split="test")
    recipe = load_recipe(tmp_path / "recipe.yaml", ["data.name=other", "seed=5"])
    prepare(recipe)
    other = evaluate(run, data=tmp_path / "data/other", split="test")
    assert (own.data, own.scored) == (None, "test")
    assert (other.data, other.scored) == ("other", "test of other")
    assert Report.read(run.path / "eval/other-test") == other
    assert Report.read(run.path / "eval/test") == own
    assert (run.path / "eval/other-test/metrics.json").is_file()


def test_loss_of_labelled_data_has_no_floor(run):
    recipe = load_recipe(run.path / "recipe.yaml", ["eval.mode=loss"])
    report = evaluate(run, recipe=recipe, split="test")
    assert report.floor is None and report.base is not None


def test_open_answers_are_generated_and_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    overrides = ["data.label_names=none", "data.name=open", "eval.max_new_tokens=4"]
    overrides += ["train.epochs=8", "train.method.r=16"]  # learns some tokens, not by chance
    recipe = load_recipe(tmp_path / "recipe.yaml", overrides)
    prepare(recipe)
    run = train(recipe, run="open")
    tokens = evaluate(run, split="test")
    assert 0 < tokens.metrics["token_accuracy"].value <= 1
    assert tokens.metrics["bits_per_byte"].value < tokens.base.metrics["bits_per_byte"].value
    answers = evaluate(
        run, recipe=load_recipe(run.path / "recipe.yaml", ["eval.mode=generate"]), split="test"
    )
    assert answers.mode == "generate" and answers.floor is None
    assert set(answers.metrics) == {"exact_match", "token_f1", "rouge_l", "chrf", "bleu"}
    assert set(answers.base.metrics) == set(answers.metrics)
    assert Report.read(run.path / "eval/test") == answers


def test_a_metric_of_the_recipes_own_chooses_and_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def hits(predictions, references):\n"
        "    return sum(p == r for p, r in zip(predictions, references))\n"
    )
    run = train(make_project(tmp_path, extra="eval: {metric: mine.py:hits}\n"))
    assert run.manifest()["best_metric"]["name"] == "mine.py:hits"
    report = evaluate(run, split="validation")
    hits = report.metrics["mine.py:hits"].value
    assert hits == run.manifest()["best_metric"]["value"]
    assert hits == pytest.approx(report.metrics["accuracy"].value * report.examples)
    told = []
    recipe = load_recipe(tmp_path / "recipe.yaml", ["eval.metric=mine.py:hit"])
    with pytest.raises(RecipeError, match="no function `hit`; did you mean `hits`"):
        evaluate(run, recipe=recipe, split="test", on_progress=lambda *step: told.append(step))
    assert told == []


def test_an_evaluation_that_was_killed_goes_on(run):
    whole = evaluate(run, split="test")
    folder = run.path / "eval/test"
    for name in ("predictions", "base_predictions"):
        kept = (folder / f"{name}.jsonl").read_text().splitlines(keepends=True)[:3]
        (folder / f"{name}.jsonl").write_text("".join(kept) + '{"id": "torn')
    (folder / "metrics.json").unlink()
    notes, told = [], []
    resumed = evaluate(
        run, split="test", on_note=notes.append, on_progress=lambda *step: told.append(step)
    )
    assert resumed == whole
    count = whole.examples
    assert [note for note in notes if "there already" in note] == [
        f"3 of {count} predictions were there already"
    ] * 2
    told.clear()
    assert evaluate(run, split="test", on_progress=lambda *step: told.append(step)) == whole
    assert told == []
    other = load_recipe(run.path / "recipe.yaml", ["eval.confidence=true"])
    certain = evaluate(run, recipe=other, split="test", on_progress=lambda *step: told.append(step))
    assert told and certain.metrics == whole.metrics


def test_findings_stand_in_the_report_and_pages_beside_it(run, tmp_path):
    notes = []
    report = evaluate(run, split="test", on_note=notes.append)
    folder = run.path / "eval/test"
    assert set(report.paired) == {"base", "floor"}
    assert report.paired["base"]["examples"] == report.base.examples
    assert report.overlap == {"shared": 0, "examples": report.examples, "without": {}}
    assert report.learning["validation"] and report.group is None
    assert report.free_answers["named"] <= 1 and report.inputs["ranked_by"] == "trie"
    page = (folder / "report.html").read_text()
    prompt = "&lt;|im_start|&gt;system\nName the intent.&lt;|im_end|&gt;\n&lt;|im_start|&gt;user"
    assert "mode rank by trie (checked on two prompts beside plain rows)" in page
    assert prompt in page and page.count("<script") == 1
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    wrong = [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]
    assert [row["id"] for row in wrong] == [row["id"] for row in rows if not row["correct"]]
    assert any("report.html" in note for note in notes)


def test_rows_that_were_learned_from_are_found(run, tmp_path):
    quiet = ["data.split.validation=0", "data.split.test=0", "data.keep_columns=[customer]"]
    prepared = prepare(load_recipe(tmp_path / "recipe.yaml", ["data.name=all", *quiet]))
    columns = Columns(["customer"], "customer")
    report = evaluate(run, data=prepared.path, split="train", columns=columns)
    learned = PreparedDataset.open(tmp_path / "data/tiny").count("train")
    assert report.overlap["shared"] == learned < report.examples
    assert report.overlap["without"]["accuracy"]["value"] <= 1
    assert report.group == "customer" and len(report.slices["customer"]) == 20
    shutil.rmtree(tmp_path / "data/tiny")
    notes = []
    report = evaluate(run, data=prepared.path, split="train", on_note=notes.append)
    assert report.overlap is None
    assert any("its data are not here" in note for note in notes)


def test_a_missing_column_is_refused_before_scoring(run):
    told, columns = [], Columns(["channel"])
    with pytest.raises(RecipeError, match="`channel` is not a column that the data keep"):
        evaluate(run, columns=columns, on_progress=lambda *step: told.append(step))
    assert told == []


def test_gates_are_read_before_and_judged_after(run):
    told = []
    for text in ("f1_makro=0.9", "recall[refnd]=0.5"):
        with pytest.raises(RecipeError, match="did you mean"):
            evaluate(run, gates=Gates([text]), on_progress=lambda *step: told.append(step))
    assert told == []
    report = evaluate(run, split="test", gates=Gates(["accuracy=0", "accuracy.low=1"]))
    assert [gate["passed"] for gate in report.gates] == [True, False]
    assert Report.read(run.path / "eval/test") == report
    assert "Gate fails: accuracy.low" in (run.path / "eval/test/report.html").read_text()


def test_another_run_is_compared_on_the_same_rows(run, tmp_path):
    other = TrainingRun.open(shutil.copytree(run.path, tmp_path / "runs/production"))
    gates = Gates((), other)
    with pytest.raises(RunError, match="production was not scored on these rows") as caught:
        evaluate(run, split="test", gates=gates)
    assert caught.value.hint.endswith("production --split test")
    with pytest.raises(RecipeError, match="is the run that is scored itself"):
        evaluate(other, split="test", gates=gates)
    evaluate(other, split="test")
    report = evaluate(run, split="test", gates=gates)
    assert (
        report.paired["run"]["both_right"] + report.paired["run"]["both_wrong"] == report.examples
    )
    assert report.gates[0]["passed"] and report.gates[0]["value"] == 0
    assert report.base is not None and set(report.paired) == {"base", "floor", "run"}
    prepare(load_recipe(tmp_path / "recipe.yaml", ["data.name=other", "seed=5"]))
    with pytest.raises(RunError, match="production was not scored") as caught:
        evaluate(run, data=tmp_path / "data/other", split="test", gates=gates)
    assert caught.value.hint.endswith("data/other --split test")


def test_the_base_answers_every_example_where_that_is_asked(run):
    recipe = load_recipe(run.path / "recipe.yaml", ["eval.base_examples=null"])
    report = evaluate(run, recipe=recipe, split="train")
    assert report.base.examples == report.examples


def train_choosy(folder, words):
    """Train with a template that refuses conversations in which one of some texts stands."""
    recipe = make_project(folder, extra="  max_steps: 1\n  validate: null\n")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        f"{{% for one in messages %}}{{% for word in {sorted(words)} %}}"
        "{% if word in one.content %}"
        "{{ raise_exception('not this') }}{% endif %}{% endfor %}{% endfor %}" + CHAT_TEMPLATE
    )
    tokenizer.save_pretrained(folder / "base")
    return train(recipe)


@pytest.mark.parametrize("mode", ["rank", "generate", "loss"])
def test_rows_that_the_template_does_not_write_are_left_out_by_code(tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    data = PreparedDataset.open(tmp_path / "data/tiny")
    refused = [one for one in data.examples("test") if "refund" in one.messages[1].content]
    refused += data.examples("test")[:1]  # by which labels would be encoded
    texts = {one.messages[1].content for one in refused}
    run = train_choosy(tmp_path, texts)
    settings = recipe_of(tmp_path, f"eval.mode={mode}", "eval.max_new_tokens=4")
    notes = []
    report = evaluate(run, recipe=settings, split="test", on_note=notes.append)
    left = len({one.id for one in refused})
    assert report.left_out == {"template_refuses": left}
    assert report.examples == data.count("test") - left > 0
    assert report.base.examples == report.examples
    folder = run.path / "eval/test"
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored["left_out"] == report.left_out and Report.read(folder) == report
    ids = {json.loads(row)["id"] for row in (folder / "predictions.jsonl").read_text().splitlines()}
    assert ids == {one.id for one in data.examples("test")} - {one.id for one in refused}
    assert sum("template_refuses" in one for one in caveats(report)) == 1
    assert sum("template_refuses" in note for note in notes) == 1
    assert "template_refuses" in (folder / "report.html").read_text()
    assert evaluate(run, recipe=settings, split="validation").left_out == {}


def test_gates_are_read_again_of_the_rows_that_are_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train_choosy(
        tmp_path, ["late", "box", "courier", "delivered", "missing", "seen", "where"]
    )
    evaluate(run, split="test")
    for gate in ("recall[delivery]=0", "accuracy=0"):  # of no row, of one label alone
        with pytest.raises(RecipeError, match="cannot be judged"):
            evaluate(run, split="test", gates=Gates([gate]))


def test_a_split_of_which_no_row_can_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    data = PreparedDataset.open(tmp_path / "data/tiny")
    texts = [one.messages[1].content for one in data.examples("test")]
    run = train_choosy(tmp_path, texts)
    with pytest.raises(DataError, match="template_refuses"):
        evaluate(run, split="test", gates=Gates(["accuracy=0"]))
    assert not (run.path / "eval/test/metrics.json").exists()


@pytest.mark.parametrize(
    ("source", "rows", "names"),
    [
        (
            "labels: {'0': bad, '1': good}, columns: {prompt: message, label: intent}",
            ["message,intent", "parcel lost again,0", "all came in time,1", "never again,0"],
            ["bad", "good"],
        ),
        (
            "header: none, delimiter: ';', encoding: cp1252, columns: {prompt: 2, label: 1}",
            ["0;parcel löst again", "1;all came in time", "0;never again"],
            ["0", "1"],
        ),
    ],
)
def test_a_file_is_scored_as_the_source_of_the_run_is_read(
    tmp_path, monkeypatch, source, rows, names
):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    head, body = (rows[:1], rows[1:]) if "message" in source else ([], rows)
    many = [
        row.replace("again", f"again {n}").replace("time", f"time {n}")
        for n in range(20)
        for row in body
    ]
    for name, lines in (("trained.csv", many), ("new.csv", body)):
        (tmp_path / name).write_text("\n".join(head + lines), encoding="cp1252")
    overrides = [
        f"data.sources=[{{path: trained.csv, {source}}}]",
        "data.name=own",
        "data.dedup.near=null",
        "train.max_steps=1",
        "train.validate=null",
    ]
    recipe = recipe_of(tmp_path, *overrides)
    prepare(recipe)
    run = train(recipe, run="own")
    assert run.manifest()["dataset"]["label_names"] == names
    made = recipe_for_file(tmp_path / "new.csv", split="test", like=run.recipe(), label_names=names)
    data = prepare(made)
    assert data.rejected == {} and data.count("test") == 3
    report = evaluate(run, data=data.path, split="test")
    assert {name: report.per_label[name]["support"] for name in names} == dict(
        zip(names, (2, 1), strict=True)
    )
    assert any("löst" in one.messages[1].content for one in data.examples("test")) == (not head)
