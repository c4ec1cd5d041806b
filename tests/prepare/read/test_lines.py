from time import perf_counter
from typing import Any

import pytest

from ftool.prepare.read.lines import is_tabbed, read_lines

TEXTS = ["where is my parcel", "it never came, sorry", "cancel the order now", "pay me back today"]


def found(text: str) -> list[dict[str, Any]] | None:
    rows = read_lines(text)
    return None if rows is None else [record for _, record in rows]


def labelled(form: str) -> str:
    return "".join(form.format(text, "ab"[n % 2]) + "\n" for n, text in enumerate(TEXTS))


@pytest.mark.parametrize("form", ["{}\t{}", "{}@{}", "{}~{}", "{}|{}"])
def test_a_text_and_its_label(form: str) -> None:
    expected = [{"text": text, "label": "ab"[n % 2]} for n, text in enumerate(TEXTS)]
    assert found(labelled(form)) == expected


def test_a_label_and_its_text() -> None:
    assert found(labelled("{1}\t{0}")) == [
        {"label": "ab"[n % 2], "text": text} for n, text in enumerate(TEXTS)
    ]


def test_fasttext() -> None:
    assert found(labelled("__label__{1} {0}")) == [
        {"text": text, "label": "ab"[n % 2]} for n, text in enumerate(TEXTS)
    ]
    assert found("__label__a __label__b one two\n" * 3) == [
        {"text": "one two", "label": ["a", "b"]} for _ in range(3)
    ]


def test_numbers_are_labels_and_other_line_ends_are_text() -> None:
    text = "".join(f"a sentence {name}\x85 goes on\t{n % 2}\r\n" for n, name in enumerate("abcdef"))
    rows = found(text) or []
    assert len(rows) == 6
    assert rows[0] == {"text": "a sentence a\x85 goes on", "label": "0"}


def test_questions_and_answers_at_tabs() -> None:
    text = "".join(f"{one}?\tthe answer to {one}\n" for one in TEXTS)
    assert (found(text) or [])[0] == {
        "prompt": f"{TEXTS[0]}?",
        "completion": f"the answer to {TEXTS[0]}",
    }
    blocks = "".join(f"{one}?\tthe answer to {one}\nand {one}\tyes, {one}\n\n" for one in TEXTS)
    rows = found(blocks) or []
    assert len(rows) == len(TEXTS)
    assert rows[0]["messages"][1] == [f"and {TEXTS[0]}", f"yes, {TEXTS[0]}"]


@pytest.mark.parametrize(
    ("q", "a"), [("Q:", "A:"), ("Question:", "Answer:"), ("\u95ee\uff1a", "\u7b54\uff1a")]
)
def test_questions_and_answers_by_their_first_word(q: str, a: str) -> None:
    text = f"# FAQ\n\n{q} one\n{a} 1\nand more\n\n{q} two\n{q} three\n{a} 23\n"
    assert found(text) == [
        {"question": "one", "answer": "1\nand more"},
        {"question": "two", "answer": "23"},
        {"question": "three", "answer": "23"},
    ]


def test_a_label_in_front_of_its_text() -> None:
    text = "".join(f"{('yes', 'no')[n % 2]} it is number {n}\n" for n in range(60))
    assert (found(text) or [])[:2] == [
        {"label": "yes", "text": "it is number 0"},
        {"label": "no", "text": "it is number 1"},
    ]
    words = ["the", "a", "an", "it", "is"] * 12
    assert found("".join(f"{word} {n} of prose\n" for n, word in enumerate(words))) is None
    assert found("- one point more\n- two\n" * 60) is None


def test_transcripts() -> None:
    first = [{"role": "user", "content": "q\nmore"}, {"role": "bot", "content": "a"}]
    second = [{"role": "user", "content": "r"}, {"role": "bot", "content": "b"}]
    expected = [{"messages": first}, {"messages": second}]
    assert found("---\nno. 1\nUser: q\nmore\n\nBot: a\n---\nUser: r\nBot: b\n") == expected
    assert found("User: q\nmore\nBot: a\n\nUser: r\nBot: b\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one line",
        "A book.\n\nIt has chapters: one, two.\nAnd a last line.\n",
        "# Notes\n\n- a: b\n- c: d\n- e: f\n",
        "Note: this is prose.\nIt goes on; and on.\nThe end.\n",
        "A: first point\nB: second point\nC: third point\n",
        "user: nobody answers\nuser: still nobody\nuser: bye\n",
        "mail me@x.example now\nno sign here\nnor here\n",
    ],
)
def test_prose_is_no_pattern(text: str) -> None:
    assert found(text) is None


def test_a_table_without_a_header() -> None:
    assert (
        is_tabbed("a\tb\tc\n" * 4)
        and not is_tabbed("a\tb\n" * 4)
        and not is_tabbed("a\tb\tc\nd\n" * 4)
    )
    assert found("".join(f"{one}\tx\ty\n" for one in TEXTS)) is None


def test_a_label_without_a_text_is_no_label_and_text() -> None:
    assert found("__label__spam\n__label__ham\n__label__spam\n") is None


def test_many_dashes_are_looked_at_once() -> None:
    start = perf_counter()
    found("User: " + "-" * 200_000 + " x\nBot: a\nUser: b\nBot: c\n")
    assert perf_counter() - start < 5


def test_a_header_is_no_example() -> None:
    lines = "".join(f"where is parcel {n} now\t{'ab'[n % 2]}\n" for n in range(60))
    rows = found("text\tlabel\n" + lines) or []
    assert rows[0] == {"text": "where is parcel 0 now", "label": "a"} and len(rows) == 60
