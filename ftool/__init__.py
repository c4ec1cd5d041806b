"""The life-cycle of a fine-tuned language model: prepare, train, eval, push-to-hub.

```
__main__.py         `python -m ftool`: runs the verbs, turns errors into exit codes
cli.py              one short function per verb
console.py          all a person sees in a terminal
errors.py           what is refused on purpose, with exit codes
example.py          Message, Example, EncodedExample: the unit of data
artifacts.py        the folders of prepared datasets and runs: manifests, fingerprints, locks
metrics.py          metrics and their intervals as pure functions
recipe/             the one declaration of every setting
  schema.py           Recipe: types, defaults, bounds, meanings
  file.py             find, load and write recipe files
  document.py         YAML text -> plain values with the line of every key; overrides
  problems.py         what is wrong with a recipe, in sentences
  reference.py        docs/recipe.md and the JSON schema, from the schema
prepare/            raw sources -> PreparedDataset
  run.py              the pipeline in order
  sources.py          files, folders, globs and Hub data sets -> rows with file and line
  encoding.py         the characters and lines of a file
  delimited.py        CSV and TSV, row by row
  json_text.py        JSON Lines, and JSON documents element by element
  rows.py             Row, Candidate, Rejected: a record on its way
  formats.py          row -> Example, detected
  clean.py            rewrite text: unicode, HTML, quoted replies
  labels.py           one spelling each, and the closed set of them
  filters.py          keep or drop, with a reason
  dedup.py            exact duplicates
  sample.py           `limit` and `per_label`
  split.py            train, validation, test without leakage
  describe.py         what is in the data, in sentences and as a card
  folder.py           the folder that is written
model/              the only folder that imports transformers and peft
  load.py             base model and tokenizer from a folder, a run or the Hub; device, dtype
  embedded.py         the offline default base model
  adapter.py          LoRA: attach, save, load, merge
  tokenizer.py        save a tokenizer
  encode.py           Example -> token ids and labels through the chat template
  attention.py        attention over a row of examples that share a prefix
  batch.py            EncodedExamples -> tensors
  forward.py          one forward pass and its token losses
  rank.py             exact label ranking
  generate.py         batched greedy generation
train/              PreparedDataset -> TrainingRun
  run.py              assemble model, data, optimizer and loop
  folder.py           the run folder: new, resumed, finished or refused
  plan.py             what `auto` becomes on this machine, with reasons
  order.py            which examples in which step
  loop.py             the loop: a generator of TrainingSteps
  loss.py             normalization over the global batch
  optimizer.py        parameter groups, AdamW, schedules
  checkpoint.py       save, seal, verify, resume, keep the best
  validate.py         scoring during training
  tracking.py         steps.jsonl and trackers
eval/               run or model + split -> Report
  run.py              load, predict, score, write
  scorer.py           predictions by ranking, by generating or by loss
  parse.py            model output -> label
  statistics.py       floors and stratified samples
  metric.py           the evaluate.Metric subclass
  report.py           Report -> JSON
hub/                TrainingRun -> Hub repository
  push.py             one commit, private by default, checked afterwards
  staging.py          the files of a repository before the upload
  card.py             the model card, from manifests alone
  results.py          how good the model is, for the card
  markdown.py         pieces of Markdown
  origin.py           where the base model comes from, and its licence
  refusal.py          what the Hub refuses, in our words
```
Functions live with their stage: `ftool.prepare.run.prepare`, `ftool.train.run.train`,
`ftool.eval.run.evaluate`, `ftool.hub.push.push`. Public types are loaded on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftool.artifacts import PreparedDataset, TrainingRun
    from ftool.errors import (
        DataError,
        DeviceError,
        FtoolError,
        GateError,
        HubError,
        RecipeError,
        RunError,
    )
    from ftool.eval.report import Report
    from ftool.example import Example, Message
    from ftool.recipe.file import load_recipe
    from ftool.recipe.schema import Recipe

    __version__: str

__all__ = [
    "DataError",
    "DeviceError",
    "Example",
    "FtoolError",
    "GateError",
    "HubError",
    "Message",
    "PreparedDataset",
    "Recipe",
    "RecipeError",
    "Report",
    "RunError",
    "TrainingRun",
    "__version__",
    "load_recipe",
]

_HOMES = {
    "ftool.artifacts": ("PreparedDataset", "TrainingRun"),
    "ftool.errors": (
        "DataError",
        "DeviceError",
        "FtoolError",
        "GateError",
        "HubError",
        "RecipeError",
        "RunError",
    ),
    "ftool.eval.report": ("Report",),
    "ftool.example": ("Example", "Message"),
    "ftool.recipe.file": ("load_recipe",),
    "ftool.recipe.schema": ("Recipe",),
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562): `import ftool` costs nothing."""
    from importlib import import_module

    if name == "__version__":
        return import_module("ftool.artifacts").ftool_version()
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
