import gzip
import io
from pathlib import Path

import pytest

from ftool.errors import DataError
from ftool.prepare.read.encoding import (
    MAX_LINE,
    detect_encoding,
    open_text,
    physical_lines,
    printable,
    text_of,
    unreadable,
)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"plain\n", "utf-8"),
        ("naïve\n".encode(), "utf-8"),
        ("\ufeffa".encode(), "utf-8-sig"),
        ("naïve".encode("utf-16"), "utf-16"),
        ("naïve".encode("utf-32"), "utf-32"),
        ("Zürich\nGenève\n".encode() + b"M\xfcnchen\n", "utf-8"),
    ],
)
def test_detect_encoding(tmp_path: Path, data: bytes, encoding: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(data)
    assert detect_encoding(file) == encoding


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Où est passée ma carte ? Elle a été expédiée à ma mère, c'est déjà réglé.\n"),
        ("cp1252", "Ich möchte mein Geld zurück, bitte überprüfen Sie die Überweisung.\n"),
        ("cp1252", "¿Dónde está mi tarjeta? La pedí hace más de una semana, señor.\n"),
        ("cp1251", "Где моя карта? Я жду уже две недели. Как отменить перевод?\n"),
        ("shift_jis", "カードが届きません。いつ届きますか。暗証番号を忘れました。\n"),
        ("gb18030", "我的卡在哪里。我已经等了两个星期。\n"),
    ],
)
def test_another_encoding_is_detected_where_most_lines_are_not_utf8(
    tmp_path: Path, encoding: str, text: str
) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress((text * 5).encode(encoding)))
    with open_text(file, detect_encoding(file)) as read:
        assert read.read() == text * 5


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_detected(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("prompt,label\nWo ist meine Karte? Wo?,a\n".encode(encoding))
    assert detect_encoding(file) == encoding
    file.write_bytes(b"a\0b\0c,\0\0\n" * 9)
    assert detect_encoding(file) == "utf-8", "zeros stand in either place"
    file.write_bytes(b"a,b\nc,d\0\n" * 9)
    assert detect_encoding(file) == "utf-8"


def test_undecodable_bytes_are_escaped_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"a\xff\xfeb")
    with open_text(file, "utf-8") as text:
        read = text.read()
    assert read == "a\udcff\udcfeb"
    assert unreadable(read) == ("undecodable_bytes", "byte 0xff at character 2")
    assert printable(read) == "a\\udcff\\udcfeb"


def test_cut_utf16_is_escaped_and_not_raised(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("ab".encode("utf-16") + b"c")
    with open_text(file, "utf-16") as text:
        assert text.read() == "ab\udc63"


def test_unknown_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for name in ("klingon", "utf-8\0"):
        with pytest.raises(DataError, match=f"`{name}` is not a known character encoding"):
            open_text(tmp_path / "a.txt", name)


def test_physical_lines_count_from_one_and_end_with_the_file() -> None:
    file = io.StringIO("a\n\r\nb\n\n", newline="")
    assert list(physical_lines(file)) == [(1, "a\n"), (2, "\r\n"), (3, "b\n")]
    assert list(physical_lines(io.StringIO(" "))) == []


def test_lines_of_a_stretch_go_on_counting_and_end_with_the_file_only() -> None:
    def lines(text: str, *, ends_file: bool) -> list[tuple[int, str]]:
        file = io.StringIO(text, newline="")
        return list(physical_lines(file, first=7, ends_file=ends_file))

    assert lines("a\n\n", ends_file=False) == [(7, "a\n"), (8, "\n")]
    assert lines("a\n\n", ends_file=True) == [(7, "a\n")]
    assert lines("a\rb\r\nc", ends_file=True) == [(7, "a\r"), (8, "b\r\n"), (9, "c")]
    assert lines("\n", ends_file=False) == [(7, "\n")]


def test_bytes_as_text_keep_their_line_ends() -> None:
    text = text_of(io.BytesIO("ü\r\nb\rc\n".encode() + b"\xff"), "utf-8")
    assert list(text) == ["ü\r\n", "b\r", "c\n", "\udcff"]


def test_half_a_character_is_no_undecodable_byte() -> None:
    for half in ("\ud800", "\udbff", "\udd00", "\udfff"):
        assert unreadable(f"a{half}") == (
            "lone_surrogate",
            "half of a character pair stands alone at character 2",
        )
    assert unreadable("a\udc80") == ("undecodable_bytes", "byte 0x80 at character 2")
    assert unreadable("😀") is None


def test_unreadable_texts() -> None:
    assert unreadable("fine") is None
    assert unreadable("a\0") == ("nul_byte", "at character 2")
    too_long = unreadable("a" * (MAX_LINE + 1))
    assert too_long is not None and too_long[0] == "line_too_long"
