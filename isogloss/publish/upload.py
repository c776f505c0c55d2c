"""One commit, read back.

A repository is made private where there is none; what stands at its head is compared with what
is to stand there; one ``create_commit`` with the head as its parent brings the difference, or
nothing is sent where there is none. Then every file is downloaded into an empty folder and its
sha256 compared: the client itself never checks.

Nothing is retried that could commit twice. Where the answer to a commit is lost, the head is
looked at, and either holds what was sent or does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isogloss.errors import HubError
from isogloss.files import sha256_file
from isogloss.progress import Report, silent
from isogloss.publish.hub import hub_errors, is_transport
from isogloss.publish.payload import Upload, total_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_OURS = "provenance.json"
"""A file that tells a repository of ours from somebody else's."""
_HARMLESS = frozenset({".gitattributes", "README.md"})
"""What a repository made in a browser may hold before anything is published to it."""


class Head(NamedTuple):
    """What stands in a repository now."""

    commit: str
    private: bool
    files: dict[str, str]
    """Path -> sha256 of the content (LFS) or git's sha1 of it (regular files)."""


class Pushed(NamedTuple):
    """What became of an upload."""

    commit: str
    changed: bool
    pull_request: str | None


def read_head(api: HfApi, repo: str, revision: str | None) -> Head | None:
    """The head of a branch; None where there is no such repository.

    Raises:
        HubError: the Hub can't be asked, or the repository lacks the branch.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors(f"reading {repo}", _token(api)):
        try:
            info = api.model_info(repo, revision=revision, files_metadata=True)
        except RepositoryNotFoundError:
            return None
    files = {s.rfilename: s.lfs.sha256 if s.lfs else str(s.blob_id) for s in info.siblings or []}
    return Head(str(info.sha), bool(info.private), files)


def ensure_repo(api: HfApi, repo: str, revision: str | None) -> Head:
    """The head to commit on; a missing repository is made, private, and a missing branch too."""
    from huggingface_hub.errors import RevisionNotFoundError

    head = read_head(api, repo, None)
    if head is None:
        with hub_errors(f"making the repository {repo}", _token(api)):
            api.create_repo(repo, private=True, exist_ok=True)
        head = read_head(api, repo, None)
    if head is None:
        raise HubError(
            f"{repo} can't be seen after it was made", hint="check what the token may read"
        )
    if revision is None:
        return head
    with hub_errors(f"making the branch {revision} of {repo}", _token(api)):
        try:
            api.model_info(repo, revision=revision)
        except RevisionNotFoundError:
            api.create_branch(repo, branch=revision, exist_ok=True)
    return read_head(api, repo, revision) or head


def refuse_foreign(repo: str, head: Head, known: bool) -> None:
    """Raise HubError where a repository holds what isogloss didn't put there.

    Args:
        known: whether this registry has published to it before.
    """
    others = sorted(set(head.files) - _HARMLESS)
    if others and not known and _OURS not in head.files:
        raise HubError(
            f"{repo} holds files that isogloss didn't publish ({', '.join(others[:3])})",
            expected="an empty repository, or one that isogloss published to",
            hint="name another --repo",
        )


def push(
    api: HfApi,
    repo: str,
    files: Sequence[Upload],
    head: Head,
    *,
    stale: Iterable[str] = (),
    revision: str | None,
    pull_request: bool,
    message: str,
) -> Pushed:
    """Bring ``files`` to ``repo`` in one commit, or none where they all stand there.

    Args:
        stale: paths of an earlier publication that go away if they are still there.

    Raises:
        HubError: the Hub refuses, or can't be reached; nothing is then half there.
    """
    changed = [upload for upload in files if not stands(upload, head)]
    gone = sorted(set(stale) & set(head.files))
    if not changed and not gone:
        return Pushed(head.commit, False, None)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [
        CommitOperationAdd(upload.entry.path, upload.data) for upload in changed
    ]
    # Only single paths: a folder that is deleted takes files along that are added unchanged.
    operations += [CommitOperationDelete(path, is_folder=False) for path in gone]
    with hub_errors(f"publishing to {repo}", _token(api)), quiet():
        try:
            done = api.create_commit(
                repo,
                operations,
                commit_message=message,
                revision=revision,
                create_pr=pull_request,
                parent_commit=head.commit,
            )
        except Exception as error:
            if pull_request or not is_transport(error):
                raise
            after = read_head(api, repo, revision)
            if after is None or after.commit == head.commit:
                raise
            missing = [u for u in files if not stands(u, after)]
            if missing or set(gone) & set(after.files):
                raise
            return Pushed(after.commit, True, None)
    return Pushed(done.oid, True, done.pr_url)


def stands(upload: Upload, head: Head) -> bool:
    """Whether a file is in the repository already, byte for byte."""
    there = head.files.get(upload.entry.path)
    if there is None:
        return False
    return there == upload.entry.sha256 or (len(there) == 40 and there == git_sha1(upload))


def git_sha1(upload: Upload) -> str:
    """The id that git gives the file's content: sha1 of ``blob SIZE\\0`` and the bytes."""
    data = upload.read()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read_back(
    api: HfApi,
    repo: str,
    commit: str,
    files: Sequence[Upload],
    *,
    scratch: Path,
    report: Report = silent,
) -> None:
    """Download every file at ``commit`` into an empty folder and compare its sha256.

    Args:
        scratch: a folder for the downloads, one at a time; needs room for the largest file.

    Raises:
        HubError: a file differs from what was sent, or doesn't come.
    """
    total, done = total_bytes(files), 0
    scratch.mkdir(parents=True, exist_ok=True)
    for upload in files:
        path = upload.entry.path
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="read-back-") as cache,
            hub_errors(f"reading {path} back from {repo}", _token(api)),
            quiet(),
        ):
            local = Path(api.hf_hub_download(repo, path, revision=commit, cache_dir=cache))
            found = sha256_file(local)
        if found != upload.entry.sha256:
            raise HubError(
                f"{repo} gives back another {path} than was sent "
                f"(sha256 {found[:12]}…, sent {upload.entry.sha256[:12]}…)",
                expected="the same bytes; the publication is not recorded",
                hint="delete the file on the Hub and run the same command again",
            )
        done += upload.entry.size
        report(f"read back {repo}", done, total)


def make_public(api: HfApi, repo: str) -> None:
    """Let everybody read a repository.

    Raises:
        HubError: the Hub refuses.
    """
    with hub_errors(f"making {repo} public", _token(api)):
        api.update_repo_settings(repo, private=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of the client: reports go through ``report``, and to nowhere else."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    if not before:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _token(api: HfApi) -> str | None:
    return api.token if isinstance(api.token, str) else None
