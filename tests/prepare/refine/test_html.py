from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.example import Example, Message
from ftool.prepare.refine import html
from ftool.prepare.refine.clean import clean, clean_white_space
from ftool.prepare.refine.html import (
    _by_selectolax,
    _by_standard_library,
    html_reader,
    is_html,
    strip_html,
)
from ftool.recipe.blocks.data import Clean

READERS = {"html.parser": _by_standard_library, "selectolax": _by_selectolax}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read HTML by one of the libraries."""
    if request.param == "selectolax":
        pytest.importorskip("selectolax")
    monkeypatch.setattr(html, "html_reader", lambda: request.param)
    return str(request.param)


def test_the_reader_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("selectolax")
    name = html_reader.__wrapped__
    assert name() == f"selectolax {version('selectolax')}"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert name() == "html.parser"


def mail(text: str, **settings: Any) -> str:
    messages = (Message("user", text), Message("assistant", "x"))
    return clean(Example(id="a", messages=messages), Clean(**settings))[0].messages[0].content


SURELY_HTML = [
    "<div><p>Hello,</p><p>where is my <b>order</b>?</p></div>",
    "<!DOCTYPE html>\n<html><head><title>x</title></head><body>Hi</body></html>",
    "<!-- a --> <html lang=en>",
    '<div dir="ltr">Hi,<div><br></div><div>it broke.</div></div>',
    "<p>How do I fix this?</p>\n<pre><code>f(&lt;b&gt;)</code></pre>",
    "<span style='x'>Where is it?</span>",
    "<table><tr><td>a<td>b</table>",
    "<p>Dear <name>, a < b</p>",
    "<ul><li>a<li>b</ul>",
]
MAIL_WITH_BREAKS = [
    "Hello,<br>my order is late.<br><br>Thanks, <b>Jo</b>",
    "A fine film.<br /><br />I <i>loved</i> it.",
]
NO_HTML = [
    "what does <br> do in my page?",
    'Why is my <div class="x">text</div> not centered?',
    "<br>",
    "should I write <br> or <p> or <br/>?",
    "do I write a<br>b or a<br/>b in HTML?",
    "List<String> x = new ArrayList<String>();",
    "Map<String, List<B>>",
    "<order><id>3</id></order>",
    "<note><to>Jo</to><body>Hi</body></note>",
    '<?xml version="1.0"?><p>x</p>',
    "<MyCard title='x'><p>a</p></MyCard>",
    "<div className='x'>a</div>",
    "<p>{{ name }}</p>",
    "<div v-if='x'>a</div>",
    "<button class='pay'>Pay</button>",
    "<form action='/x'><input name='a'></form>",
    'Fix this: <div class="a"><p>x</p></div>',
    "<b>bold</b> is what I want, how?",
    "if (a<b && c>d) x<br;",
    "see <https://example.org/x> and <jo@example.org>",
    "a < b and c > d",
    "#include <p>\n#include <br>",
]


@pytest.mark.parametrize("text", SURELY_HTML)
def test_mails_and_pages(text: str) -> None:
    assert is_html(text) and is_html(text, whole=True)


@pytest.mark.parametrize("text", MAIL_WITH_BREAKS)
def test_prose_with_tags_for_its_line_breaks(text: str) -> None:
    assert is_html(text) and not is_html(text, whole=True)


@pytest.mark.parametrize("text", NO_HTML)
def test_what_talks_of_tags_is_no_html(text: str) -> None:
    assert not is_html(text)
    assert mail(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Hello</p><p>world</p>", "Hello\nworld"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<div><style>p {x: 1}</style><b>bold</b> &lt;b&gt;</div>", "bold <b>"),
        ("<p>Dear <name>, a < b &amp; c</p>", "Dear <name>, a < b & c"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ('see <a href="x">this</a>', 'see <a href="x">this</a>'),
        ("a < b and c > d", "a < b and c > d"),
        ("Hello <name>, your <order_id>", "Hello <name>, your <order_id>"),
        ("List<i> or <b>", "List<i> or <b>"),
        ("<b>both</b>", "both"),
        ("use &lt;b&gt; for bold", "use &lt;b&gt; for bold"),
        ("I <3 you", "I <3 you"),
    ],
)
def test_html_auto(reader: str, text: str, expected: str) -> None:
    assert mail(text) == expected


def test_html_strip_and_keep(reader: str) -> None:
    assert mail("a <b> c", html="strip") == "a  c"
    assert mail("<p>a</p>", html="keep") == "<p>a</p>"


def test_malformed_declaration_stays(reader: str) -> None:
    text = "<![if !x]><p>a</p>"
    assert "a" in strip_html(text)


TEXTS = st.text(alphabet=st.sampled_from("ab é<>&;/!-\n\"'=3"), max_size=12)


def shown(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


PAGES = st.recursive(
    TEXTS.map(shown) | st.sampled_from(("<br>", "<hr>", "<br/>", "<!-- x -->", "<name>")),
    lambda inner: st.tuples(
        st.sampled_from(("div", "blockquote", "ul", "b", "span", "i", "style", "section")),
        st.lists(inner, max_size=4).map("".join),
    ).map(lambda part: f'<{part[0]} class="x">{part[1]}</{part[0]}>'),
    max_leaves=12,
)


@given(PAGES)
def test_both_readers_find_the_same_text(page: str) -> None:
    pytest.importorskip("selectolax")
    found = {name: clean_white_space(read(f"<div>{page}</div>")) for name, read in READERS.items()}
    assert found["selectolax"] == found["html.parser"]


@given(st.text(alphabet=st.sampled_from("ab <>&;/!-?\n\"'=[]") | st.characters(), max_size=60))
def test_broken_html_is_never_an_error(text: str) -> None:
    pytest.importorskip("selectolax")
    for read in READERS.values():
        assert isinstance(read(f"<p>kept</p>{text}"), str)
        assert read(f"<p>kept</p>{text}").strip().startswith("kept")


def test_no_nesting_is_too_deep(reader: str) -> None:
    assert strip_html("<div>" * 50_000 + "a" + "</div>" * 50_000).strip() == "a"
