"""Tokens and passwords that must not be written down: what they look like, and text without them.

Tokens come from the environment or from `hf auth login`, and go nowhere else.
"""

import os
import re

WHERE = "tokens come from `hf auth login` or from HF_TOKEN in the environment"
MASK = "[secret]"
_TOKENS = (
    r"hf_(?:[a-z]+_)?[A-Za-z0-9]{16,}",
    r"sk-[A-Za-z0-9_-]{20,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"[sr]k_live_[A-Za-z0-9]{16,}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
)
_USER = r"(?<=://)[^\s/:@?#<>{}\[\]\"']{1,100}:[^\s/@?#\"']{1,200}(?=@)"
_QUERY = (
    r"(?<=[?&])(?:(?:access|auth|api|sas)[_-]?)?(?:token|key|sig|signature|password|secret)"
    r"=[^\s&\"']{4,}|(?<=[?&])X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=[^\s&\"']+"
)
SECRET = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_TOKENS)})|{_USER}|{_QUERY}")
"""A published beginning of a token, a user with a password or a signature in an address."""
SETTING = re.compile(
    r"(?:\w+_)?(?:password|passwd|passphrase|api_?key|access_?key|secret|secret_?key|private_?key"
    r"|credentials?)|(?:(?:use_)?(?:auth|hf|hub|push_to_hub|access|api|bearer|wandb|github)_)?token",
    re.IGNORECASE,
)
"""The whole name of a setting of other tools that holds a secret."""
VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD")
_SHORTEST = 8


def masked(text: str) -> str:
    """Return text without what looks like a secret and without the tokens of the environment."""
    for value in known_values():
        text = text.replace(value, MASK)
    return SECRET.sub(MASK, text)


def known_values() -> list[str]:
    """Return the tokens that this process was given by its environment."""
    values = (os.environ.get(name, "").strip() for name in VARIABLES)
    return [value for value in values if len(value) >= _SHORTEST]


def is_secret(text: str) -> bool:
    """Tell whether a text holds what looks like a secret, or a token of the environment."""
    return SECRET.search(text) is not None or any(value in text for value in known_values())
