"""The files of a publication: a version's own, made fit for strangers, and nothing else.

Three things change on the way out. An adapter's ``base_model_name_or_path`` names the base's
repository and commit on the Hub instead of a place on somebody's disk; other paths of a machine
that loaders leave in JSON files are taken out; a ``README.md`` of the source gives way to the
card. Everything that changed is named, and weights never do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from isogloss.errors import PublishError, UnsafeInput
from isogloss.files import SIDECARS, FileEntry, canonical_json, sha256_bytes
from isogloss.registry import Registry
from isogloss.registry.records import HubSource, Version

CARD = "README.md"
PROVENANCE = "provenance.json"
WRITTEN = frozenset({CARD, PROVENANCE, *SIDECARS})
"""Paths that publishing writes itself."""

_PATH_KEYS = ("_name_or_path", "name_or_path", "base_model_name_or_path")
_TEXT = (".json", ".jsonl", ".yaml", ".yml", ".txt", ".md", ".jinja")
_SECRET = re.compile(rb"hf_[A-Za-z0-9]{30,}")


class Upload(NamedTuple):
    """One file that goes up: where it stands in the repository, and its bytes."""

    entry: FileEntry
    data: bytes | Path

    def read(self) -> bytes:
        """The bytes, wherever they are."""
        return self.data if isinstance(self.data, bytes) else self.data.read_bytes()


class Payload(NamedTuple):
    """What goes up beside the card and the provenance."""

    files: tuple[Upload, ...]
    """Sorted by path."""
    changed: tuple[str, ...]
    """One sentence for each file that differs from the registry's."""


def upload_of(path: str, data: bytes) -> Upload:
    """A file made here."""
    return Upload(FileEntry(path, len(data), sha256_bytes(data)), data)


def payload(registry: Registry, version: Version, base: HubSource | None) -> Payload:
    """The version's files, its recipe and ``made_by``; everything but card and provenance.

    Args:
        base: where an adapter's base is on the Hub; None where that isn't known.

    Raises:
        PublishError: the version is a corpus, or has no files.
        IntegrityError: a blob that would be changed isn't what its digest says.
    """
    if version.kind == "corpus":
        raise PublishError(
            f"{version.ref} is a corpus", expected="an adapter or a model to publish"
        )
    if not version.files:
        raise PublishError(
            f"{version.ref} has no files here; it stays on the Hub"
            + (f" as {version.hub.repo}" if version.hub else "")
        )
    files, changed = [], []
    for entry in version.files:
        if entry.path in WRITTEN:
            changed.append(f"{entry.path}: written anew for the publication")
            continue
        fitted = _fit(registry, entry, base) if _may_hold_paths(entry.path) else None
        if fitted is None:
            files.append(Upload(entry, registry.blob(entry.sha256)))
        else:
            files.append(upload_of(entry.path, fitted.data))
            changed.append(fitted.why)
    if version.made_by:
        files.append(upload_of("isogloss.json", canonical_json(version.made_by) + b"\n"))
        recipe = version.made_by.get("recipe", {})
        files.append(upload_of("recipe.yaml", recipe_yaml(recipe).encode()))
    return Payload(tuple(sorted(files, key=lambda u: u.entry.path)), tuple(changed))


def recipe_yaml(recipe: Any) -> str:
    """A recipe as people write it."""
    return str(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))


class _Fitted(NamedTuple):
    data: bytes
    why: str


def _may_hold_paths(path: str) -> bool:
    return path.rsplit("/", 1)[-1] in (
        "adapter_config.json",
        "config.json",
        "tokenizer_config.json",
    )


def _fit(registry: Registry, entry: FileEntry, base: HubSource | None) -> _Fitted | None:
    """The file with the Hub's names in it; None where it may stay as it is."""
    try:
        config = json.loads(registry.read_blob(entry.sha256))
    except ValueError:
        return None
    if not isinstance(config, dict):
        return None
    fitted, told = dict(config), []
    if entry.path == "adapter_config.json" and base is not None:
        fitted |= {"base_model_name_or_path": base.repo, "revision": base.commit}
        told.append(f"the base is named {base.repo} at {base.commit}")
    for key in _PATH_KEYS:
        if is_local(fitted.get(key)):
            del fitted[key]
            told.append(f"a local path in `{key}` is taken out")
    if fitted == config:
        return None
    data = json.dumps(fitted, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return _Fitted(data.encode(), f"{entry.path}: {'; '.join(told)}")


def is_local(name: object) -> bool:
    """Whether ``name`` is a place on a disk and no name on the Hub.

    >>> is_local("/home/ada/base"), is_local("org/base"), is_local("gpt2")
    (True, False, False)
    """
    return (
        isinstance(name, str)
        and bool(name)
        and (name[0] in "/.~\\" or name.count("/") > 1 or "\\" in name or name[1:2] == ":")
    )


def refuse_secrets(files: Iterable[Upload]) -> None:
    """Raise UnsafeInput where a text file holds what looks like an access token of the Hub."""
    for upload in files:
        if upload.entry.path.endswith(_TEXT) and _SECRET.search(upload.read()):
            raise UnsafeInput(
                f"{upload.entry.path} holds what looks like an access token",
                expected="nothing secret in a publication",
                hint="take the token out, revoke it on the Hub, and add the artifact again",
            )


def total_bytes(files: Sequence[Upload]) -> int:
    """Bytes of all files together."""
    return sum(upload.entry.size for upload in files)
