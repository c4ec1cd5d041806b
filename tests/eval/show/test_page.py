import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftool.artifacts import Prediction
from ftool.eval.judge.findings import Columns, Findings, Rival, find, questions_of
from ftool.eval.measure.answers import answer_report
from ftool.eval.report import Report, label_comparison, label_report
from ftool.eval.show.page import Seen, write_page
from ftool.example import Example, Message
from ftool.recipe.blocks.eval import Eval

ATTACK = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


def example(key: str, text: str, label: str) -> Example:
    messages = (Message("user", text), Message("assistant", label))
    return Example(id=key, messages=messages, label=label, extra={"channel": ATTACK})


def steps() -> list[dict[str, Any]]:
    scores = {"loss": 1.0, "f1_macro": 0.5}
    return [
        {
            "step": n,
            "loss": 3 - n / 30,
            "validation": None if n % 20 else {"metrics": scores | {"f1_macro": n / 100}},
        }
        for n in range(1, 81)
    ]


def page(path: Path, labels: int, size: int, *, right: float = 0.8, text: str = "hello") -> Report:
    """Write the page of random answers and return its report."""
    generator = np.random.default_rng(1)
    names = [f"label_{n:02d}_with_quite_a_long_name" for n in range(labels - 1)] + [f"z{ATTACK}"]
    examples = [example(f"f.csv:{n}", f"{text} {n}", names[n % labels]) for n in range(size)]

    def answers(chance: float) -> list[Prediction]:
        return [
            Prediction(
                row.id,
                row.label,
                row.label if generator.random() < chance else names[generator.integers(labels)],
                "",
                probability=float(generator.random()),
                off_label=0.01,
                greedy=row.label,
            )
            for row in examples
        ]

    ours, theirs = answers(right), answers(0.3)
    base = label_comparison(
        ATTACK, [row.expected for row in theirs], [row.predicted for row in theirs], names
    )
    found = find(
        ours,
        examples,
        questions_of(Eval(), Columns(["channel"]), examples, names),
        label_names=names,
        rivals={"base": Rival(base, theirs)},
        train=examples[:2],
        steps=steps(),
    )
    report = label_report(ours, names, subject=ATTACK, split="test", mode="rank", inputs={})
    report = found.added_to(report.beside(base=base, floor=None))
    write_page(path, report, Seen(examples, ours, found, f"<|im_start|>user\n{ATTACK}"))
    return report


class Reader(HTMLParser):
    """Notes tags, ids and where links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(str(value))
            if name in ("href", "src", "action"):
                self.links.append(str(value))


def test_nothing_in_the_data_acts_and_nothing_is_loaded(tmp_path: Path) -> None:
    page(tmp_path / "report.html", 4, 60, text=ATTACK)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    read = Reader(text)
    assert read.tags.count("script") == 1
    assert not {"img", "link", "iframe", "object"} & set(read.tags)
    assert not {name for name in read.attributes if name.startswith("on")}
    assert all(link.startswith("#") for link in read.links)
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "&lt;script&gt;" in text
    assert "script-src 'sha256-" in text and "default-src 'none'" in text
    assert "&lt;|im_start|&gt;user" in text  # special tokens are visible


def test_every_number_of_the_matrix_leads_to_its_rows(tmp_path: Path) -> None:
    report = page(tmp_path / "report.html", 5, 200)
    read = Reader((tmp_path / "report.html").read_text(encoding="utf-8"))
    wrong = {
        f"#c-{row}-{column}"
        for row, numbers in enumerate(report.confusion)
        for column, number in enumerate(numbers)
        if number and row != column
    }
    assert set(read.links) == wrong and len(wrong) > 10
    assert {link.removeprefix("#") for link in read.links} <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)


def test_a_page_of_77_labels_is_small_whatever_is_wrong(tmp_path: Path) -> None:
    page(tmp_path / "good.html", 77, 1540, right=0.85, text="a message of usual length " * 3)
    page(tmp_path / "bad.html", 77, 924, right=0.0, text="a very long message " * 500)
    assert (tmp_path / "good.html").stat().st_size < 350_000
    assert (tmp_path / "bad.html").stat().st_size < 500_000
    page(tmp_path / "wide.html", 130, 200)
    text = (tmp_path / "wide.html").read_text(encoding="utf-8")
    assert 'class="matrix"' not in text and "<details id=" in text


def test_the_page_tells_every_finding(tmp_path: Path) -> None:
    report = page(tmp_path / "report.html", 4, 400)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in (
        "better than the base",
        "2 of 400 scored rows are in the train split too",
        f"{report.metrics['f1_macro'].value:.3f}",
        "calibration error (ECE)",
        "Fixed: the base had it wrong",
        "Broken: the base had it right",
        "Least certain",
        "nats per learned token",
        "<h2>Learning</h2>",
        "<h2>By channel</h2>",
    ):
        assert words in text, words
    assert text.count("<svg") == 4
    page(tmp_path / "again.html", 4, 400)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_a_perfect_or_open_report_has_a_page_too(tmp_path: Path) -> None:
    page(tmp_path / "perfect.html", 3, 30, right=1.1)
    assert "<h2>Confusions</h2>" not in (tmp_path / "perfect.html").read_text(encoding="utf-8")
    answers = [Prediction("x", "the answer", "an answer", "an answer")]
    report = answer_report(answers, subject="run", split="test", inputs={})
    write_page(tmp_path / "open.html", report, Seen([], answers, Findings(), ""))
    text = (tmp_path / "open.html").read_text(encoding="utf-8")
    assert "rouge_l" in text and "<h2>Labels</h2>" not in text


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="there is no browser here")
def test_a_browser_runs_nothing_of_the_data_and_reports_no_error(tmp_path: Path) -> None:
    report = page(tmp_path / "report.html", 4, 60, text=ATTACK)
    row, numbers = 3, report.confusion[3]
    column = next(place for place, number in enumerate(numbers) if number and place != row)
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom")
    address = f"file://{tmp_path}/report.html#c-{row}-{column}"
    done = subprocess.run(
        [str(BROWSER), *flags, f"--user-data-dir={tmp_path}/profile", address],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "CONSOLE" not in done.stderr  # errors, and what the content policy refused
    assert "<title>owned</title>" not in done.stdout
    opened = re.findall(rf'<details id="c-{row}-{column}"[^>]*>', done.stdout)
    assert ["open" in tag for tag in opened] == [True]  # the link opened its rows
