import time
from typing import Any

import pytest
from ftfy import TextFixerConfig, fix_text
from hypothesis import given
from hypothesis import strategies as st

from ftool.example import Example, Message
from ftool.prepare.refine.clean import (
    _FTFY,
    _MAY_BE_DAMAGED,
    clean,
    clean_unicode,
    plain_spaces,
    strip_quoted_replies,
)
from ftool.recipe.blocks.data import Clean


def mail(text: str, **settings: Any) -> str:
    """Return what a user's message becomes."""
    messages = (Message("user", text), Message("assistant", "x"))
    return clean(Example(id="a", messages=messages), Clean(**settings))[0].messages[0].content


def answer(text: str, **settings: Any) -> str:
    """Return what an answer becomes."""
    messages = (Message("user", "x"), Message("assistant", text))
    return clean(Example(id="a", messages=messages), Clean(**settings))[0].messages[1].content


def document(text: str, **settings: Any) -> str:
    """Return what a text of a corpus becomes."""
    return clean(Example(id="a", text=text), Clean(**settings))[0].text or ""


def rules(example: Example, **settings: Any) -> set[str]:
    return set(clean(example, Clean(**settings))[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schÃ¶n", "schön"),
        ("e\u0301", "é"),
        ("AT&amp;T", "AT&amp;T"),
        ("“quoted”", "“quoted”"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x07b\x00c\x7f\td", "abc\td"),
        ("10\u00a0000\u202f€", "10\u00a0000\u202f€"),
        ("か\u3099", "が"),
        ("\u1112\u1161\u11ab", "한"),
        ("cafe\u0301 cafÃ©", "café café"),
        ("plain & simple", "plain & simple"),
        ("Größe \u2013 “schön”, é", "Größe \u2013 “schön”, é"),
        ("Größe und schÃ¶n", "Größe und schön"),
        ("für \x1b[31mrot\x1b[0m", "für rot"),
    ],
)
def test_unicode(text: str, expected: str) -> None:
    assert clean_unicode(text) == expected


ISOLATED = "äöüßÄÖÜàâçéèêëîïôùûñáíóúÉ€\u2013\u2014\u2019“”…"


@given(st.text(alphabet=st.sampled_from(ISOLATED + " aeiouAEOUnsc.,1~'\"\n#;=-")))
def test_what_is_taken_for_whole_is_whole(text: str) -> None:
    """Texts that never reach ftfy are those that it would not change."""
    if not _MAY_BE_DAMAGED.search(text):
        assert fix_text(text, TextFixerConfig(**_FTFY)) == text


@pytest.mark.parametrize("letter", ISOLATED)
@pytest.mark.parametrize("around", ["{}", "a{}b", " {} ", "A{}B", "{}\n{}", "1{}2", "a{}.{} {}"])
def test_single_letters_are_whole(letter: str, around: str) -> None:
    text = around.replace("{}", letter)
    assert not _MAY_BE_DAMAGED.search(text)
    assert fix_text(text, TextFixerConfig(**_FTFY)) == text


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


@pytest.mark.parametrize(
    "announced",
    [
        "On Mon, 3 Mar 2025 at 10:12, Support <help@example.org> wrote:",
        "On Mon, 3 Mar 2025 at 10:12, Support Team of Acme\n<help@example.org> wrote:",
        "On Mon, 3 Mar 2025\nat 10:12, Support Team of Acme\n<help@example.org> wrote:",
        "Am Mo., 3. März 2025 um 10:12 Uhr schrieb Hilfe <hilfe@example.org>:",
        "Am 03.03.2025 um 10:12 schrieb Hilfe:",
        "Le lun. 3 mars 2025 à 10:12, Aide <aide@example.org> a écrit :",
        "El lun, 3 mar 2025 a las 10:12, Ayuda (<ayuda@example.org>) escribió:",
        "Op ma 3 mrt 2025 om 10:12 schreef Hulp <hulp@example.org>:",
        "Op 3 mrt. 2025, om 10:12 heeft Hulp geschreven; schreef Hulp:",
        "-----Original Message-----\nFrom: Support",
        "----- Ursprüngliche Nachricht -----\nVon: Hilfe",
        "-----Message d'origine-----",
        "-----Mensaje original-----",
        "-----Oorspronkelijk bericht-----",
        "From: Support <help@example.org>\nSent: Monday, 3 March 2025\nTo: Jo\nSubject: Order",
        "*From:* Support\n*Date:* Monday\n*To:* Jo\n*Subject:* Order",
        "________________________________\nFrom: Support\nSent: Monday\nTo: Jo\nSubject: Order",
        "Von: Hilfe\nGesendet: Montag, 3. März 2025\nAn: Jo\nBetreff: Bestellung",
        "De : Aide\nEnvoyé : lundi 3 mars 2025\nÀ : Jo\nObjet : commande",
        "De: Ayuda\nEnviado el: lunes, 3 de marzo de 2025\nPara: Jo\nAsunto: pedido",
        "Van: Hulp\nVerzonden: maandag 3 maart 2025\nAan: Jo\nOnderwerp: bestelling",
    ],
)
@pytest.mark.parametrize("quoted", ["\nHello Jo,\nplease try again.", "> Hello Jo,\n> try again."])
def test_quotes_of_every_program(announced: str, quoted: str) -> None:
    mail = f"Thanks, that works.\n\n{announced}\n{quoted}"
    assert strip_quoted_replies(mail).strip() == "Thanks, that works."
    assert strip_quoted_replies(f"{announced}\n{quoted}") == f"{announced}\n{quoted}"


@pytest.mark.parametrize(
    "line",
    [
        "Sent from my iPhone",
        "Sent from my Samsung Galaxy smartphone.",
        "Sent from my iPhone, please excuse typos",
        "Sent from Mail for Windows",
        "Get Outlook for iOS<https://example.org/x>",
        "Von meinem iPhone gesendet",
        "Diese Nachricht wurde von meinem Android Mobiltelefon mit Mail gesendet.",
        "Gesendet von Mail für Windows",
        "Gesendet mit der Mail App",
        "Envoyé de mon iPhone",
        "Envoyé à partir d'Outlook pour iOS",
        "Enviado desde mi iPhone",
        "Verzonden vanaf mijn iPhone",
        "Verstuurd vanaf mijn iPad",
    ],
)
def test_lines_of_telephones_go(line: str) -> None:
    assert strip_quoted_replies(f"Where is my order?\n\n{line}\n").strip() == "Where is my order?"
    with_quote = f"Where is it?\n{line}\n\nOn 3 May 2025 10:12 Desk <a@example.org> wrote:\n> soon"
    assert strip_quoted_replies(with_quote).strip() == "Where is it?"


@pytest.mark.parametrize(
    "text",
    [
        "Where is it?\n\nBest regards,\nJo Miller",
        "It stopped.\nSent from my shop but never arrived, the parcel is what I ask about.",
        "Es geht nicht.\nVon meinem iPhone aus kann ich mich nicht anmelden.",
        "I chose this:\nFrom: Berlin\nTo: Paris\nSeat 7",
        "I chose this:\nFrom: Berlin\nSeat 7",
        "He was clear.\nOn Monday he wrote:\npay now",
        "Options:\n--\none\n--\ntwo",
        "Look at this:\n---------- Forwarded message ---------\nThe parcel is lost.",
        "Le magasin:\nLe vendeur a écrit ceci\nDe rien",
        "a\n-----\nb",
    ],
)
def test_what_only_looks_like_a_quote_stays(text: str) -> None:
    assert strip_quoted_replies(text) == text
    assert mail(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "On " + "a" * 100_000,
        "On a\n" * 20_000,
        "On a wrote:\n\n\n" * 8_000,
        "On a wrote:\n" + "\n" * 100_000,
        "From: a\nSent: b\n" * 8_000,
        "From: a\n" + " " * 100_000,
        "Am schrieb\n\n" * 8_000 + ":",
        "-- \n" * 25_000,
        "---" * 33_000,
        "\n" * 100_000,
        "x\nSent from my" + " a" * 50_000,
        "x\nGesendet von mein" + "em a" * 25_000,
        "é" * 100_000,
        "De : a\n" * 14_000,
    ],
)
def test_quotes_are_searched_in_linear_time(text: str) -> None:
    started = time.process_time()
    strip_quoted_replies(text)
    assert time.process_time() - started < 0.5


