"""What is in the data: counts, reasons and labels, in sentences for a person."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftool.artifacts import read_jsonl
from ftool.example import SPLITS
from ftool.prepare.decide.table import Table, count_reasons, in_reasons
from ftool.prepare.refine.redact import find_personal_data
from ftool.prepare.write.measure import lost_labels
from ftool.wording import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.recipe.schema import Recipe

PLACES_SHOWN = 3
NAMES_SHOWN = 5

REASONS = {
    "boilerplate": "is an automatic reply, a delivery failure or the like",
    "broken_json": "is no valid JSON",
    "broken_quote": "has text behind a closing quote",
    "c4_curly_brace": "has a curly brace (C4)",
    "c4_javascript": "has too few sentences beside those on `javascript` (C4)",
    "c4_lorem_ipsum": "has `lorem ipsum` (C4)",
    "c4_policy": "has too few sentences beside cookie and privacy notices (C4)",
    "c4_sentences": "has fewer than three sentences (C4)",
    "c4_terminal_punctuation": "has too few lines that end like a sentence (C4)",
    "conflicting_label": "repeats a prompt with another label",
    "contaminated": "shares 13 words in a row with validation, test or a file of `decontaminate`",
    "duplicate_key": "gives a key twice",
    "empty_completion": "has nothing to learn",
    "empty_prompt": "has no prompt",
    "empty_row": "is blank",
    "empty_text": "has no text",
    "empty_turn": "has an empty message before the last one",
    "exact_duplicate": "repeats another row",
    "gopher_alphabetic_words": "has too many words without a letter (Gopher)",
    "gopher_bullet_lines": "is nearly all bullet points (Gopher)",
    "gopher_ellipsis_lines": "has too many lines that end in an ellipsis (Gopher)",
    "gopher_ellipsis_ratio": "has too many ellipses (Gopher)",
    "gopher_hash_ratio": "has too many `#` (Gopher)",
    "gopher_mean_word_length": "has too short or too long words (Gopher)",
    "gopher_repeated_line_characters": "has too much text in repeated lines (Gopher)",
    "gopher_repeated_lines": "repeats too many of its lines (Gopher)",
    "gopher_repeated_paragraph_characters": "has too much text in repeated paragraphs (Gopher)",
    "gopher_repeated_paragraphs": "repeats too many of its paragraphs (Gopher)",
    "gopher_repeated_phrases": "has too much text in repeated phrases (Gopher)",
    "gopher_stop_words": "lacks the stop words of English (Gopher)",
    "gopher_top_phrase": "has too much text in one phrase (Gopher)",
    "gopher_word_count": "has too few or too many words (Gopher)",
    "invalid_role": "has a message by an unknown role",
    "invalid_tool_calls": "has tool calls that are no list of objects",
    "invalid_tools": "has tools that are no list of objects",
    "language": "is not in one of `languages`",
    "last_not_assistant": "does not end with the assistant",
    "leaks_across_splits": "is of one group, prompt or likeness with a row that is held out",
    "leaks_into_test": "repeats a row of test",
    "leaks_into_validation": "repeats a row of validation",
    "line_too_long": "is too long a line",
    "lone_surrogate": "holds half a character",
    "missing_field": "lacks a column",
    "missing_label": "has no label",
    "near_duplicate": "repeats another row but for a few words",
    "no_messages": "has no messages",
    "not_an_object": "is no JSON object",
    "not_messages": "has no list of messages",
    "not_sampled": "was left out by `limit` or `per_label`",
    "not_text": "has a content that is no text",
    "nul_byte": "holds a NUL byte",
    "personal_data": "holds personal data",
    "refusal": "has an assistant that refuses as a language model",
    "repetitive": "repeats its own words more than `repetition` allows",
    "role_order": "has messages in an order that no conversation has",
    "too_deep": "is nested too deep",
    "too_long": "is longer than `max_characters`",
    "too_many_tokens": "is longer than `max_tokens`",
    "too_short": "is shorter than `min_characters`",
    "unclosed_quote": "opens a quote and does not close it",
    "undecodable_bytes": "has bytes that are no characters",
    "unknown_label": "has a label that is not in `label_names`",
    "unreadable_rest": "is the rest of a broken file",
    "wrong_field_count": "has more or fewer fields than the header",
}
"""Why a row is rejected, in words that follow "the row"."""


def notes(manifest: Mapping[str, Any], table: Table, places: "NDArray[np.int8]") -> list[str]:
    """Return what a person should know about a prepared dataset before training on it."""
    return [
        *_row_notes(manifest),
        *_unused_parts(table),
        *_label_notes(manifest["label_names"], manifest["label_counts"], manifest["rows"]["kept"]),
        *_leak_notes(table, places),
        *_lost_labels(table, manifest["rows"]["kept"]),
        *_split_notes(manifest, table),
        *_personal_labels(manifest["label_names"]),
    ]


def _row_notes(manifest: Mapping[str, Any]) -> list[str]:
    found = []
    for best, others in manifest["merged_spellings"].items():
        names = ", ".join(f"`{name}` ({n})" for name, n in others.items())
        found.append(f"label spellings merged into `{best}`: {names}")
    if "unreadable_rest" in manifest["rows"]["rejected"]:
        found.append("a JSON file could not be read to its end; see rejected.jsonl")
    return found


def _unused_parts(table: Table) -> list[str]:
    parts = sorted({part for shard in table.shards for part in shard.about["unused"]})
    return [f"nothing reads these parts of messages: {_quoted(parts)}"] if parts else []


def _label_notes(
    names: Sequence[str], counts: Mapping[str, Mapping[str, int]], kept: Mapping[str, int]
) -> list[str]:
    found = []
    for split in ("validation", "test"):
        lacking = [label for label in counts.get(split, {}) if label not in counts.get("train", {})]
        if lacking and kept.get("train"):
            found.append(f"labels in {split} that train lacks: {_quoted(lacking)}")
    present = {label for labels in counts.values() for label in labels}
    absent = [label for label in names if label not in present]
    if absent:
        found.append(f"declared labels without an example: {_quoted(absent)}")
    total = sum(kept.values())
    bare = total - sum(sum(labels.values()) for labels in counts.values())
    if 0 < bare < total:
        found.append(f"{bare} of {total} examples have no label, so labels are no closed set")
    return found


def _leak_notes(table: Table, places: "NDArray[np.int8]") -> list[str]:
    """Tell of what assigned sources share, since their rows stay where they are."""
    validation, test = (
        np.flatnonzero(table.stays & table.held_out & (places == SPLITS.index(split)))
        for split in ("validation", "test")
    )
    found = []
    keys = table.numbers("content")[:, 0]
    both = int(np.isin(keys[validation], keys[test]).sum())
    if both:
        found.append(f"{both} examples of validation are in test too; assigned rows stay")
    return found


def _lost_labels(table: Table, kept: Mapping[str, int]) -> list[str]:
    """Tell of labels that the data has and every example of which was rejected."""
    if not sum(kept.values()):
        return []
    found = [f"`{label}` ({in_reasons(why)})" for label, why in lost_labels(table).items()]
    return [f"labels whose every row was rejected: {listed(found, NAMES_SHOWN)}"] if found else []


def _split_notes(manifest: Mapping[str, Any], table: Table) -> list[str]:
    """Tell where a split that the recipe asks for stayed empty, and which rows it lost."""
    data, rows = manifest["recipe"]["data"], manifest["rows"]
    kept = rows["kept"]
    found = []
    for split in ("train", "validation", "test"):
        own = [n for n, source in enumerate(data["sources"]) if source["split"] == split]
        if kept[split]:
            continue
        if own:
            lost = count_reasons(table, own)
            found.append(f"{split} is empty: all rows of its sources went ({in_reasons(lost)})")
        elif split != "train" and data["split"][split]:
            found.append(
                f"{split} is empty, though data.split.{split} asks for {data['split'][split]:g}: "
                f"{_why_empty(sum(kept.values()), rows['rejected'])}"
            )
    return found


def _why_empty(kept: int, rejected: Mapping[str, int]) -> str:
    """Say that too few rows are left where rejections are the greater part, or how they hang."""
    lost = sum(rejected.values())
    few = "there are too few rows of a label, or one group, prompt or passage holds most of them"
    if not lost:
        return few
    told = f"{lost:,} of {kept + lost:,} rows were rejected ({in_reasons(rejected)})"
    return f"{told}, {kept:,} are left" if lost >= kept else f"{few}; {told}"


def _personal_labels(names: Sequence[str]) -> list[str]:
    """Tell of labels that look like personal data, for labels are never masked."""
    found = sum(bool(find_personal_data(name)) for name in names)
    return [f"{found} labels look like personal data; labels are not masked"] if found else []


def _quoted(names: Sequence[str]) -> str:
    return listed([f"`{name}`" for name in names], NAMES_SHOWN)


def are_too_many(recipe: "Recipe", read: int, rejected: Mapping[str, int]) -> bool:
    """Tell whether more rows are rejected than `max_rejected_ratio` allows, or all of them."""
    total = sum(_unwanted(rejected).values())
    return total > recipe.data.max_rejected_ratio * read or total == read


def _unwanted(rejected: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in rejected.items() if reason != "not_sampled"}


def too_many(recipe: "Recipe", read: int, rejected: Mapping[str, int], rejected_file: Path) -> str:
    """Return what to say where too many rows are rejected: reasons, most first, with places."""
    unwanted, most = _unwanted(rejected), recipe.data.max_rejected_ratio
    total = sum(unwanted.values())
    allowed = f"data.max_rejected_ratio allows {most:g}" if total > most * read else "none is left"
    places: dict[str, list[str]] = {reason: [] for reason in rejected}
    for record in read_jsonl(rejected_file):
        if len(places[record["reason"]]) < PLACES_SHOWN:
            places[record["reason"]].append(f"{record['source']}:{record['line']}")
    lines = [f"{total:,} of {read:,} rows were rejected; {allowed}"]
    lines += [
        f"  {count:>7,}  {reason}: the row {REASONS[reason]} ({', '.join(places[reason])})"
        for reason, count in unwanted.items()
    ]
    return "\n".join(lines)
