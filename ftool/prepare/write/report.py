"""The data report: one HTML page of counts and pictures, without a word of any row."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ftool.artifacts import write_text
from ftool.example import SPLITS
from ftool.prepare.write import pictures
from ftool.prepare.write.describe import REASONS
from ftool.wording import counted

PERCENTILES = {
    "1": "1%",
    "5": "5%",
    "25": "25%",
    "50": "half",
    "75": "75%",
    "95": "95%",
    "99": "99%",
    "100": "all",
}
"""The columns of the table of lengths: how many rows are at most that long."""
LABELS_DRAWN = 30
"""Labels in the picture; the table has them all."""
LINES_DRAWN = 15
"""Steps, languages and turns in a picture; the rest is added up."""
CLUSTERS_SHOWN = 20

SPLIT_COLOURS = dict(zip(SPLITS, pictures.COLOURS, strict=True))
"""A split keeps its colour where another is empty."""
UNKNOWN = "\N{EN DASH}"
"""Stands for a number that nobody looked for."""

_TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(manifest: Mapping[str, Any], path: Path) -> None:
    """Write the data report of a prepared dataset, one page that needs no network.

    The same manifest gives the same bytes. The page shows names of labels, sources and settings,
    ids and counts, and never the content of a row; what stands in those names cannot act in it.

    Args:
        manifest: of the dataset; `statistics` or parts of it may be missing.
        path: the file to write.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, _page(manifest))


def _page(manifest: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_visible,
    )
    environment.filters |= {
        "code": _code,
        "line": pictures.in_one_line,
        "sha256": _content_hash,
        "share": share,
    }
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(_content(manifest))


def _visible(value: Any) -> Any:
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return pictures.visible(value) if is_text else value


def _code(text: str) -> Any:
    """Set what stands between back-ticks as code."""
    from markupsafe import Markup, escape

    parts = [escape(pictures.visible(part)) for part in text.split("`")]
    pieces = [Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts)]
    return Markup("").join(pieces)


def _content_hash(script: str) -> str:
    """Return what a content security policy allows a script by."""
    return b64encode(sha256(script.encode()).digest()).decode()


def _content(manifest: Mapping[str, Any]) -> dict[str, Any]:
    statistics = manifest.get("statistics") or {}
    counts = manifest["label_counts"]
    return {
        "manifest": manifest,
        "noun": "conversations" if manifest["kind"] == "chat" else "texts",
        "cards": list(_cards(manifest, statistics)),
        "funnel": _funnel(manifest),
        "reasons": [(in_words(name), name, n) for name, n in _rejected(manifest).items()],
        "lengths": _lengths(statistics),
        "turns": _turns(statistics.get("turns") or {}),
        "labels": _labels(manifest["label_names"], counts, manifest["rows"]["kept"]),
        "languages": _languages(statistics.get("languages")),
        "duplicates": _duplicates(statistics.get("duplicates")),
        "contamination": statistics.get("contamination"),
        "cleaned": list((statistics.get("cleaned") or {}).items()),
        "personal_data": _personal_data(statistics.get("personal_data")),
        "settings": list(_flat(manifest.get("recipe", {}))),
    }


def in_words(reason: str) -> str:
    """Return why a row is rejected, in words that follow "the row"."""
    return REASONS.get(reason, reason.replace("_", " "))


def share(part: int, whole: int) -> str:
    """Write a share so that what is there never reads as nothing, nor what is not all as all."""
    if not whole:
        return UNKNOWN
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{percent:.1f}".removesuffix(".0") + "%"


def _rejected(manifest: Mapping[str, Any]) -> dict[str, int]:
    rejected: Mapping[str, int] = manifest["rows"]["rejected"]
    return dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0])))


