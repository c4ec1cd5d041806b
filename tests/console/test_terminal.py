import json

import pytest

from ftool.console.terminal import clean, duration, escaped, title


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\x00c\x9b", "abc"),
        ("safe\u202eevil\u2066", "safeevil"),
        ("[bold]kept[/bold] :smile:", "[bold]kept[/bold] :smile:"),
        ("two\nlines é 日本 👩‍🔧", "two\nlines é 日本 👩‍🔧"),
        ("\ud800lone", "lone"),
    ],
)
def test_clean_removes_what_steers_a_terminal(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_escaped_text_has_the_same_value_as_json() -> None:
    value = "a\x1b[31m\x9bb\u202ec\nd é"
    text = escaped(json.dumps(value, ensure_ascii=False))
    assert text == r'"a\u001b[31m\u009bb\u202ec\nd é"'
    assert json.loads(text) == value


def test_a_title_is_one_safe_line(capsys: pytest.CaptureFixture[str]) -> None:
    title("a\x1b[2J\nb", "c\nd\x9b")
    assert capsys.readouterr().out == "a b  (c d)\n"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
