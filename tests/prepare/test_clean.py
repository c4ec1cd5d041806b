import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.example import Example, Message
from ftool.prepare.clean import clean, clean_text, clean_unicode, strip_html, strip_quoted_replies
from ftool.recipe.schema import Clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schÃ¶n", "schön"),
        ("e\u0301", "é"),
        ("AT&amp;T", "AT&T"),
        ("“quoted”", "“quoted”"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x07b\x00c\x7f\td", "abc\td"),
        ("10\u00a0000\u202f€", "10 000 €"),
        ("plain & simple", "plain & simple"),
    ],
)
def test_unicode(text: str, expected: str) -> None:
    assert clean_unicode(text) == expected


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
def test_html_auto(text: str, expected: str) -> None:
    assert clean_text(text, Clean()) == expected


def test_html_strip_and_keep() -> None:
    assert clean_text("a <b> c", Clean(html="strip")) == "a  c"
    assert clean_text("<p>a</p>", Clean(html="keep")) == "<p>a</p>"


def test_malformed_declaration_stays() -> None:
    text = "<![if !x]><p>a</p>"
    assert "a" in strip_html(text)


MAIL = """Thanks, that works.

On Mon, 3 Mar 2025 at 10:12, Support <help@example.org> wrote:
> Please try again.
>
> Kind regards

One more question?"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MAIL, "Thanks, that works.\n\n\nOne more question?"),
        ("Hi\n-----Original Message-----\nFrom: x\nold", "Hi"),
        ("Hi there\n-- \nJo\nAcme Inc.", "Hi there"),
        ("Hi there\n\nSent from my iPhone", "Hi there"),
        ("> quoted on purpose\nanswer", "> quoted on purpose\nanswer"),
        ("Sent from my iPhone", "Sent from my iPhone"),
        ("-- \nonly a signature", "-- \nonly a signature"),
        ("On Monday he wrote: pay now", "On Monday he wrote: pay now"),
    ],
)
def test_quoted_replies(text: str, expected: str) -> None:
    assert strip_quoted_replies(text).strip() == expected


def test_white_space_keeps_indentation() -> None:
    text = "\n\n  def f():  \n\n\n\n    return 1\t\n\n"
    assert clean_text(text, Clean()) == "def f():\n\n    return 1"


def test_who_is_cleaned_of_what() -> None:
    mail = "Hi <p>\n-- \nJo"
    example = Example(
        id="a",
        messages=(
            Message("user", mail),
            Message("assistant", mail),
            Message("tool", mail),
            Message("assistant", "a_b "),
        ),
        label="a_b ",
    )
    cleaned = clean(example, Clean())
    assert [message.content for message in cleaned.messages] == ["Hi", "Hi\n\n--\nJo", mail, "a_b"]
    assert cleaned.label == cleaned.completion == "a_b"
    assert clean(Example(id="a", text=" x "), Clean()).text == "x"


@pytest.mark.parametrize(
    "text",
    ["<b>" * 50_000, " " * 200_000 + "x", "Sent from my " + "a" * 100_000 + "\nx", "<" * 100_000],
)
def test_long_hostile_texts_take_no_time(text: str) -> None:
    clean_text(text, Clean(), by_user=True)


@given(st.text(alphabet=st.sampled_from("<>!/[]-&;ab p\n\"'=é")))
def test_any_text_can_be_cleaned_and_once_is_enough_for_white_space(text: str) -> None:
    settings = Clean(html="strip")
    cleaned = clean_text(text, settings, by_user=True)
    assert cleaned == cleaned.strip()
    assert "\n\n\n" not in cleaned
