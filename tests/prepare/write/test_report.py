import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftool.artifacts import data_settings
from ftool.prepare.write.report import LABELS_DRAWN, funnel_steps, in_words, share, write_report
from ftool.recipe.schema import Recipe

VOID = {"meta", "link", "br", "img", "input"}
PERCENTILES = {"1": 5, "5": 9, "25": 30, "50": 52, "75": 80, "95": 140, "99": 220, "100": 1433}


class Page(HTMLParser):
    """The text of a page, its elements, and whether they close as they open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] not in {"script", "style"}:
            self.words.append(" ".join(data.split()))


def statistics(**changed: Any) -> dict[str, Any]:
    lengths = {"count": 8, "mean": 61.2, "percentiles": PERCENTILES}
    lengths |= {"edges": [0, 20, 2000], "counts": [3, 5]}
    return {
        "funnel": [["read", 20], ["broken_json", -1], ["exact_duplicate", -4], ["kept", 15]],
        "characters": {"train": lengths, "test": lengths | {"count": 1}},
        "tokens": {"tokenizer": "tiny", "rows": 7, "sampled": True, **lengths},
        "turns": {"10": 3, "2": 12},
        "languages": {"rows": 15, "counts": {"en": 12, "unknown": 3}},
        "personal_data": {"mode": "mask", "rows": 6, "counts": {"PHONE": 2, "EMAIL": 5}},
        "duplicates": {
            "exact": 4,
            "near": 0,
            "clusters": [{"kept": "a.csv:3", "rows": 2}, {"kept": "a.csv:9", "rows": 7}],
            "similarity": {"edges": [0.8, 0.9, 1.0], "counts": [2, 1]},
        },
        "contamination": {"rows": 3, "against": ["validation", "test", "eval.jsonl"]},
        **changed,
    }


def manifest(**changed: Any) -> dict[str, Any]:
    recipe = Recipe.model_validate(
        {"name": "r", "data": {"sources": [{"path": "a.csv", "split": "train"}]}}
    )
    return {
        "ftool": "1.0",
        "kind": "chat",
        "name": "desk",
        "fingerprint": "f1" * 32,
        "recipe": data_settings(recipe),
        "rows": {
            "read": 20,
            "kept": {"train": 12, "validation": 0, "test": 3},
            "rejected": {"exact_duplicate": 4, "broken_json": 1},
        },
        "inputs": [{"source": "a.csv", "bytes": 12345, "sha256": "ab" * 32}],
        "label_names": ["a", "b", "c"],
        "label_counts": {"train": {"a": 5, "b": 7}, "test": {"a": 3}},
        "merged_spellings": {"a": {"A": 2}},
        "statistics": statistics(),
        **changed,
    }


def written(tmp_path: Path, **changed: Any) -> str:
    write_report(manifest(**changed), tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Return the cells of every line of every table."""
    return [
        [" ".join(re.sub("<[^>]*>", "", cell).split()) for cell in re.split(r"</t[hd]>", line)[:-1]]
        for line in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    ]


def test_the_page_tells_all_that_was_counted(tmp_path: Path) -> None:
    text = written(tmp_path)
    lines = rows(text)
    for line in (
        ["repeats another row", "exact_duplicate", "4", "20%"],
        ["is no valid JSON", "broken_json", "1", "5%"],
        ["train", "12", "80%"],
        ["test", "5", "9", "30", "52", "80", "140", "220", "1,433"],
        ["all splits", "5", "9", "30", "52", "80", "140", "220", "1,433"],
        ["a.csv:9", "7"],
        ["EMAIL", "5"],
        ["a.csv", "12,345", "abababababab"],
        ["data.dedup.near", "0.8"],
        ["data.sources[0].split", "train"],
    ):
        assert line in lines, line
    words = " ".join(Page(text).words)
    assert "15 conversations, prepared with ftool 1.0; fingerprint f1f1f1f1f1f1" in words
    assert "7 examples, a sample, in tokens of tiny." in words
    assert "3 rows left train because they are in validation , test or eval.jsonl" in words
    assert "a takes in A (2)" in words


