from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.refine import html
from ftool.prepare.refine.clean import clean_text, clean_white_space
from ftool.prepare.refine.html import _by_selectolax, _by_standard_library, html_reader, strip_html
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Hello</p><p>world</p>", "Hello\nworld"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<div><style>p {x: 1}</style><b>bold</b> &lt;b&gt;</div>", "bold <b>"),
        ("<p>Dear <name>, a < b &amp; c</p>", "Dear <name>, a < b & c"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ('see <a href="x">this</a>', "see this"),
        ("a < b and c > d", "a < b and c > d"),
        ("Hello <name>, your <order_id>", "Hello <name>, your <order_id>"),
        ("List<i> or <b>", "List<i> or <b>"),
        ("<b>both</b>", "both"),
        ("use &lt;b&gt; for bold", "use <b> for bold"),
        ("I <3 you", "I <3 you"),
    ],
)
def test_html_auto(reader: str, text: str, expected: str) -> None:
    assert clean_text(text, Clean()) == expected


def test_html_strip_and_keep(reader: str) -> None:
    assert clean_text("a <b> c", Clean(html="strip")) == "a  c"
    assert clean_text("<p>a</p>", Clean(html="keep")) == "<p>a</p>"


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