def _cards(manifest: Mapping[str, Any], statistics: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the numbers on top of the page; what was not looked for has none."""
    rows = manifest["rows"]
    kept, left_out = sum(rows["kept"].values()), rows["rejected"].get("not_sampled", 0)
    refused = sum(rows["rejected"].values()) - left_out
    yield _card("rows read", f"{rows['read']:,}", counted(len(manifest["inputs"]), "source"))
    yield _card("examples kept", f"{kept:,}", share(kept, rows["read"]) + " of the rows")
    sampled = f"{left_out:,} more not sampled" if left_out else counted(refused, "row")
    yield _card("rejected", share(refused, rows["read"]), sampled)
    if manifest["label_counts"]:
        present = {name for counts in manifest["label_counts"].values() for name in counts}
        names = set(manifest["label_names"])
        what = _absent(len(names - present)) if names else "an open set"
        yield _card("labels", f"{len(names | present):,}", what)
    if duplicates := statistics.get("duplicates"):
        exact = f"{duplicates['exact']:,} exact besides"
        near = _setting(manifest, "dedup", "near")
        found = f"{duplicates['near']:,}" if near is not None else UNKNOWN
        yield _card("near duplicates", found, exact if near is not None else "not looked for")
    if personal := statistics.get("personal_data"):
        looked = personal["mode"] != "keep"
        done = {"mask": "rows masked", "drop": "rows dropped"}.get(personal["mode"], "")
        found = f"{personal['rows']:,}" if looked else UNKNOWN
        yield _card("personal data", found, done if looked else "not looked for")


def _card(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def _absent(number: int) -> str:
    return f"{number:,} without an example" if number else "each with examples"


def _setting(manifest: Mapping[str, Any], block: str, key: str) -> Any:
    """Return a setting of the data; True where the manifest does not hold it."""
    return manifest.get("recipe", {}).get("data", {}).get(block, {}).get(key, True)


def funnel_steps(manifest: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return what was read, what each reason removed (below zero) and what is kept, in order."""
    found = (manifest.get("statistics") or {}).get("funnel")
    if found:
        return [(name, number) for name, number in found]
    rows = manifest["rows"]
    removed = [(reason, -number) for reason, number in rows["rejected"].items()]
    return [("read", rows["read"]), *removed, ("kept", sum(rows["kept"].values()))]


def _funnel(manifest: Mapping[str, Any]) -> Any:
    """Draw the way from rows to examples; the rarest reasons are one step where there are many."""
    first, *removed, last = funnel_steps(manifest)
    often = sorted(removed, key=lambda step: step[1])[:LINES_DRAWN]
    rare = [step for step in removed if step not in often]
    steps = [(in_words(name).replace("`", ""), n) for name, n in removed if (name, n) in often]
    if rare:
        steps.append((f"{len(rare)} other reasons", sum(number for _, number in rare)))
    return _svg(pictures.funnel([("rows read", first[1]), *steps, ("examples kept", last[1])]))


def _svg(picture: str) -> Any:
    from markupsafe import Markup

    return Markup(picture)


def _lengths(statistics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a picture and a table for characters and for tokens, where they were counted."""
    found = []
    characters = statistics.get("characters") or {}
    splits = {split: characters[split] for split in SPLITS if split in characters}
    if any(sum(panel["counts"]) for panel in splits.values()):
        found.append({"unit": "characters", "note": "", **_length_views(splits, "characters")})
    tokens = statistics.get("tokens")
    if tokens and sum(tokens["counts"]):
        rows = f"{tokens['rows']:,} examples{', a sample,' if tokens['sampled'] else ''}"
        note = f"{rows} in tokens of {tokens['tokenizer']}."
        views = _length_views({"all splits": {**tokens, "count": tokens["rows"]}}, "tokens")
        found.append({"unit": "tokens", "note": note, **views})
    return found


def _length_views(panels: Mapping[str, Mapping[str, Any]], unit: str) -> dict[str, Any]:
    drawn = {
        f"{name}: {counted(panel['count'], 'example')}": panel
        for name, panel in panels.items()
        if sum(panel["counts"])
    }
    table = [
        (name, [_number(panel["percentiles"].get(key)) for key in PERCENTILES])
        for name, panel in panels.items()
    ]
    colours = [
        SPLIT_COLOURS.get(name, pictures.NEUTRAL) for name in panels if sum(panels[name]["counts"])
    ]
    picture = _svg(pictures.histograms(drawn, unit, colours))
    return {
        "picture": picture,
        "cut": any(
            panel["percentiles"].get("100", 0) > panel["edges"][-1] for panel in panels.values()
        ),
        "columns": list(PERCENTILES.values()),
        "table": table,
    }


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _turns(turns: Mapping[str, int]) -> dict[str, Any] | None:
    """Draw how many messages conversations have, or say it where all have as many."""
    if not turns:
        return None
    counts = sorted((int(messages), number) for messages, number in turns.items())
    if len(counts) == 1:
        return {"picture": None, "only": counts[0][0]}
    short, long = counts[:LINES_DRAWN], counts[LINES_DRAWN:]
    names = [counted(messages, "message") for messages, _ in short]
    values = [number for _, number in short]
    if long:
        names.append(f"{long[0][0]:,} or more")
        values.append(sum(number for _, number in long))
    drawn = pictures.bars(names, {"conversations": values})
    return {"picture": _svg(drawn), "only": None}


def _labels(
    names: Sequence[str], counts: Mapping[str, Mapping[str, int]], kept: Mapping[str, int]
) -> dict[str, Any] | None:
    """Return the picture of the most frequent labels and the table of all."""
    if not counts:
        return None
    splits = [split for split in SPLITS if split in counts]
    totals = dict.fromkeys(names, 0)
    for split in splits:
        for name, number in counts[split].items():
            totals[name] = totals.get(name, 0) + number
    ordered = sorted(totals, key=lambda name: (-totals[name], name))
    drawn = ordered[:LABELS_DRAWN]
    columns = {
        f"{split} ({sum(counts[split].values()):,})": [counts[split].get(n, 0) for n in drawn]
        for split in splits
    }
    labelled = sum(totals.values())
    colours = [SPLIT_COLOURS[split] for split in splits]
    return {
        "picture": _svg(pictures.bars(drawn, columns, colours)),
        "drawn": len(drawn),
        "splits": splits,
        "table": [(n, [counts[s].get(n, 0) for s in splits], totals[n]) for n in ordered],
        "total": labelled,
        "bare": sum(kept.values()) - labelled,
        "most": (ordered[0], totals[ordered[0]]),
        "least": (ordered[-1], totals[ordered[-1]]),
    }


def _languages(languages: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not languages or not languages["counts"]:
        return None
    ordered = sorted(languages["counts"].items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) > LINES_DRAWN:
        rest = ordered[LINES_DRAWN:]
        ordered = [*ordered[:LINES_DRAWN], (f"{len(rest)} others", sum(n for _, n in rest))]
    names, values = zip(*ordered, strict=True)
    return {
        "picture": _svg(pictures.bars(names, {"examples": values})),
        "rows": languages["rows"],
    }


def _duplicates(duplicates: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how alike near duplicates are and what was repeated most."""
    if not duplicates:
        return None
    similarity = duplicates.get("similarity") or {"counts": []}
    picture = None
    if sum(similarity["counts"]):
        drawn = pictures.histograms({"rows removed": similarity}, "similarity to the row kept")
        picture = _svg(drawn)
    clusters = sorted(
        duplicates.get("clusters") or (), key=lambda cluster: (-cluster["rows"], cluster["kept"])
    )
    return {
        "exact": duplicates["exact"],
        "near": duplicates["near"],
        "picture": picture,
        "clusters": clusters[:CLUSTERS_SHOWN],
    }


def _personal_data(personal: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not personal:
        return None
    counts = sorted(personal["counts"].items(), key=lambda item: (-item[1], item[0]))
    return {"mode": personal["mode"], "rows": personal["rows"], "counts": counts}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings under their dotted names, sources without what they leave open."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{key}[{index}]")
    elif value is not None or "[" not in key:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