def test_the_cards_on_top(tmp_path: Path) -> None:
    def cards(**changed: Any) -> dict[str, tuple[str, str]]:
        found = re.findall(
            r"<li><span>(.*?)</span><b>(.*?)</b><span[^>]*>(.*?)</span>",
            written(tmp_path, **changed),
        )
        return {name: (value, note) for name, value, note in found}

    assert cards() == {
        "rows read": ("20", "1 source"),
        "examples kept": ("15", "75% of the rows"),
        "rejected": ("25%", "5 rows"),
        "labels": ("3", "1 without an example"),
        "near duplicates": ("0", "4 exact besides"),
        "personal data": ("6", "rows masked"),
    }
    sampled = {**manifest()["rows"], "rejected": {"not_sampled": 4, "broken_json": 1}}
    assert cards(rows=sampled)["rejected"] == ("5%", "4 more not sampled")
    assert cards(label_names=[])["labels"] == ("2", "an open set")
    left = {"personal_data": {"mode": "keep", "rows": 0, "counts": {}}}
    assert cards(statistics=statistics(**left))["personal data"][1] == "not looked for"
    without = {"seed": 1, "data": {"dedup": {"near": None}}}
    assert cards(recipe=without)["near duplicates"][1] == "not looked for"


def test_labels_are_sorted_and_the_picture_has_the_most_frequent(tmp_path: Path) -> None:
    counts = {f"label-{n:02}": n + 1 for n in range(77)}
    text = written(tmp_path, label_names=sorted(counts), label_counts={"train": counts})
    table = [line[0] for line in rows(text) if line[0].startswith("label-")]
    assert table == sorted(counts, reverse=True)
    drawn = re.findall(r"<text[^>]*>(label-\d+)</text>", text)
    assert drawn == table[:LABELS_DRAWN]
    assert f"the {LABELS_DRAWN} most frequent labels of 77" in text
    assert len(text.encode()) < 300_000


def test_a_last_bar_that_takes_in_the_longest_is_told(tmp_path: Path) -> None:
    told = "The last bar takes in all that are longer."
    assert told not in written(tmp_path)
    lengths = statistics()["characters"]["train"] | {"edges": [0, 20, 200]}
    assert told in written(tmp_path, statistics=statistics(characters={"train": lengths}))


def test_a_declared_label_without_examples_is_in_the_table(tmp_path: Path) -> None:
    assert ["c", "0", "0", "0", "0%"] in rows(written(tmp_path))


def test_a_split_keeps_its_colour(tmp_path: Path) -> None:
    text = written(tmp_path, statistics={})
    assert "#009e73" in text, "the colour of test"
    assert "#e69f00" not in text, "the colour of validation, which is empty"


def test_nothing_is_fetched_and_only_our_script_may_run(tmp_path: Path) -> None:
    text = written(tmp_path)
    page = Page(text)
    outside = [
        value
        for tag, attributes in page.seen
        for name, value in attributes.items()
        if name.removeprefix("xlink:") in {"src", "href"} and not str(value).startswith("#")
    ]
    assert outside == []
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = b64encode(sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for t, a in page.seen if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert f"script-src 'sha256-{allowed}'" in policy and "default-src 'none'" in policy


NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "x" * 5000,
    "{{ 7 * 7 }}",
    "🎉 مرحبا \u202e$x$",
    "@0@ & \x00",
    "",
)


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_names_of_others_never_act(tmp_path: Path, name: str) -> None:
    text = written(
        tmp_path,
        label_names=[name],
        label_counts={"train": {name: 15}},
        inputs=[{"source": name, "bytes": 1, "sha256": "ab" * 32}],
        merged_spellings={name: {name: 1}},
        recipe={"seed": 1, "data": {"system": name, "label_names": [name]}},
        statistics=statistics(
            languages={"rows": 1, "counts": {name: 1}},
            contamination={"rows": 0, "against": [name]},
            personal_data={"mode": "drop", "rows": 1, "counts": {name: 1}},
            duplicates={"exact": 1, "near": 1, "clusters": [{"kept": name, "rows": 2}]},
        ),
    )
    page = Page(text)
    assert [tag for tag, _ in page.seen].count("script") == 1
    assert "img" not in {tag for tag, _ in page.seen}
    assert not any(key.startswith("on") for _, attributes in page.seen for key in attributes)
    assert "\x00" not in text and "\u202e" not in text
    shown = " ".join(re.sub("[\x00\u202e]", " ", name).split()) or "(empty)"
    assert sum(shown in words for words in page.words) >= 3