MAIL_LINES = [
    *("On 3 May 10:12 J wrote:", "Am 3.5. schrieb J:", "> q", "", "text", "-- ", "___"),
    *("From: a", "Sent: b", "To: c", "Sent from my iPhone", "-----Original Message-----"),
]


@given(st.lists(st.sampled_from(MAIL_LINES)))
def test_stripping_only_takes_whole_lines_away_and_leaves_something(lines: list[str]) -> None:
    text = "\n".join(lines)
    rest = iter(lines)
    stripped = strip_quoted_replies(text)
    assert all(line in rest for line in stripped.rstrip("\n").split("\n") if line)
    assert bool(stripped.strip()) == bool(text.strip())


@given(st.text(alphabet=st.sampled_from(" aB.,?'\"0-_:;/~\t\n\r>")))
def test_a_plain_line_is_cleaned_as_any_text(text: str) -> None:
    """The short way for plain lines and the long way by the first byte of markup agree."""
    assert mail(text + "\n\n<").removesuffix("<").strip() == mail(text).strip()
    assert answer(text + "\n\n<").removesuffix("<").rstrip() == answer(text)


FOLDED = [
    "\uff21\uff22\uff23\uff0c\uff08\uff11\uff09\uff01",  # wide letters and signs
    "早上九点\uff0c晚上八点关门\uff08周日休息\uff09\uff01",
    "\uff8a\uff9f\uff7f\uff7a\uff9d",  # narrow kana
    "\ufb01ne \ufb02ow, \u0133s",  # ligatures
    "&lt;b&gt; &amp; &nbsp;",
    "\u201ccurled\u201d \u2018quotes\u2019",
    "3 \u212a, 5 \u2126, 1 \u212b",  # Kelvin, Ohm, Angstrom
    "½ ² ™ …",
    "神\ufa19",
]


