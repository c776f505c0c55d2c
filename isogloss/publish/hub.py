"""The Hub's client, and what its errors mean to a person.

The client raises from three families (its own, its HTTP library's, and the builtins); here each
becomes one :class:`HubError` that says what to do. No token is ever in a message: whatever looks
like one, or is the one in use, is blotted out.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from isogloss.errors import HubError, IsoglossError, UsageError
from isogloss.refs import parse_hub_ref

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}|Bearer\s+\S+")
_XET_OFF = "type: export HF_HUB_DISABLE_XET=1"

_HINTS = {
    400: "the Hub doesn't accept it as it stands",
    401: "log in with a valid token: hf auth login",
    402: "the account needs a paid plan for this",
    403: "use a token with write access to the repository: hf auth login",
    404: "check the name, and that the token may see it",
    409: "it exists already, or something else is changing it; try again",
    412: "somebody else committed in the meantime; nothing was changed, run the command again",
    429: "the Hub asks for patience; run the command again in some minutes",
}


def check_repo(repo: str) -> str:
    """``repo`` itself, if it names a repository with its owner.

    Raises:
        UsageError: it doesn't have the form ``ORG/NAME``.
    """
    ref = parse_hub_ref(repo)
    bad = ref is None or ref.revision is not None or repo.startswith("hf://")
    if bad or "--" in repo or ".." in repo or repo.endswith((".git", "-", ".")):
        raise UsageError(f"{repo!r} is no repository", expected="ORG/NAME, as on the Hub")
    return repo


def client(endpoint: str, token: str | None) -> HfApi:
    """The Hub's client with a token, given or stored.

    Raises:
        HubError: there is no token.
    """
    from huggingface_hub import HfApi, get_token

    from isogloss import __version__

    found = token or get_token()
    if not found:
        raise HubError(
            "there is no token for the Hub",
            expected="one with write access",
            hint="type: hf auth login, or set HF_TOKEN",
        )
    return HfApi(
        endpoint=endpoint, token=found, library_name="isogloss", library_version=__version__
    )


@contextlib.contextmanager
def hub_errors(doing: str, token: str | None = None) -> Iterator[None]:
    """Turn what the client raises while ``doing`` into a HubError.

    >>> with hub_errors("reading org/name"):
    ...     raise ValueError("no")
    Traceback (most recent call last):
        ...
    isogloss.errors.HubError: reading org/name failed: no
    """
    try:
        yield
    except IsoglossError:
        raise
    except Exception as error:
        if not _expected(error):
            raise
        # The chain may hold request headers, so it is cut: the message tells what is needed.
        raise explained(error, doing, token) from None


def _expected(error: Exception) -> bool:
    """Whether the client, its HTTP library or the system raised it, and not a mistake of ours."""
    if isinstance(error, OSError | RuntimeError | ValueError):
        return True
    homes = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(homes & {"httpx", "httpx2", "httpcore", "httpcore2", "huggingface_hub", "hf_xet"})


def explained(error: BaseException, doing: str, token: str | None) -> HubError:
    """The HubError for one of the client's."""
    told = without_token(_first_words(error), token)
    status = status_of(error)
    if type(error).__name__ == "OfflineModeIsEnabled":
        hint = "unset HF_HUB_OFFLINE to publish"
    elif "xet" in str(error).lower():
        hint = f"if the endpoint has no Xet storage, {_XET_OFF}"
    elif status is not None and status >= 500:
        hint = "the Hub has trouble; run the same command again later"
    elif status is not None:
        hint = _HINTS.get(status, "")
    elif is_transport(error):
        hint = "check the connection and run the same command again"
    else:
        hint = ""
    return HubError(f"{doing} failed: {told}", hint=hint)


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error, through its causes; None where there is none."""
    at: BaseException | None = error
    while at is not None:
        response: Any = getattr(at, "response", None)
        if response is not None and hasattr(response, "status_code"):
            return int(response.status_code)
        at = at.__cause__
    return None


def is_transport(error: BaseException) -> bool:
    """Whether the answer of the server never came, so that what it did is unknown."""
    if status_of(error) is not None:
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "TimeoutError"})


def without_token(text: str, token: str | None) -> str:
    """``text`` with everything that is or looks like a token blotted out."""
    if token:
        text = text.replace(token, "…")
    return _TOKEN.sub("…", text)


def _first_words(error: BaseException) -> str:
    """The part of a message that a person needs: the server's own words, else the first line."""
    said = getattr(error, "server_message", None)
    if said:
        return " ".join(str(said).split())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:3]) or type(error).__name__
    cause = error.__cause__
    return f"{text} ({_first_words(cause)})" if cause and str(cause) not in text else text
