import io
from pathlib import Path

import pytest
from folders import write_dataset
from rich.console import Console

from ftool import console
from ftool.console import terminal as streams
from ftool.console.terminal import clean
from ftool.start.show import Piece, ShownExample


def test_a_dataset_shows_its_funnel_and_labels(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    console.show_dataset(write_dataset(tmp_path / "support"))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].endswith("support (chat, 2 labels)")
    assert lines[1:9] == [
        "read 1,500",
        "rejected 37",
        "repeated 30",
        "empty prompt 7",
        "kept 1,463",
        "train 1,200",
        "validation 150",
        "test 113",
    ]
    assert lines[10:] == [
        "label train validation test",
        "billing 700 100 113",
        "delivery 500 50 0",
    ]


def test_many_labels_are_cut_and_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    counts = {"train": {f"label{number}": number for number in range(1, 78)}}
    dataset = write_dataset(tmp_path, label_names=list(counts["train"]), label_counts=counts)
    console.show_dataset(dataset)
    out = capsys.readouterr().out
    assert "label77 " in out
    assert "label65 " not in out
    assert out.endswith("and 65 more; the rarest is label1 with 1 example\n")


def test_a_corpus_has_no_labels_to_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.show_dataset(write_dataset(tmp_path, kind="text", label_names=[], label_counts={}))
    assert "(text, 0 labels)" in capsys.readouterr().out


SHOWN = ShownExample(
    id="tickets\x1b[2J.csv:2",
    split="train",
    label="refund [x]",
    pieces=(
        Piece("<|user|>" + "word " * 40 + "\x1b[31m\r\n<|bot|>", False),
        Piece("[a]</s>", True),
    ),
    tokens=1234,
    learned_tokens=2,
    notes=("too\nlong",),
)


def test_examples_mark_what_is_learned_by_brackets_where_there_are_no_colours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.show_examples([SHOWN, SHOWN])
    legend, *blocks = capsys.readouterr().out.split("\n\n")
    assert legend == "legend: ⟦learned⟧, the rest is only given"
    assert len(blocks) == 2
    assert blocks[0].splitlines() == [
        "tickets.csv:2",
        "train, refund [x], 1,234 tokens, 2 learned",
        "<|user|>" + "word " * 40,
        "<|bot|>⟦[a]</s>⟧",
        "note: too long",
    ]


@pytest.mark.parametrize("colours", [True, False])
def test_examples_on_a_terminal_are_coloured_and_wrapped_between_words(
    monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = io.StringIO()
    fake = Console(
        file=text,
        force_terminal=True,
        width=80,
        markup=False,
        highlight=False,
        no_color=not colours,
    )
    monkeypatch.setattr(streams, "stdout", fake)
    console.show_examples([SHOWN])
    shown = text.getvalue()
    assert ("\x1b[1;32m[a]</s>\x1b[0m" in shown) == colours
    assert ("⟦[a]</s>⟧" in shown) != colours
    lines = clean(shown).splitlines()
    assert max(map(len, lines)) <= 80
    assert {word for line in lines[4:6] for word in line.split()} <= {"word", "<|user|>word"}
