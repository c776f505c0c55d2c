"""From a source outside to blobs and a version whose number is still open."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isogloss.errors import InputError, RegistryError
from isogloss.files import FileEntry, content_digest
from isogloss.progress import Report
from isogloss.refs import check_name
from isogloss.registry import inspect, store
from isogloss.registry.codec import encode
from isogloss.registry.intake import Found, LeftOut, read_json, survey
from isogloss.registry.languages import language
from isogloss.registry.records import AdapterFacts, Draft, ModelFacts, Version, hub_content

_OPEN = 0  # the number and time of a version that isn't committed
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Taken(NamedTuple):
    """A version without number, whose blobs are in place, and what was left out."""

    version: Version
    left_out: tuple[LeftOut, ...]


def checked(draft: Draft) -> Draft:
    """The draft with languages normalised.

    Raises:
        RefError: the name can't be one. UsageError: a language isn't one.
        RegistryError: ``made_by`` holds what JSON can't.
    """
    check_name(draft.name)
    spoken = tuple(language(*(s.tag, s.glottocode, s.prestige)) for s in draft.languages)
    draft = draft.model_copy(update={"languages": spoken})
    encode(_version(draft, content="", files=()))
    return draft


def _version(draft: Draft, **more: Any) -> Version:
    fields = {name: getattr(draft, name) for name in type(draft).model_fields}
    return Version(**{**fields, "number": _OPEN, "created_at": "", **more})


def reference(draft: Draft, model: ModelFacts | None, adapter: AdapterFacts | None) -> Version:
    """A version whose files stay on the Hub.

    Raises:
        RegistryError: no repository or no full commit is named, or it is a corpus.
    """
    if draft.hub is None or not _COMMIT.fullmatch(draft.hub.commit):
        raise RegistryError(
            f"{draft.name} names {draft.hub.commit if draft.hub else 'no repository'!r}",
            expected="a repository on the Hub and its commit, 40 hex digits",
        )
    if draft.kind == "corpus":
        raise RegistryError(f"{draft.name} is a corpus", expected="its files, not a reference")
    content = hub_content(draft.hub)
    return _version(draft, content=content, files=(), model=model, adapter=adapter)


def take(
    root: Path, source: Path | Sequence[Path], draft: Draft, *, move: bool, report: Report
) -> Taken:
    """Look a source through, copy its files into blobs, and describe the version.

    Raises:
        InputError: as ``survey`` and ``inspect.facts``, or the source changed meanwhile.
    """
    label = f"add {draft.name}"
    surveyed = survey(source, draft.kind, trusted=root / "blobs")
    folder = source if isinstance(source, Path) else Path()
    before = [_stamp(found.path) for found in surveyed.files]
    paths = [found.path for found in surveyed.files]
    facts = inspect.facts(paths, folder, draft.kind, draft.corpus)
    left_out = surveyed.left_out
    if not draft.made_by and folder.is_dir():
        draft, ignored = _told(draft, folder)
        left_out += ignored
    total = sum(path.stat().st_size for path in paths)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if done > total:  # else a file that grows as fast as it is read would never end
            raise _changed(source)
        report(label, done, total)

    with store.staging(root) as staged:
        entries = [_stage(found, staged, advance, move=move) for found in surveyed.files]
        for found, stamp in zip(surveyed.files, before, strict=True):
            if _stamp(found.path) != stamp:
                raise _changed(found.path)
        for entry in entries:
            store.settle(root, staged / "files" / entry.path, entry.sha256)
    if left_out:
        named = ", ".join(f"{part.name} ({part.why})" for part in left_out)
        report(label, total, total, {"left out": named})
    version = _version(
        draft,
        content=content_digest(entries),
        files=tuple(entries),
        adapter=facts.adapter,
        model=facts.model,
        corpus=facts.corpus,
    )
    return Taken(version, left_out)


def _changed(source: object) -> InputError:
    return InputError(
        f"{source} changed while it was added",
        expected="files that nothing writes to",
        hint="add it again when they are finished",
    )


def _stage(found: Found, staged: Path, advance: Any, *, move: bool) -> FileEntry:
    entry = store.stage(found.path, staged / "files" / found.name, advance, move=move)
    return entry._replace(path=found.name)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _told(draft: Draft, folder: Path) -> tuple[Draft, tuple[LeftOut, ...]]:
    """The draft with the folder's own account of how it was made, if that can be read."""
    path = folder / "isogloss.json"
    if not path.is_file():
        return draft, ()
    try:
        facts = read_json(path)
        if not isinstance(facts, dict) or not isinstance(facts.get("verb"), str):
            raise InputError("it names no verb")
        if not isinstance(facts.get("recipe"), dict):
            raise InputError("it has no recipe")
        told = draft.model_copy(update={"made_by": facts})
        encode(_version(told, content="", files=()))
    except (InputError, RegistryError) as error:
        return draft, (LeftOut(path.name, f"not used: {error}"),)
    return told, ()


def forget(source: Path | Sequence[Path]) -> None:
    """Delete a source that was moved in."""
    if isinstance(source, Path) and source.is_dir():
        shutil.rmtree(source, ignore_errors=True)
        return
    for path in [source] if isinstance(source, Path) else source:
        if os.path.lexists(path):
            path.unlink()
