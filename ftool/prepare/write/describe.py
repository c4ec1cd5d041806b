"""What is in the data: counts, reasons and labels, in sentences for a person."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftool.artifacts import read_jsonl
from ftool.example import SPLITS
from ftool.prepare.decide.table import Table, count_reasons, in_reasons
from ftool.prepare.refine.redact import find_personal_data
from ftool.wording import counted, cut, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.shard import Shard
    from ftool.recipe.blocks.data import Source
    from ftool.recipe.schema import Recipe

PLACES_SHOWN = 3
NAMES_SHOWN = 5
COLUMNS_SHOWN = 12
DETAIL = 200

REASONS = {
    "ambiguous_label": "has several columns that could be its label",
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
    "media": "has images, audio or video, which a language model of text cannot read",
    "missing_field": "lacks a column",
    "missing_label": "has no label",
    "near_duplicate": "repeats another row but for a few words",
    "no_messages": "has no messages",
    "not_accepted": "was not accepted by an annotator",
    "not_an_object": "is no JSON object",
    "not_messages": "has no list of messages",
    "not_sampled": "was left out by `limit` or `per_label`",
    "not_text": "has a content that is no text",
    "nul_byte": "holds a NUL byte",
    "personal_data": "holds personal data",
    "refusal": "has an assistant that refuses as a language model",
    "repeated_header": "repeats the header",
    "repetitive": "repeats its own words more than `repetition` allows",
    "role_order": "has messages in an order that no conversation has",
    "several_labels": "has several labels; one of them each is needed",
    "single_quotes": "is written with single quotes, which is Python and no JSON",
    "too_deep": "is nested too deep",
    "too_long": "is longer than `max_characters`",
    "too_many_tokens": "is longer than `max_tokens`",
    "too_short": "is shorter than `min_characters`",
    "unclosed_quote": "opens a quote and does not close it",
    "undecodable_bytes": "has bytes that are no characters",
    "unknown_choice": "names a right choice that is none of its choices",
    "unknown_label": "has a label that is not in `label_names`",
    "unknown_part": "has a message with a part of an unknown type",
    "unordered_time": "has a message whose time cannot be ordered",
    "unreadable_rest": "is the rest of a broken file",
    "unwanted_answer": "has an answer that nobody wants: a label of false, or a weight of 0",
    "wrong_field_count": "has more or fewer fields than the header",
}
"""Why a row is rejected, in words that follow "the row"."""


def notes(manifest: Mapping[str, Any], table: Table, places: "NDArray[np.int8]") -> list[str]:
    """Return what a person should know about a prepared dataset before training on it."""
    return [
        *_row_notes(manifest),
        *_repairs(manifest),
        *_unused_parts(table),
        *unmatched(table, manifest["recipe"]["data"]["sources"]),
        *_label_notes(manifest["label_names"], manifest["label_counts"], manifest["rows"]["kept"]),
        *_class_notes(
            manifest["label_names"],
            manifest["label_counts"],
            manifest["lost_labels"],
            is_sample=bool(manifest["sampled"]),
        ),
        *_leak_notes(table, places),
        *_split_notes(manifest, table),
        *_personal_labels(manifest["label_names"]),
    ]


KEPT_WHERE = {"wanted": "kept where true", "verdict": "kept where accept"}
"""What parts are called that decide whether a row is kept."""

REPAIRS = {
    "empty_turns_dropped": "empty turns left out",
    "first_answer_taken": "the first of several answers taken",
    "speakers_alternate": "speakers are not named; the first one is read as the user",
    "system_as_assistant": "`system` answers the user and is read as the assistant",
    "system_lines_dropped": "system lines in the middle left out, or joined at the start",
    "tail_cut": "what follows the last answer cut",
    "turns_merged": "messages of one side in a row merged",
}
"""What was done with conversations so that they can be learned, by its code."""


def reading_lines(sources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say how the rows of each source were read, a line for each way."""
    for source in sources:
        for reading in source["readings"]:
            is_one = len(source["readings"]) == 1
            yield reading_line(source["source"] if is_one else reading["file"], reading)


