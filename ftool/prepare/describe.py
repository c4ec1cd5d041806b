"""What is in the data: counts, the funnel, labels; sentences for a person and the dataset card."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftool.example import SPLITS, Example
from ftool.prepare.dedup import example_key
from ftool.prepare.rows import Rejected

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe

REASONS = {
    "broken_json": "is no valid JSON",
    "broken_quote": "has text behind a closing quote",
    "conflicting_label": "repeats a prompt with another label",
    "duplicate_key": "gives a key twice",
    "empty_completion": "has nothing to learn",
    "empty_prompt": "has no prompt",
    "empty_row": "is blank",
    "empty_text": "has no text",
    "exact_duplicate": "repeats another row",
    "invalid_role": "has a message by an unknown role",
    "invalid_tool_calls": "has tool calls that are no list of objects",
    "invalid_tools": "has tools that are no list of objects",
    "last_not_assistant": "does not end with the assistant",
    "leaks_into_test": "repeats a row of test",
    "leaks_into_validation": "repeats a row of validation",
    "line_too_long": "is too long a line",
    "lone_surrogate": "holds half a character",
    "missing_field": "lacks a column",
    "missing_label": "has no label",
    "no_messages": "has no messages",
    "not_an_object": "is no JSON object",
    "not_messages": "has no list of messages",
    "not_sampled": "was left out by `limit` or `per_label`",
    "not_text": "has a content that is no text",
    "nul_byte": "holds a NUL byte",
    "too_deep": "is nested too deep",
    "too_long": "is longer than `max_characters`",
    "too_short": "is shorter than `min_characters`",
    "unclosed_quote": "opens a quote and does not close it",
    "undecodable_bytes": "has bytes that are no characters",
    "unknown_label": "has a label that is not in `label_names`",
    "unreadable_rest": "is the rest of a broken file",
    "wrong_field_count": "has more or fewer fields than the header",
}
"""Why a row is rejected, in words that follow "the row"."""


def count_reasons(rejected: Sequence[Rejected]) -> dict[str, int]:
    """Return how many rows each reason removed, most first."""
    counts = Counter(row.reason for row in rejected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def count_labels(splits: Mapping[str, Sequence[Example]]) -> dict[str, dict[str, int]]:
    """Return the number of examples per label for each split that has labels."""
    counts = {
        split: Counter(example.label for example in examples if example.label is not None)
        for split, examples in splits.items()
    }
    return {split: dict(sorted(found.items())) for split, found in counts.items() if found}


def notes(manifest: Mapping[str, Any], splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """Return what a person should know about a prepared dataset before training on it."""
    return [
        *_row_notes(manifest),
        *_label_notes(manifest["label_names"], manifest["label_counts"], manifest["rows"]["kept"]),
        *_leak_notes(splits),
    ]


def _row_notes(manifest: Mapping[str, Any]) -> list[str]:
    found = []
    for best, others in manifest["merged_spellings"].items():
        names = ", ".join(f"`{name}` ({n})" for name, n in others.items())
        found.append(f"label spellings merged into `{best}`: {names}")
    if "unreadable_rest" in manifest["rows"]["rejected"]:
        found.append("a JSON file could not be read to its end; see rejected.jsonl")
    return found


def _label_notes(
    names: Sequence[str], counts: Mapping[str, Mapping[str, int]], kept: Mapping[str, int]
) -> list[str]:
    found = []
    for split in ("validation", "test"):
        lacking = [label for label in counts.get(split, {}) if label not in counts.get("train", {})]
        if lacking and kept.get("train"):
            found.append(f"labels in {split} that train lacks: {_listed(lacking)}")
    present = {label for labels in counts.values() for label in labels}
    absent = [label for label in names if label not in present]
    if absent:
        found.append(f"declared labels without an example: {_listed(absent)}")
    total = sum(kept.values())
    bare = total - sum(sum(labels.values()) for labels in counts.values())
    if 0 < bare < total:
        found.append(f"{bare} of {total} examples have no label, so labels are no closed set")
    return found


def _leak_notes(splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """Tell of what assigned sources share, since their rows stay where they are."""
    found = []
    groups = {
        split: {example.group for example in examples if example.group}
        for split, examples in splits.items()
    }
    shared = groups["train"] & (groups["validation"] | groups["test"])
    if shared:
        names = _listed(sorted(map(str, shared)))
        found.append(f"groups in train and in an assigned split: {names}")
    keys = {example_key(example) for example in splits["test"]}
    both = sum(example_key(example) in keys for example in splits["validation"])
    if both:
        found.append(f"{both} examples of validation are in test too; assigned rows stay")
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def too_many(recipe: "Recipe", read: int, rejected: Sequence[Rejected]) -> str | None:
    """Return what to say where more rows are rejected than `max_rejected_ratio` allows."""
    unwanted = [row for row in rejected if row.reason != "not_sampled"]
    most = recipe.data.max_rejected_ratio
    if len(unwanted) <= most * read:
        return None
    lines = [
        f"{len(unwanted):,} of {read:,} rows were rejected; data.max_rejected_ratio allows {most:g}"
    ]
    for reason, n in count_reasons(unwanted).items():
        places = [f"{row.source}:{row.line}" for row in unwanted if row.reason == reason][:3]
        lines.append(f"  {n:>7,}  {reason}: the row {REASONS[reason]} ({', '.join(places)})")
    return "\n".join(lines)


def card(recipe: "Recipe", manifest: Mapping[str, Any]) -> str:
    """Return the dataset card: front matter that `datasets` opens, counts, funnel, labels."""
    rows = manifest["rows"]
    splits = [split for split in SPLITS if rows["kept"][split]]
    kind = "conversations" if manifest["kind"] == "chat" else "texts"
    kept = sum(rows["kept"].values())
    parts = [
        _front_matter(splits),
        f"# {manifest['name']}",
        f"{kept:,} {kind}, prepared with ftool {manifest['ftool']} and seed {recipe.seed}. "
        f'Open it with `datasets.load_dataset("{manifest["name"]}")` from the folder above.',
        _table(("split", "examples"), [(name, f"{rows['kept'][name]:,}") for name in splits]),
        "## From rows to examples",
        _funnel(rows, kept),
        "## Sources",
        _table(
            ("source", "bytes", "sha256"),
            [(i["source"], f"{i['bytes']:,}", f"`{i['sha256'][:12]}`") for i in manifest["inputs"]],
        ),
    ]
    if manifest["label_counts"]:
        parts += ["## Labels", _labels(manifest["label_counts"], splits)]
    return "\n\n".join(parts) + "\n"


def _front_matter(splits: Sequence[str]) -> str:
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: {split}/*.parquet"]
    return "\n".join([*lines, "---"])


def _funnel(rows: Mapping[str, Any], kept: int) -> str:
    body = [("rows read", f"{rows['read']:,}", "")]
    body += [
        (reason, f"-{n:,}", f"the row {REASONS[reason]}") for reason, n in rows["rejected"].items()
    ]
    return _table(("step", "rows", "meaning"), [*body, ("examples kept", f"{kept:,}", "")])


def _labels(counts: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> str:
    names = sorted({label for labels in counts.values() for label in labels})
    body = [
        (name, *(f"{counts.get(split, {}).get(name, 0):,}" for split in splits)) for name in names
    ]
    return _table(("label", *splits), body)


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
