"""The life-cycle of a fine-tuned language model: prepare, train, eval, push-to-hub.

```
__main__.py         `python -m ftool`: runs the verbs, turns errors into exit codes
cli.py              one short function per verb
arguments.py        what the words of a command line name
quiet.py            libraries that keep off the terminal
launcher.py         which of several processes this one is
console/            all a person sees in a terminal
  terminal.py         the two streams, text made safe for them, pieces of tables
  screen.py           notes, progress, the live loss
  dataset.py          prepared data, examples, one row explained
  summary.py          errors, the next command, runs, uploads
  report.py           a report, and runs beside one another
  dry_run.py          a training that was only tried
errors.py           what is refused on purpose, with exit codes
shortage.py         memory or disk that runs out, as a sentence
wording.py          numbers of things and lists of names
credentials.py      tokens and passwords: what they look like, and text without them
example.py          Message, Example, EncodedExample: the unit of data
artifacts.py        the folders of prepared datasets and runs: manifests, fingerprints
lock.py             one process in a folder
seal.py             digests of the files of a folder
metrics.py          metrics and their intervals as pure functions
tally.py            hits, support and predictions per label
resample.py         bootstrap of rows and of groups of rows
keys.py             equal bytes for examples that say the same
recipe/             the one declaration of every setting
  schema.py           Recipe: all blocks, and what holds between them
  types.py            what settings are made of: numbers with bounds, names, spans
  blocks/             types, defaults, bounds, meanings
    model.py            the base model
    data.py             sources, columns, cleaning, splits
    train.py            the fine-tuning
    eval.py             the scoring
    hub.py              the publishing
  file.py             find, load and write recipe files
  licenses.py         the licences that a card on the Hub may name
  contradictions.py   settings of the data that cannot hold together
  document.py         YAML text -> plain values with the line of every key
  overrides.py        key=value: text as it stands where the key takes text
  problems.py         what is wrong with a recipe, in sentences
  reference.py        docs/recipe.md and the JSON schema, from the schema
start/              before a run exists
  show.py             prepared examples as the model reads them
prepare/            raw sources -> PreparedDataset
  run.py            the pipeline in order
  read/             files -> rows
    sources.py        files, folders, globs and Hub data sets -> rows with file and line
    readers.py        extension -> reader
    encoding.py       the characters and lines of a file
    delimited.py      CSV and TSV, row by row
    json_text.py      JSON Lines, and JSON documents element by element
    yaml_text.py      YAML of others
    workbook.py       sheets of Excel workbooks
    lines.py          labelled texts, questions with answers and transcripts, by their lines
    nlu.py            Rasa's intents with their examples
    layouts.py        documents whose rows do not stand in one list of objects
    survey.py         what columns hold, by a sample
    mapping.py        which column may play which part: one table of rules
    shape.py          which columns of a row play which part
    proposal.py       what to write into a recipe where columns mean nothing
    threads.py        rows that are messages -> rows that are conversations
    plan.py           how an input is read
    choices.py        a question with choices, of which one is right
    contents.py       text, parts of text, tool calls and their results
    conversation.py   a conversation as others write it -> messages
    formats.py        row -> Example
    rows.py           Row and Finding: a raw record, and why one goes
    trial.py          rows from all over an input, for a trial
    units.py          runs of rows that are worked on apart
  refine/           rows -> shards: what is decided of one row alone
    gather.py         rows -> shards, on all processors
    clean.py          rewrite text: unicode, quoted replies, signatures
    code.py           what of a text is code
    html.py           HTML -> text
    redact.py         personal data and secrets: find, mask, drop
    patterns.py       what personal data and secrets look like
    checksums.py      check digits of cards, accounts and national ids
    credentials.py    keys, tokens and passwords
    phones.py         telephone numbers, told from other numbers
    filters.py        keep or drop one row, with a reason
    phrases.py        automatic mail and refusals of language models
    repetition.py     how much of a text repeats itself
    quality.py        published rules for web text
    language.py       which language a text is in
    tokens.py         tokens, by the base model's tokenizer.json
    words.py          texts as hashed words: shingles, runs, Jaccard similarity
    minhash.py        signatures of texts: those that are alike share a band
    shard.py          what became of a unit, on disk
  decide/           shards -> decisions: what depends on other rows
    decisions.py      every such decision, in order
    table.py          all examples as columns of numbers, and what is decided of them
    labels.py         one spelling each, and the closed set of them
    near.py           the pairs of rows that are really alike
    likeness.py       which of them repeat one another, and which have a part in common
    sieve.py          a set of hashes as bits
    dedup.py          exact and near duplicates: which of them stays
    decontaminate.py  runs of words that train shares with what is tested
    sample.py         `limit` and `per_label`
    split.py          train, validation, test without leakage
    earlier.py        where an earlier preparation put rows
    verdicts.py       what was decided of a row, in a sentence
    threads.py        parts of the data on all processors
  write/            decisions -> the folder, and what people read of it
    folder.py         the folder that is written
    measure.py        the funnel, lengths, labels, duplicates, personal data
    describe.py       reasons in words, and what a person should know
    report.py         the data report, one HTML page
    pictures.py       its pictures
    card.py           the dataset card
    advice.py         what may be changed in the recipe
    explain.py        every decision about one row
model/              the only folder that imports transformers and peft
  tokens/           examples -> token ids
    encode.py         Example -> token ids and labels through the chat template
    template.py       where a chat template puts what the assistant wrote
    habits.py         what a chat template does with system messages, tools and reasoning
    settings.py       what a chat template reads besides messages, written into it; its date
    markers.py        markers of a chat template inside what people wrote
    template_probe.py chat templates from outside, tried in a process with limits
    pieces.py         many texts -> token ids: equal pieces once, in one call
    tokenizer.py      save a tokenizer
  weights/          base models and adapters
    load.py           base model and tokenizer from a folder, a run or the Hub; device, dtype
    embedded.py       the offline default base model
    adapter.py        LoRA and DoRA: attach, save, load, merge
    low_rank.py       LoRA layers that read one input, computed together
    foreign.py        pickles, code and links that a model from outside may not bring
    place.py          where a base model lies on this machine
  compute/          token ids -> losses and states
    attention.py      attention over a row of examples that share prefixes
    batch.py          EncodedExamples -> tensors
    prefix.py         what examples begin with in common: micro-batches, the tree of a row
    forward.py        one forward pass and its token losses
    loss.py           losses of many tokens without all their logits at once
    lower.py          what frozen blocks make of every token, kept
    token_scores.py   losses of learned tokens, and which the model put first
    branches.py       attention over prompts that continue one beginning, and what continues them
    memory.py         will it fit: the peak memory of a training, and what there is
  answers/          a prompt -> a label or an answer
    rank.py           exact label ranking
    search.py         best-first search for the likeliest label of one prompt
    trie.py           the labels' token sequences as a tree
    label_scores.py   log-likelihood of every label, plainly
    generate.py       batched greedy generation
    prompts.py        prompts of similar length in one batch
train/              PreparedDataset -> TrainingRun
  run.py              own the run folder, from the plan to the manifest
  team.py             several processes: what the main one does for all, one end for all
  assemble.py         model, examples and plan, for a run or a dry run
  dry_run.py          what a training will take, by a few of its steps
  folder.py           the run folder: new, resumed, finished or refused
  fingerprint.py      what makes two runs the same
  plan.py             what `auto` becomes on this machine, with reasons
  order.py            which examples in which step
  layout.py           what the micro-batches of an epoch run
  attempt.py          what a step is about to run: written down before it, halved where too much
  space.py            will the disk hold it: checkpoints and model
  loop.py             the loop: a generator of TrainingSteps
  loss.py             normalization over the global batch
  lower.py            what frozen blocks make of all tokens: kept or not
  optimizer.py        parameter groups, AdamW, schedules
  checkpoint.py       save, seal, verify, resume, keep the best
  stop.py             SIGTERM and SIGINT while the loop runs
  validate.py         scoring during training
  agreement.py        the saved model scored again
  manifest.py         what a finished run says of itself
  tracking.py         steps.jsonl and trackers
eval/               run or model + split -> Report
  run.py              load, predict, score, write
  report.py           Report -> JSON
  predict/          rows -> predictions
    scorer.py         predictions by ranking, by generating or by loss
    losses.py         the loss of every example, and which tokens the model put first
    parse.py          model output -> label
    predictions.py    predictions.jsonl while it is made, taken up again
  measure/          predictions -> numbers
    metric.py         the evaluate.Metric subclass
    own_metric.py     the metric that a recipe names
    text_scores.py    open answers beside their references
    answers.py        metrics of open answers and of tokens, and their report
    calibration.py    what probabilities mean, coverage at a precision
    statistics.py     floors and stratified samples
    overlap.py        scored rows that were learned from
    learning.py       the curves of a run, over-fitting
    paired.py         two models on the same rows: fixed, broken, a verdict
    slices.py         metrics by the values of a column
  judge/            numbers -> verdicts
    findings.py       all that a report tells beside its metrics
    rivals.py         the base, a floor, another run on the same rows
    compare.py        runs beside one another
    gate.py           bounds that a report is held to
    caveats.py        what limits the numbers, in sentences
  show/             a report -> what people look at
    page.py           report.html
    drawings.py       its curves
    mistakes.py       errors.jsonl: wrong rows as a source
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
