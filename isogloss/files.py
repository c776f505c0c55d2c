"""Bytes on disk: digests, canonical JSON, and writing so that nothing is half there.

Whatever isogloss writes goes to a temporary name in the same folder, is synced, and is renamed;
a reader sees all of it or nothing. ``content`` digests are computed here, by the one rule of
the house (``docs/architecture.md``, "Three digests").
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from isogloss.errors import InputError, UsageError

SIDECARS = frozenset({"isogloss.json", "recipe.yaml"})
"""Files beside an artifact that tell how it was made; never part of its ``content``."""

_BLOCK = 1 << 20


class FileEntry(NamedTuple):
    """One file of an artifact: POSIX path relative to its folder, size in bytes, sha256 in hex."""

    path: str
    size: int
    sha256: str


def canonical_json(value: Any) -> bytes:
    """The one JSON encoding that digests are taken of: sorted keys, no spaces, UTF-8, no NaN.

    >>> canonical_json({"b": 1, "a": "é"})
    b'{"a":"\\xc3\\xa9","b":1}'

    Raises:
        ValueError: a float is NaN or infinite.
        TypeError: a value has no JSON form.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def sha256_bytes(data: bytes) -> str:
    """sha256 of ``data``, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, 64 hex digits, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """sha256 of the canonical JSON of ``value``."""
    return sha256_bytes(canonical_json(value))


def content_digest(files: Iterable[FileEntry]) -> str:
    """The ``content`` digest: sha256 over the sorted list of (path, size, sha256).

    >>> a, b = FileEntry("a", 1, "x"), FileEntry("b", 2, "y")
    >>> content_digest([a, b]) == content_digest([b, a])
    True
    """
    return digest_of(sorted([list(f) for f in files if f.path not in SIDECARS]))


def list_files(folder: Path) -> list[FileEntry]:
    """Every regular file below ``folder`` with its digest, sorted by path, sidecars left out.

    Raises:
        InputError: a symbolic link or special file is met.
    """
    entries = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise InputError(f"{path} is a link or special file", expected="regular files")
        if path.is_file() and name not in SIDECARS:
            entries.append(FileEntry(name, path.stat().st_size, sha256_file(path)))
    return sorted(entries)


def fsync_dir(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        fsync_dir(Path(root))


def temporary_sibling(path: Path) -> Path:
    """A fresh hidden name beside ``path``, on the same file system."""
    return path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"


def write_atomic(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a crash at any line leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


@contextlib.contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """A temporary sibling folder that becomes ``target`` when the block ends without an error.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as d, fresh_folder(Path(d) / "out") as folder:
    ...     _ = (folder / "a").write_text("1")

    Raises:
        UsageError: ``target`` exists and isn't an empty folder, before or at the rename.
    """
    target = target.absolute()
    refuse_occupied(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    temporary.mkdir()
    try:
        yield temporary
        _fsync_tree(temporary)
        try:
            os.rename(temporary, target)
        except OSError:
            refuse_occupied(target)
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_dir(target.parent)


def refuse_occupied(target: Path) -> None:
    """Raise UsageError where ``target`` exists and is not an empty folder."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target} is not a folder", expected="a new or empty folder")
    if target.is_dir() and any(target.iterdir()):
        raise UsageError(
            f"{target} is not empty", expected="a new or empty folder", hint="name another --out"
        )
