"""The registry's folder: blobs by their digest, record files, and a place to stage both.

Everything is written below ``tmp/`` first, synced, and given its name in one step. A blob is in
place before the record that names it, so whatever record is there is whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from isogloss.errors import IntegrityError, RegistryError
from isogloss.files import FileEntry, fsync_dir, sha256_bytes, write_atomic
from isogloss.registry.codec import TYPES, Coded

LAYOUT = "isogloss registry 1\n"
_FOLDERS = ("records", "blobs/sha256", "views", "tmp", "quarantine")
_KNOWN = frozenset({"records", "blobs", "views", "tmp", "quarantine", "LAYOUT"})
_BLOCK = 1 << 20
_STALE = 60.0  # seconds; a staging folder is locked long before it is this old
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Damage(NamedTuple):
    """A record file that can't be used; ``path`` is below the registry's folder."""

    path: str
    why: str


def make(root: Path) -> None:
    """Make a registry's folder, or complete one; an existing one stays as it is.

    Raises:
        RegistryError: other things lie there, or the layout is unknown.
    """
    if (root / "LAYOUT").is_file():
        return check(root)
    if root.exists() and not root.is_dir():
        raise RegistryError(f"{root} is a file", expected="a folder for the registry")
    foreign = sorted(p.name for p in root.iterdir() if not _ours(p.name)) if root.is_dir() else []
    if foreign:
        raise RegistryError(
            f"{root} holds {foreign[0]!r} and no registry", expected="a new or empty folder"
        )
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_atomic(root / "LAYOUT", LAYOUT.encode())


def _ours(name: str) -> bool:
    return name in _KNOWN or name.startswith((".LAYOUT.", "registry.sqlite"))


def check(root: Path) -> None:
    """Raise RegistryError where ``root`` is no registry of this layout."""
    try:
        found = (root / "LAYOUT").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RegistryError(
            f"no registry at {root}", hint="type: isogloss registry init"
        ) from error
    if found != LAYOUT:
        raise RegistryError(f"{root} has the layout {found.strip()!r}", expected=LAYOUT.strip())
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Turn the system's word for a full disk into a RegistryError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RegistryError(
                f"the disk is full ({os.strerror(error.errno or 0)})",
                expected="room for a copy",
                hint="free some; nothing was added",
            ) from error
        raise


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """A folder below ``tmp/`` that is ours while the block runs, and gone after it.

    It is locked, so that :func:`sweep` of another process can tell it from a dead one's.
    """
    folder = root / "tmp" / f"{os.getpid()}.{secrets.token_hex(6)}"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def sweep(root: Path) -> None:
    """Delete what processes that were killed left below ``tmp/``."""
    for path in (root / "tmp").iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < _STALE:
                continue
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)


def stage(source: Path, target: Path, advance: Callable[[int], None], *, move: bool) -> FileEntry:
    """Bring one file to ``target``, hashed on the way; the entry has no path yet.

    With ``move`` a hard link takes the place of the copy where the file system allows one; the
    source loses its write permission then, and the caller deletes it once the record is written.

    Args:
        advance: called with the number of bytes done since the last call.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    linked = move and not source.is_symlink() and _linked(source, target)
    digest, size = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context((target if linked else source).open("rb"))
        writer = None if linked else stack.enter_context(target.open("xb"))
        while block := reader.read(_BLOCK):
            digest.update(block)
            size += len(block)
            if writer:
                writer.write(block)
            advance(len(block))
        if writer:
            writer.flush()
        os.fsync((writer or reader).fileno())
    target.chmod(0o444)
    return FileEntry("", size, digest.hexdigest())


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def blob_path(root: Path, sha256: str) -> Path:
    """Where the blob of a digest lies, or would lie.

    Raises:
        RegistryError: it isn't 64 hex digits.
    """
    if not _SHA256.fullmatch(sha256):
        raise RegistryError(f"{sha256!r} is no digest", expected="64 hex digits of a sha256")
    return root / "blobs" / "sha256" / sha256[:2] / sha256


def settle(root: Path, staged: Path, sha256: str) -> None:
    """Give a staged file its place among the blobs.

    A blob that is there already is replaced: its bytes may have rotted, these were just hashed.
    """
    path = blob_path(root, sha256)
    path.parent.mkdir(exist_ok=True)
    os.replace(staged, path)
    fsync_dir(path.parent)


def put_bytes(root: Path, data: bytes) -> str:
    """Write ``data`` as a blob; its sha256."""
    sha256 = sha256_bytes(data)
    with full_disk(), staging(root) as folder:
        path = folder / "blob"
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o444)
        settle(root, path, sha256)
    return sha256


def read_bytes(root: Path, sha256: str) -> bytes:
    """The bytes of a blob.

    Raises:
        IntegrityError: it is missing, or its bytes have another digest.
    """
    try:
        data = blob_path(root, sha256).read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"blob {sha256} is missing") from error
    if sha256_bytes(data) != sha256:
        raise IntegrityError(f"blob {sha256} has the digest {sha256_bytes(data)}")
    return data


def write_record(root: Path, coded: Coded) -> Path:
    """Create a record's file; called inside the index's write transaction.

    Raises:
        FileExistsError: a record is there already.
    """
    path = root / "records" / coded.path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = root / "tmp" / f"record.{os.getpid()}.{secrets.token_hex(6)}"
    try:
        with full_disk(), temporary.open("xb") as file:
            file.write(coded.file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o444)
        # A link is created whole or not at all and never over another file, which O_EXCL and a
        # write in place can't promise together. Without links (exFAT) the transaction that we
        # are in keeps others away between the look and the rename.
        if not _linked(temporary, path):
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_dir(path.parent)
    return path


def record_paths(root: Path) -> list[str]:
    """The path below ``records/`` of every record file, sorted."""
    found = []
    for kind in sorted(TYPES):
        base = root / "records" / kind
        if base.is_dir():
            for shard in sorted(base.iterdir()):
                # scandir, for a Path object apiece would double the time.
                with os.scandir(shard) as entries:
                    names = [entry.name for entry in entries]
                found += [f"{kind}/{shard.name}/{name}" for name in names if name.endswith(".json")]
    return sorted(found)