def reading_line(source: str, reading: Mapping[str, Any]) -> str:
    """Say which columns play which part, and which are not read."""
    parts = [
        f"{KEPT_WHERE.get(part, part)} <- {', '.join(names)}"
        for part, names in reading["parts"].items()
    ]
    unread = [f"not read: {listed(reading['unread'], COLUMNS_SHOWN)}"] if reading["unread"] else []
    return f"{source}: {'; '.join([*parts, *unread])}"


def shown_path(written: str) -> str:
    """Return the path of a source as people may see it: never an absolute one."""
    path = Path(written)
    return path.name if path.is_absolute() else written


def readings(shards: Sequence["Shard"], sources: Sequence["Source"]) -> list[dict[str, Any]]:
    """Return for every source how its columns were read, each way once, with the first file."""
    found: dict[int, dict[str, Any]] = {}
    for shard in shards:
        own = found.setdefault(shard.about["origin"], {})
        for reading in shard.about["readings"]:
            first = {"file": shard.about["shown"], "parts": reading["parts"], "unread": {}}
            known = own.setdefault(str(reading["parts"]), first)
            known["unread"] |= dict.fromkeys(reading["unread"])
    for own in found.values():
        for reading in own.values():
            reading["unread"] = list(reading["unread"])
    return [
        {"source": shown_path(sources[origin].path), "readings": list(own.values())}
        for origin, own in sorted(found.items())
    ]


def repairs(table: Table) -> dict[str, int]:
    """Return how many conversations each repair has changed, by its code."""
    counts: Counter[str] = Counter()
    for shard in table.shards:
        counts.update(shard.about["repairs"])
    return dict(sorted(counts.items()))


def _repairs(manifest: Mapping[str, Any]) -> list[str]:
    return [
        f"{counted(count, 'conversation')}: {REPAIRS[code]} ({code})"
        for code, count in manifest["repairs"].items()
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


def unmatched(table: Table, sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tell of `labels` and `roles` of the recipe that no row has."""
    matched: dict[int, set[str]] = {}
    for shard in table.shards:
        matched.setdefault(shard.about["origin"], set()).update(shard.about["matched"])
    found = []
    for origin, seen in sorted(matched.items()):
        source = sources[origin]
        patterns = [name for names in source["roles"].values() for name in names]
        for setting, names in (("labels", list(source["labels"])), ("roles", patterns)):
            absent = [name for name in names if name not in seen]
            if absent:
                found.append(f"data.sources.{origin}.{setting}: no row has {_quoted(absent)}")
    return found


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


def _class_notes(
    names: Sequence[str],
    counts: Mapping[str, Mapping[str, int]],
    lost: Mapping[str, Mapping[str, int]],
    *,
    is_sample: bool,
) -> list[str]:
    """Tell where labels are no task, or no longer the one that the raw rows hold."""
    found = []
    if lost:
        told = [
            f"`{label}` ({', '.join(f'{count} {reason}' for reason, count in reasons.items())})"
            for label, reasons in lost.items()
        ]
        rows = "every row that was tried" if is_sample else "every row"
        found.append(f"labels of which {rows} was rejected: {listed(told, NAMES_SHOWN)}")
    present = {label for labels in counts.values() for label in labels}
    train = counts.get("train", {})
    if names and 1 in (len(present), len(train)):
        (only, *_) = train or present
        data = "the rows that were tried have" if is_sample else "the data have"
        where = data if len(present) == 1 else "train has"
        found.append(
            f"{where} one label alone, `{only}`: whoever always says it is always right,"
            " so nothing is learned and no score tells anything; add rows of another label"
        )
    for split in ("validation", "test"):
        lacking = [label for label in train if label not in counts.get(split, {})]
        if names and split in counts and lacking:
            found.append(f"labels in train that {split} lacks: {_quoted(lacking)}")
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
    details: dict[str, str] = {}
    for record in read_jsonl(rejected_file):
        details.setdefault(record["reason"], record["detail"])
        if len(places[record["reason"]]) < PLACES_SHOWN:
            places[record["reason"]].append(f"{record['source']}:{record['line']}")
    lines = [f"{total:,} of {read:,} rows were rejected; {allowed}"]
    lines += [
        f"  {count:>7,}  {reason}: the row {REASONS[reason]} ({', '.join(places[reason])})"
        + (f"\n           such as {cut(details[reason], DETAIL)}" if details.get(reason) else "")
        for reason, count in unwanted.items()
    ]
    return "\n".join(lines)
