"""What a person reads when the Hub's client fails, and that no token is ever in it."""

from __future__ import annotations

import pytest

from isogloss.errors import GateRefused, HubError, UsageError
from isogloss.publish.hub import check_repo, hub_errors, without_token


class Response:
    """As much of an HTTP response as an error carries."""

    def __init__(self, status: int) -> None:
        self.status_code = status


class HttpError(OSError):
    """An error of the client: it has a response, and sometimes the server's words."""

    def __init__(self, status: int, said: str | None = None) -> None:
        super().__init__(f"{status} Client Error\n\nfor url")
        self.response, self.server_message = Response(status), said


def told(error: Exception, token: str | None = None) -> str:
    with pytest.raises(HubError) as caught, hub_errors("publishing to lab/x", token):
        raise error
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "hf auth login"),
        (403, "write access"),
        (412, "run the command again"),
        (429, "patience"),
        (503, "again later"),
    ],
)
def test_each_status_says_what_to_do(status: int, hint: str) -> None:
    text = told(HttpError(status, "no\nway"))
    assert text.startswith("publishing to lab/x failed: no way")
    assert hint in text
    assert "\n" not in text


def test_a_cause_is_told_too() -> None:
    def failing() -> None:
        try:
            raise HttpError(503, "bucket is full")
        except HttpError as error:
            raise RuntimeError("Error while uploading 'model.safetensors' to the Hub.") from error

    with pytest.raises(RuntimeError) as inner:
        failing()
    text = told(inner.value)
    assert "model.safetensors" in text
    assert "bucket is full" in text
    assert "again later" in text


def test_lost_connections_and_xet() -> None:
    assert "check the connection" in told(ConnectionError("refused"))
    assert "HF_HUB_DISABLE_XET=1" in told(ConnectionError("no route to xet-write-token"))


def test_tokens_are_blotted_out() -> None:
    token = "secret-of-another-form"
    text = told(ValueError(f"bad header Bearer abc.def {token} hf_{'a' * 34}"), token)
    for secret in ("abc.def", token, "hf_a"):
        assert secret not in text
    assert without_token("fine", None) == "fine"


def test_own_errors_and_bugs_pass_through() -> None:
    with pytest.raises(GateRefused), hub_errors("x"):
        raise GateRefused("no")
    with pytest.raises(KeyError), hub_errors("x"):
        raise KeyError("bug")
    with pytest.raises(KeyboardInterrupt), hub_errors("x"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "repo", ["name", "a/b/c", "lab/", "hf://lab/x", "lab/x@main", "lab/a--b", "lab/x.git", "../x"]
)
def test_a_repository_has_an_owner_and_a_name(repo: str) -> None:
    with pytest.raises(UsageError, match="ORG/NAME"):
        check_repo(repo)


def test_a_good_repository_is_itself() -> None:
    assert check_repo("Lab/pcm-mood_2.1") == "Lab/pcm-mood_2.1"