@settings(max_examples=10, deadline=None)
@given(st.text(max_size=80))
def test_any_label_gives_a_sound_page(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    text = written(tmp_path_factory.mktemp("page"), label_counts={"train": {name: 15}})
    assert [tag for tag, _ in Page(text).seen].count("script") == 1


def test_the_same_manifest_gives_the_same_bytes(tmp_path: Path) -> None:
    first = written(tmp_path)
    assert written(tmp_path) == first
    backwards = {
        split: dict(reversed(c.items())) for split, c in manifest()["label_counts"].items()
    }
    assert written(tmp_path, label_counts=backwards) == first


def test_what_was_not_counted_has_no_section(tmp_path: Path) -> None:
    empty = {
        "characters": {},
        "tokens": None,
        "turns": {},
        "languages": None,
        "duplicates": {"exact": 0, "near": 0, "clusters": [], "similarity": {"counts": []}},
        "contamination": {"rows": 0, "against": []},
        "personal_data": {"mode": "mask", "rows": 0, "counts": {}},
    }
    for found in (empty, {}, None):
        text = written(tmp_path, kind="text", label_names=[], label_counts={}, statistics=found)
        Page(text)
        assert not re.search("<h2>(Lengths|Labels|Languages)", text)
        assert "<script" not in text and "<tbody>\n</tbody>" not in text
        assert "15 texts" in text
    without = manifest()
    del without["statistics"]
    write_report(without, tmp_path / "report.html")


def test_nothing_was_rejected(tmp_path: Path) -> None:
    kept = {"train": 1, "validation": 0, "test": 0}
    text = written(tmp_path, rows={"read": 1, "kept": kept, "rejected": {}}, statistics={})
    assert "No row was rejected." in text


def test_turns_are_a_picture_or_a_sentence(tmp_path: Path) -> None:
    assert "Conversations by number of messages." in written(tmp_path)
    alike = written(tmp_path, statistics=statistics(turns={"2": 15}))
    assert "Every conversation has 2 messages." in alike
    many = written(tmp_path, statistics=statistics(turns={str(n): n for n in range(1, 31)}))
    names = re.findall(r"<text[^>]*>([^<]*(?:messages?|more))</text>", many)
    assert names[0] == "1 message" and names[-2:] == ["15 messages", "16 or more"]
    assert f">{sum(range(16, 31))}<" in many


def test_rare_reasons_are_one_step_of_the_funnel(tmp_path: Path) -> None:
    removed = [[f"reason_{n:02}", -n] for n in range(1, 21)]
    steps = [["read", 300], *removed, ["kept", 90]]
    text = written(tmp_path, statistics=statistics(funnel=steps))
    names = re.findall(r"<text[^>]*>((?:reason|\d+ other)[^<]*)</text>", text)
    assert names == [*(f"reason {n:02}" for n in range(6, 21)), "5 other reasons"]
    assert ">\N{MINUS SIGN}15<" in text, "1 + 2 + 3 + 4 + 5"


def test_funnel_steps_without_statistics() -> None:
    found = funnel_steps(manifest(statistics=None))
    assert found == [("read", 20), ("exact_duplicate", -4), ("broken_json", -1), ("kept", 15)]


def test_words() -> None:
    assert in_words("empty_row") == "is blank"
    assert in_words("some_new_reason") == "some new reason"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0%"),
        (10, 10, "100%"),
        (1, 3, "33.3%"),
        (1, 10_000, "<0.1%"),
        (9_999, 10_000, ">99.9%"),
        (1, 0, "\N{EN DASH}"),
    ],
)
def test_share(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text
