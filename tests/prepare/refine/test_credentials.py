import random
import string

import pytest

from ftool.prepare.refine.credentials import TOKENS, is_sample
from ftool.prepare.refine.redact import find_personal_data


def secrets(text: str) -> list[str]:
    return [text[f.start : f.end] for f in find_personal_data(text) if f.kind == "SECRET"]


def invented(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    """Random, so that no key of anybody stands in this file."""
    dice = random.Random(length)
    return "".join(dice.choice(letters) for _ in range(length))


CAPITALS = string.ascii_uppercase + string.digits
KEYS = {
    "AKIA": "AKIA" + invented(16, CAPITALS),
    "ASIA": "ASIA" + invented(16, CAPITALS),
    **{prefix: prefix + invented(36) for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")},
    "github_pat_": "github_pat_" + invented(40),
    "glpat-": "glpat-" + invented(20),
    "xox": "xox" + "b-" + invented(24),
    "sk_live_": "sk_live_" + invented(24),
    "rk_live_": "rk_live_" + invented(24),
    "sk-": "sk-proj-" + invented(40),
    "hf_": "hf_" + invented(34),
    "AIza": "AIza" + invented(35),
    "npm_": "npm_" + invented(36),
    "pypi-": "pypi-" + invented(60),
    "SG.": "SG." + invented(22) + "." + invented(43),
}


def test_every_prefix_is_tried() -> None:
    assert KEYS.keys() == TOKENS.keys()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys_by_their_prefix(key: str) -> None:
    assert secrets(f"the key {key} leaked") == [key]
    assert secrets(f"word{key}") == []


@pytest.mark.parametrize(
    "text",
    ["ghp_" + "x" * 36, "sk-learn-0-24-documentation-of-every-page", "hf_short", "AKIAIOSFODNN7"],
)
def test_what_only_begins_like_a_key(text: str) -> None:
    assert secrets(text) == []


def test_web_token() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + invented(43)
    assert secrets(f"cookie {token};") == [token]
    assert secrets(token.replace("eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJ!!!")) == []
    assert secrets("eyJxxxxxxx.eyJyyyyyyy." + invented(43)) == []


@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "EC "])
def test_private_key(kind: str) -> None:
    body = "\n".join(invented(64 - place) for place in range(3))
    begin, end = f"-----BEGIN {kind}PRIVATE KEY-----", f"-----END {kind}PRIVATE KEY-----"
    assert secrets(f"mine: {begin}\n{body}\n{end} ok") == [f"{begin}\n{body}\n{end}"]
    assert secrets(f"cut: {begin}\n{body}") == [f"{begin}\n{body}"]
    assert secrets(f"{begin} is how it begins") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password: hunter2", "hunter2"),
        ("Password is Hunter2!", "Hunter2!"),
        ("my password is hunter2.", "hunter2"),
        ("the PIN: 4821", "4821"),
        ("pwd=p@ssword", "p@ssword"),
        ('{"api_key": "a1b2c3d4e5"}', "a1b2c3d4e5"),
        ("DB_PASSWORD='x9_long'", "x9_long"),
        ("aws_secret_access_key = wJalr7XUtn", "wJalr7XUtn"),
        ("passwort: geheim12", "geheim12"),
        ("mot de passe : sesame99", "sesame99"),
        ("?token=a1b2c3d4&next=x1", "a1b2c3d4"),
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef"),
        ("see https://user:hunter2@example.com/x", "user:hunter2"),
    ],
)
def test_values_of_secrets(text: str, value: str) -> None:
    assert secrets(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "password is incorrect.",
        "password: forgotten",
        "Password: ********",
        "password: <password>",
        "password: [SECRET_1]",
        "password=$DB_PASSWORD1",
        "password: {{password1}}",
        "api_key=YOUR_API_KEY1",
        "token: string",
        "token = tokens[3]",
        "max_tokens: 4096",
        "token: 123456",
        "password = getpass1()",
        "secret = settings.module1.value",
        "key: value1",
        "reset my PIN, please",
        "shopping: list2024",
        "password is https://example.com/1",
        "bypassword: hunter2",
    ],
)
def test_words_placeholders_and_code_stay(text: str) -> None:
    assert secrets(text) == []


SAMPLES = [
    *("user@example.com", "me@shop.example", "admin@localhost", "jo@mail.test"),
    *("YOUR_API_KEY", "sk-xxxx", "<your-token>", "AKIAIOSFODNN7EXAMPLE", "changeme", "test1234"),
    *("sk-1234567890abcdef1234567890abcdef", "abc123", "user:password", "root:root"),
    *("203.0.113.7", "2001:db8::1", "+1 212 555 0123", "4111 1111 1111 1111"),
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
]
NO_SAMPLES = [
    *("anna@kunde.de", "jo@example.com.evil.io", "hunter2!", "Tr0ub4dor", "app:Tr0ub4dor"),
    *("81.2.69.160", "192.168.0.12", "+44 20 7123 9876", "mytestserver#99x", "!!!"),
    KEYS["ghp_"],
    KEYS["AKIA"],
    KEYS["sk-"],
]


@pytest.mark.parametrize("value", SAMPLES)
def test_samples(value: str) -> None:
    assert is_sample(value)


@pytest.mark.parametrize("value", NO_SAMPLES)
def test_what_may_be_somebodys(value: str) -> None:
    assert not is_sample(value)
