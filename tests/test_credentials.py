import pytest

from ftool.credentials import MASK, SECRET, SETTING, is_secret, known_values, masked
from ftool.prepare.refine.credentials import TOKENS

KEYS = {
    "AKIA": "AKIA" + "Q7" * 8,
    "ASIA": "ASIA" + "Q7" * 8,
    "xox": "xoxb-" + "a1" * 10,
    "sk-": "sk-" + "a1" * 16,
    "AIza": "AIza" + "a1-_x" * 7,
    "npm_": "npm_" + "a1" * 18,
    "SG.": "SG." + "a1" * 11 + "." + "b" * 43,
    "pypi-": "pypi-" + "a1" * 25,
}


@pytest.mark.parametrize("start", TOKENS)
def test_every_key_that_is_masked_in_rows_is_a_secret(start: str) -> None:
    key = KEYS.get(start, start + "a1" * 18)
    assert SECRET.fullmatch(key)
    assert masked(f"see {key}, please") == f"see {MASK}, please"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf_oauth_" + "a1" * 10, MASK),
        ("https://joe:pw@host/x", f"https://{MASK}@host/x"),
        ("postgresql://joe:pw@db/x", f"postgresql://{MASK}@db/x"),
        ("https://host/x?a=b&token=abcd&c=d", f"https://host/x?a=b&{MASK}&c=d"),
        ("https://host/x?X-Amz-Signature=abcd", f"https://host/x?{MASK}"),
    ],
)
def test_what_opens_a_door_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert is_secret(text) and not is_secret(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("hf_hub_download", "hf://org/name", "sk-learn", "task-specific-keys", "joe@example.org"),
        *("https://host:8080/x", "https://host/x?page=12", "git@github.com:me/x.git", "AKIA"),
        *("0123456789abcdef0123456789abcdef01234567", "data/raw/*.csv", "runs/tiny:best@home"),
    ],
)
def test_what_opens_nothing_stays(text: str) -> None:
    assert masked(text) == text
    assert not is_secret(text)


@pytest.mark.parametrize(
    "name", ["token", "hf_token", "hub_token", "API_KEY", "wandb_api_key", "password", "db_secret"]
)
def test_settings_that_hold_secrets(name: str) -> None:
    assert SETTING.fullmatch(name)


@pytest.mark.parametrize("name", ["max_tokens", "eos_token", "pad_token", "keys", "max_new_tokens"])
def test_settings_that_hold_none(name: str) -> None:
    assert not SETTING.fullmatch(name)


def test_tokens_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "plain-words-of-a-token")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert known_values() == ["plain-words-of-a-token"]
    assert masked("it was plain-words-of-a-token.") == f"it was {MASK}."
    assert is_secret("xplain-words-of-a-tokenx")
    assert not is_secret("short")
