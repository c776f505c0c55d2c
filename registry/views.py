"""Views: folders that look like the artifact, for every tool that wants a folder.

A view's files are links to blobs, as in the Hub's own cache: a base of 16 GB isn't stored twice,
and an edit in place fails instead of changing what the digest stands for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from isogloss.errors import IntegrityError, RegistryError
from isogloss.files import fresh_folder
from isogloss.registry import store
from isogloss.registry.intake import safe_path
from isogloss.registry.records import Version


def view(root: Path, version: Version) -> Path:
    """The folder of links for a version; made once for each ``content``.

    Raises:
        RegistryError: the version has no files here.
        IntegrityError: a blob is missing or has another size.
    """
    _check(root, version)
    folder = root / "views" / version.content
    wanted = {safe_path(entry.path): store.blob_path(root, entry.sha256) for entry in version.files}
    if folder.is_dir() and _complete(folder, wanted):
        return folder
    with store.full_disk(), store.staging(root) as staged:
        made = staged / "view"
        for name, blob in wanted.items():
            link = made / name
            link.parent.mkdir(parents=True, exist_ok=True)
            # Relative to where the view will stand, so that the registry can be moved.
            link.symlink_to(os.path.relpath(blob, (folder / name).parent))
        if folder.exists():
            folder.rename(staged / "old")
        try:
            made.rename(folder)
        except OSError:
            # Another process made the same view in the meantime.
            if not _complete(folder, wanted):
                raise
    return folder


def copy(root: Path, version: Version, target: Path) -> Path:
    """Copy a version's files to the new folder ``target``, checked on the way.

    Raises:
        UsageError: ``target`` is not new or empty.
        RegistryError, IntegrityError: as :func:`view`, and where a blob has another digest.
    """
    _check(root, version)
    with store.full_disk(), fresh_folder(target) as folder:
        for entry in version.files:
            path = folder / safe_path(entry.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            blob = store.blob_path(root, entry.sha256)
            shutil.copyfile(blob, path)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry.sha256:
                raise IntegrityError(f"blob {entry.sha256} has the digest {found}")
    return target


def _complete(folder: Path, wanted: dict[str, Path]) -> bool:
    return all(os.path.realpath(folder / name) == os.path.realpath(b) for name, b in wanted.items())


def _check(root: Path, version: Version) -> None:
    if not version.files:
        where = f"hf://{version.hub.repo}@{version.hub.commit}" if version.hub else "elsewhere"
        raise RegistryError(f"{version.ref} has no files here", expected=f"its files; see {where}")
    for entry in version.files:
        blob = store.blob_path(root, entry.sha256)
        if not blob.is_file():
            raise IntegrityError(f"{entry.path} of {version.ref} is missing (blob {entry.sha256})")
        if blob.stat().st_size != entry.size:
            raise IntegrityError(
                f"{entry.path} of {version.ref} has {blob.stat().st_size} bytes",
                expected=str(entry.size),
            )
