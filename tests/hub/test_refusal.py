import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from ftool.errors import HubError, RecipeError
from ftool.hub.refusal import hub_errors


def refused(status):
    request = httpx2.Request("POST", "http://127.0.0.1/api")
    return HfHubHTTPError("no", response=httpx2.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "what", "advice"),
    [
        (refused(401), "does not accept the token", "hf auth login"),
        (refused(403), "does not let this token write", "role write"),
        (refused(429), "too many requests", "run the same command again"),
        (refused(503), "trouble of its own", "run the same command again"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set", "--dry-run"),
        (ValueError("bad card"), "bad card", "correct what it names"),
        (ConnectionRefusedError("nobody there"), "was not reached", "check the network"),
    ],
)
def test_every_refusal_says_what_to_do(error, what, advice):
    with pytest.raises(HubError, match=what) as caught, hub_errors("me/model"):
        raise error
    assert caught.value.message.startswith("me/model: ")
    assert advice in caught.value.hint and caught.value.exit_code == 6


def test_our_own_refusals_pass():
    with pytest.raises(RecipeError), hub_errors("me/model"):
        raise RecipeError("mine")
