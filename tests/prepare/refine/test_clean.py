import time

import pytest
from ftfy import TextFixerConfig, fix_text
from hypothesis import given
from hypothesis import strategies as st

from ftool.example import Example, Message
from ftool.prepare.refine.clean import (
    _MAY_BE_DAMAGED,
    clean,
    clean_text,
    clean_unicode,
    strip_quoted_replies,
)
from ftool.recipe.blocks.data import Clean


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
        assert fix_text(text, TextFixerConfig(uncurl_quotes=False, explain=False)) == text


@pytest.mark.parametrize("letter", ISOLATED)
@pytest.mark.parametrize("around", ["{}", "a{}b", " {} ", "A{}B", "{}\n{}", "1{}2", "a{}.{} {}"])
def test_single_letters_are_whole(letter: str, around: str) -> None:
    text = around.replace("{}", letter)
    assert not _MAY_BE_DAMAGED.search(text)
    assert fix_text(text, TextFixerConfig(uncurl_quotes=False, explain=False)) == text


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
    assert clean_text(text, Clean(), by_user=True) == text


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
    padded = clean_text(text + "\n\n<", Clean(), by_user=False)
    assert padded.removesuffix("<").strip() == clean_text(text, Clean(), by_user=False)


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