@pytest.mark.parametrize("text", FOLDED)
def test_what_is_no_damage_keeps_its_form(text: str) -> None:
    assert (mail(text), answer(text), document(text)) == (text, text, text)


@pytest.mark.parametrize(("text", "mended"), [("cafÃ©", "café"), ("â€œhiâ€\u009d", "“hi”")])
def test_damage_is_mended_everywhere_but_in_code(text: str, mended: str) -> None:
    for clean_as in (mail, answer, document):
        assert clean_as(text) == mended
        assert clean_as(f"{text} `{text}`") == f"{mended} `{text}`"


RIGHT = [
    "    total = a + b\n\n\n    return total",
    '<button class="pay">Pay</button>',
    "<div><p>Hello</p></div>",
    "A line  \nand a break\n\n\n\nthe end",
    "a\tb\n\tc",
    "10\u00a0000 €",
    " yes",
    "- a\n\n  - b\n\n\n- c",
    "On 3 May 10:12 Jo wrote:\n> hi",
    "```\nx  \n\n\n\ty\n```",
    "-- \nJo",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_the_assistant_says_is_right_as_it_stands(text: str) -> None:
    assert answer(text + " \n\t\n") == text
    system = (Message("system", text), Message("user", "x"), Message("assistant", "y"))
    assert clean(Example(id="a", messages=system), Clean())[0].messages[0].content == text
    earlier = (Message("user", "x"), Message("assistant", text), Message("user", "y"))
    example = Example(id="a", messages=(*earlier, Message("assistant", "z")))
    assert clean(example, Clean())[0] is example


PLAIN = st.characters(
    codec="utf-8",
    exclude_categories=("Cc", "Cs", "Co", "Cn", "Cf", "Zl", "Zp", "Mn"),
)


@given(
    st.text(alphabet=st.sampled_from("<>&;`~ \n\t-#*ab1='\"/|") | st.characters(max_codepoint=126))
)
def test_any_answer_in_plain_characters_passes(text: str) -> None:
    """ASCII cannot be damaged: only controls and what is behind the last sign may go."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(sign for sign in lines if sign.isprintable() or sign in "\t\n")
    found = "".join(sign for sign in answer(text) if sign.isprintable() or sign in "\t\n")
    if "\x1b" not in text:  # a terminal's sequence goes as a whole
        assert found.rstrip() == kept.rstrip()


@given(st.text(alphabet=PLAIN))
def test_any_answer_passes_that_is_not_damaged(text: str) -> None:
    if fix_text(text, TextFixerConfig(**_FTFY)) == text:
        assert answer(text) == text.rstrip()


@given(
    st.text(alphabet=st.sampled_from("<>&; \n\t-ab'\"/éÃ©\u00a0\x07ﬁ")),
    st.sampled_from(("```", "~~~~")),
)
def test_what_stands_in_a_fence_passes_byte_for_byte(code: str, fence: str) -> None:
    block = f"{fence}html\n{code}\n{fence}"
    for text in (f"Look:\n{block}", f"<p>Hello</p>\n\n{block}\n<p>Thanks</p>"):
        for clean_as in (mail, answer, document):
            assert block in clean_as(text)


def test_what_stands_around_code_is_judged_alone() -> None:
    block = "```html\n<p>x</p>\n```"
    assert mail(f"<p>Hello <b>you</b></p>\n{block}") == f"Hello you\n\n{block}"
    assert mail(f"why `<p>`?\n{block}") == f"why `<p>`?\n{block}"
    quoted = f"see\n{block}\n\nOn 3 May 10:12 Jo <a@example.org> wrote:\n> old `x`\n"
    assert mail(quoted) == f"see\n{block}"


def test_white_space_of_mail() -> None:
    text = "\n\n  def f():  \n\n\n\n    return 1\t\n\n"
    assert mail(text) == "  def f():  \n\n\n\n    return 1"
    assert mail("  Hello,  \n\n\n\nwhere is it?\n") == "Hello,\n\nwhere is it?"
    assert mail("\n  one line ") == "one line"
    assert mail("10\u00a0000\u202f€") == "10 000 €"
    assert plain_spaces("a\u2007b") == "a b"


def test_who_is_cleaned_of_what() -> None:
    mail = "<p>Hi</p>\n-- \nJo"
    example = Example(
        id="a",
        messages=(
            Message("user", mail),
            Message("assistant", mail),
            Message("tool", mail),
            Message("assistant", " a  b\n"),
        ),
        label=" a  b\n",
    )
    cleaned, changed = clean(example, Clean(html="strip"))
    contents = [message.content for message in cleaned.messages]
    assert contents == ["Hi", "Hi\n\n--\nJo", mail, "a b"]
    assert cleaned.label == cleaned.completion == "a b"
    assert changed == {"html", "quoted_replies", "white_space"}


def test_a_label_beside_an_answer_is_no_answer() -> None:
    messages = (Message("user", "x"), Message("assistant", "  two\n  lines "))
    cleaned, _ = clean(Example(id="a", messages=messages, label="a\n b"), Clean())
    assert (cleaned.label, cleaned.completion) == ("a b", "  two\n  lines")


@pytest.mark.parametrize(
    ("text", "expected", "changed"),
    [
        ("def f():\n\n\n    return 1  \n", "def f():\n\n\n    return 1", {"white_space"}),
        ("# A\n\n\n- x  \n  y", "# A\n\n\n- x  \n  y", set()),
        ("<html><body><p>a</p></body></html>", "a", {"html", "white_space"}),
        ("one<br>two<br>three", "one<br>two<br>three", set()),
        ("<p align=center>x</p>\n\n# Tool\nwords", "<p align=center>x</p>\n\n# Tool\nwords", set()),
        ("<p>x</p>\n```\n<b>\n```", "<p>x</p>\n```\n<b>\n```", set()),
        ("cafÃ©", "café", {"unicode"}),
        ("-- \nx", "-- \nx", set()),
    ],
)
def test_texts_of_a_corpus(text: str, expected: str, changed: set[str]) -> None:
    assert document(text) == expected
    assert rules(Example(id="a", text=text)) == changed


def test_what_nothing_changes_is_the_same_object() -> None:
    example = Example(id="a", messages=(Message("user", "hi"), Message("assistant", "<b>")))
    cleaned, changed = clean(example, Clean())
    assert cleaned is example and not changed


@pytest.mark.parametrize(
    "text",
    [
        *("<b>" * 50_000, " " * 200_000 + "x", "Sent from my " + "a" * 100_000 + "\nx"),
        *("<" * 100_000, "<!-- -->" * 20_000, "`a" * 50_000, "```\n" * 25_000, "``" * 50_000),
        *("a <br" * 20_000, "\n " * 50_000, "~~~\n" * 25_001, "{{" * 50_000),
    ],
)
def test_long_hostile_texts_take_no_time(text: str) -> None:
    started = time.process_time()
    for clean_as in (mail, answer, document):
        clean_as(text)
    assert time.process_time() - started < 3


@given(st.text(alphabet=st.sampled_from("<>!/[]-&;ab p\n\"'=é`~")))
def test_any_text_can_be_cleaned(text: str) -> None:
    for html in ("strip", "auto", "keep"):
        cleaned = mail(text, html=html)
        assert cleaned == cleaned.rstrip()
        assert cleaned or html != "keep" or not text.strip()
