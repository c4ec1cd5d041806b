"""The dataset card: README.md of a prepared dataset, with front matter that `datasets` opens."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftool.example import SPLITS
from ftool.prepare.write.pictures import in_one_line
from ftool.prepare.write.report import PERCENTILES, funnel_steps, in_words, share

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
"""The Hub's words for how many examples there are; beyond the last one nothing is said.

Source:
    https://github.com/huggingface/hub-docs/blob/main/datasetcard.md
"""
LANGUAGE_SHARE = 0.02
"""Rarer languages are taken for wrong guesses and not named in the front matter."""
CLUSTERS_TOLD = 5


def card(recipe: "Recipe", manifest: Mapping[str, Any]) -> str:
    """Return the dataset card: what was read, what is kept and why, and what is not known.

    It shows names and counts, never the content of a row.
    """
    rows = manifest["rows"]
    statistics = manifest.get("statistics") or {}
    splits = [split for split in SPLITS if rows["kept"][split]]
    kind = "conversations" if manifest["kind"] == "chat" else "texts"
    kept = sum(rows["kept"].values())
    parts = [
        _front_matter(manifest, statistics, splits),
        f"# {escaped(manifest['name'])}",
        f"{kept:,} {kind}, prepared with ftool {manifest['ftool']} and seed {recipe.seed}. "
        f'Open it with `datasets.load_dataset("{manifest["name"]}")` from the folder above.',
        _table(("split", "examples"), [(name, f"{rows['kept'][name]:,}") for name in splits]),
        _how_split(recipe, manifest, has_labels=bool(manifest["label_counts"])),
        "## From rows to examples",
        _funnel(manifest),
        *_lengths(statistics),
        *_duplicates(recipe, statistics),
        *_personal_data(statistics),
        *_languages(statistics),
        "## Sources",
        _table(("source", "bytes", "sha256"), [_source(found) for found in manifest["inputs"]]),
    ]
    if manifest["label_counts"]:
        parts += ["## Labels", _labels(manifest["label_counts"], splits)]
    parts += ["## Known limits", _limits(recipe, manifest)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Return a name of others as Markdown that shows it as it is, in one line."""
    return re.sub(r"([\\`*_<>\[\]|~$&#])", r"\\\1", in_one_line(text))


