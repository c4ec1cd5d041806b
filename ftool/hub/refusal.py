"""What the Hub and the network refuse, in ftool's words."""

from collections.abc import Iterator
from contextlib import contextmanager

# The client re-exports the error of its HTTP library, whose name differs between its versions.
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from ftool.errors import FtoolError, HubError

AGAIN = "run the same command again; what has arrived is not sent twice"
ADVICE = {
    400: ("refuses the content", "correct what it names (hub.license, label names) and push again"),
    401: (
        "does not accept the token",
        "run: hf auth login --force (a HF_TOKEN in the environment wins over it)",
    ),
    402: ("wants a paid plan for this", "push to a public repository or to another owner"),
    403: (
        "does not let this token write there",
        "use a token with the role write, or a repository of your own",
    ),
    404: ("has no such repository, or hides it from this token", "check --repo and the token"),
    409: ("is busy with another change of it", f"wait a moment and {AGAIN}"),
    412: ("has a newer commit of somebody else", AGAIN),
    429: ("got too many requests of this account", f"wait some minutes and {AGAIN}"),
}
"""Status code -> what the Hub does, and what to do about it."""


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Translate every error of the Hub's client into a HubError that says what to do.

    Raises:
        HubError: the Hub refused, or it was not reached.
    """
    try:
        yield
    except FtoolError:
        raise
    except HfHubHTTPError as error:
        raise _refused(error, repo) from error
    except LocalTokenNotFoundError as error:
        raise HubError(
            f"{repo}: no Hugging Face token was found, and pushing needs one",
            hint="run: hf auth login",
        ) from error
    except OfflineModeIsEnabled as error:
        raise HubError(
            f"{repo}: HF_HUB_OFFLINE is set, so the Hub is not asked",
            hint="unset HF_HUB_OFFLINE, or look at what would be pushed with --dry-run",
        ) from error
    except UnicodeError as error:
        raise HubError(f"{repo}: the token is not plain text", hint=ADVICE[401][1]) from error
    except ValueError as error:
        # This is how the client reports a card that the Hub refuses.
        raise HubError(f"{repo}: {_one_line(error)}", hint=ADVICE[400][1]) from error
    except (HTTPError, OSError, RuntimeError) as error:
        # hf_xet, which sends large files, raises the latter two.
        raise HubError(
            f"{repo}: the Hub was not reached ({_one_line(error)})",
            hint=f"check the network, HF_ENDPOINT and the proxy, then {AGAIN}",
        ) from error


def _refused(error: HfHubHTTPError, repo: str) -> HubError:
    status = error.response.status_code
    what, advice = ADVICE.get(status, ("refuses the request", AGAIN))
    if status >= 500:
        what, advice = "has trouble of its own", f"wait a moment and {AGAIN}"
    said = f": {' '.join(error.server_message.split())}" if error.server_message else ""
    return HubError(f"{repo}: the Hub {what} ({status}{said})", hint=advice)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
