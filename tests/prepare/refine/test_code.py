import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.refine.code import code_spans, rewrite_prose, without_code


def code(text: str) -> list[str]:
    return [text[start:end] for start, end in code_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use `<br>` here", ["`<br>`"]),
        ("``a ` b`` and `c`", ["``a ` b``", "`c`"]),
        ("```html\n<a>\n```\nend", ["```html\n<a>\n```"]),
        ("~~~\na\n```\n~~~~ \nend", ["~~~\na\n```\n~~~~"]),
        ("````\n```\n````", ["````\n```\n````"]),
        ("- a\n  ```\n  x\n  ```", ["  ```\n  x\n  ```"]),
        ("`a`\n```\nnot closed `b", ["`a`", "```\nnot closed `b"]),
        ("I can`t and it doesn`t", []),
        ("a ` b", []),
        ("``` x ``` y", []),
        ("`a\nb`", []),
        ("a ~~~ b", []),
        ("no code", []),
    ],
)
def test_code(text: str, expected: list[str]) -> None:
    assert code(text) == expected


PARTS = st.sampled_from(
    ["`", "``", "```", "~~~", "\n", " ", "a", "1", "\U000f0000", "\U000f0001", "é"]
)


@given(st.lists(PARTS).map("".join))
def test_spans_are_in_order_and_what_is_not_rewritten_stays(text: str) -> None:
    position = 0
    for start, end in code_spans(text):
        assert position <= start < end <= len(text)
        position = end
    assert rewrite_prose(text, str) == text


@given(st.lists(PARTS).map("".join))
def test_prose_alone_is_rewritten(text: str) -> None:
    outside = "".join(
        text[end:start]
        for end, start in zip(
            [0, *(end for _, end in code_spans(text))],
            [*(start for start, _ in code_spans(text)), len(text)],
            strict=True,
        )
    )
    seen: list[str] = []
    rewrite_prose(text, lambda prose: seen.append(prose) or prose)
    if not {"\U000f0000", "\U000f0001"} & set(text):
        assert without_code(seen[0]) == outside


def test_code_goes_with_the_prose_around_it() -> None:
    assert rewrite_prose("a\n`b`\n`c`", lambda prose: prose.rpartition("\n")[0]) == "a\n`b`"