def _front_matter(
    manifest: Mapping[str, Any], statistics: Mapping[str, Any], splits: Sequence[str]
) -> str:
    """Write what the Hub reads; what is not known is left out."""
    closed = bool(manifest["label_names"])
    kept = sum(manifest["rows"]["kept"].values())
    size = next((words for below, words in SIZES if kept < below), None)
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: {split}/*.parquet"]
    if languages := _spoken(statistics.get("languages")):
        # Quoted, for `no` is false in YAML 1.1.
        lines += ["language:", *(f'- "{code}"' for code in languages)]
    lines += ["task_categories:", f"- text-{'classification' if closed else 'generation'}"]
    if size:
        lines += ["size_categories:", f"- {size}"]
    return "\n".join([*lines, "---"])


def _spoken(languages: Mapping[str, Any] | None) -> list[str]:
    """Return the codes of the languages that are more than wrong guesses, most first."""
    counts: Mapping[str, int] = languages["counts"] if languages else {}
    least = LANGUAGE_SHARE * sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        code for code, number in ordered if number >= least and re.fullmatch("[a-z]{2,3}", code)
    ]


def _how_split(recipe: "Recipe", manifest: Mapping[str, Any], *, has_labels: bool) -> str:
    """Say how examples were divided, in the words of the recipe."""
    split = recipe.data.split
    assigned = set(manifest["assigned"])
    shares = {"validation": split.validation, "test": split.test}
    drawn = [f"{part:.3g} for {name}" for name, part in shares.items() if name not in assigned]
    found = []
    if assigned:
        names = " and ".join(name for name in SPLITS if name in assigned)
        found.append(f"The examples of {names} come from sources of their own.")
    if "train" not in assigned and any(shares[name] for name in shares if name not in assigned):
        by = ", within every label" if split.stratify and has_labels else ""
        found.append(f"Shares drawn by the seed{by}: {', '.join(drawn)}.")
    if split.group:
        found.append(f"Rows with one value of `{split.group}` are in one split.")
    return " ".join(found) or "Nothing was held out."


def _funnel(manifest: Mapping[str, Any]) -> str:
    (_, read), *removed, (_, kept) = funnel_steps(manifest)
    body = [("rows read", f"{read:,}", "")]
    body += [(f"`{name}`", f"{number:,}", f"the row {in_words(name)}") for name, number in removed]
    return _table(("step", "rows", "meaning"), [*body, ("examples kept", f"{kept:,}", "")])


def _lengths(statistics: Mapping[str, Any]) -> list[str]:
    """Write how many characters and tokens examples have at most, by share of them."""
    characters = statistics.get("characters") or {}
    lines = [
        (f"characters, {split}", characters[split]["percentiles"])
        for split in SPLITS
        if characters.get(split, {}).get("count")
    ]
    tokens = statistics.get("tokens")
    if tokens:
        sample = f" in a sample of {tokens['rows']:,}" if tokens["sampled"] else ""
        name = f"tokens of {escaped(tokens['tokenizer'])}{sample}"
        lines.append((name, tokens["percentiles"]))
    if not lines:
        return []
    body = [
        (name, *(f"{found[key]:,.0f}" if key in found else "" for key in PERCENTILES))
        for name, found in lines
    ]
    return ["## Lengths", _table(("at most", *PERCENTILES.values()), body)]


def _duplicates(recipe: "Recipe", statistics: Mapping[str, Any]) -> list[str]:
    duplicates = statistics.get("duplicates")
    if not duplicates:
        return []
    exact, near = recipe.data.dedup.exact, recipe.data.dedup.near
    found = [
        f"{duplicates['exact']:,} exact duplicates were removed."
        if exact
        else "Exact duplicates were not removed.",
        f"{duplicates['near']:,} near duplicates (similarity {near:g} and above) were removed."
        if near is not None
        else "Near duplicates were not looked for.",
    ]
    contamination = statistics.get("contamination")
    if contamination and contamination["against"]:
        names = ", ".join(escaped(name) for name in contamination["against"])
        found.append(f"{contamination['rows']:,} rows left train because they are in: {names}.")
    clusters = sorted(duplicates.get("clusters") or (), key=lambda c: (-c["rows"], c["kept"]))
    if clusters:
        most = ", ".join(f"{escaped(c['kept'])} ({c['rows']:,})" for c in clusters[:CLUSTERS_TOLD])
        found.append(f"Most repeated, with the rows alike: {most}.")
    return ["## Duplicates", " ".join(found)]


def _personal_data(statistics: Mapping[str, Any]) -> list[str]:
    personal = statistics.get("personal_data")
    if not personal:
        return []
    if personal["mode"] == "keep":
        return ["## Personal data", "It was not looked for."]
    if not personal["counts"]:
        return ["## Personal data", "None was found."]
    dropped = personal["mode"] == "drop"
    done = "they were dropped" if dropped else "placeholders stand in the texts"
    ordered = sorted(personal["counts"].items(), key=lambda item: (-item[1], item[0]))
    body = [(escaped(kind), f"{number:,}") for kind, number in ordered]
    rows = f"{personal['rows']:,} row{'s' * (personal['rows'] != 1)}"
    told = f"{rows} held personal data or secrets; {done}."
    return ["## Personal data", told, _table(("kind", "found"), body)]


def _languages(statistics: Mapping[str, Any]) -> list[str]:
    languages = statistics.get("languages")
    if not languages or not languages["counts"]:
        return []
    total = sum(languages["counts"].values())
    ordered = sorted(languages["counts"].items(), key=lambda item: (-item[1], item[0]))
    body = [(escaped(code), f"{number:,}", share(number, total)) for code, number in ordered]
    return [f"## Languages of {languages['rows']:,} examples", _table(("", "rows", "share"), body)]


def _source(found: Mapping[str, Any]) -> tuple[str, str, str]:
    return escaped(found["source"]), f"{found['bytes']:,}", f"`{found['sha256'][:12]}`"


def _labels(counts: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> str:
    names = sorted({label for labels in counts.values() for label in labels})
    body = [
        (escaped(name), *(f"{counts.get(split, {}).get(name, 0):,}" for split in splits))
        for name in names
    ]
    return _table(("label", *splits), body)


def _limits(recipe: "Recipe", manifest: Mapping[str, Any]) -> str:
    """List what the preparation cannot promise, by what was switched on."""
    clean, dedup = recipe.data.clean, recipe.data.dedup
    limits = ["It stands for its sources; nothing is known of other inputs."]
    if manifest["label_counts"]:
        limits.append("Labels are those of the sources; nobody checked them again.")
    if dedup.near is None:
        limits.append("Rows that are nearly alike may be in several splits.")
    else:
        limits.append("Rows that say the same in other words may be in several splits.")
    if clean.personal_data == "keep":
        limits.append("Personal data may be in it.")
    else:
        names = "" if clean.names else " Names of people and places were not looked for."
        limits.append(f"Personal data is found by rules, which miss some.{names}")
    return "\n".join(f"- {limit}" for limit in limits)


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
