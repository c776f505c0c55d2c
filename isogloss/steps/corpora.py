"""A corpus step: files of text become a version, with language, licence and consent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isogloss.config import Strict
from isogloss.progress import Report, silent
from isogloss.registry import CorpusFacts, Draft, Language, Registry, Version
from isogloss.registry.records import Role
from isogloss.settings import expand


class CorpusSpec(Strict):
    """What is to be known of a text corpus."""

    name: str
    files: tuple[str, ...]
    """Paths; ``${ISOGLOSS_DATA}`` and ``~`` are expanded."""
    field: str = "text"
    languages: tuple[Language, ...] = ()
    role: Role | None = None
    licence: str | None = None
    source: str | None = None
    consent: str | None = None
    contact: str | None = None
    restrictions: str | None = None


def register_corpus(
    registry: Registry, spec: CorpusSpec, *, root: Path | None = None, report: Report = silent
) -> Version:
    """Add the files of ``spec`` as one corpus; the same files again are the same version.

    Args:
        root: what relative paths are relative to; the working directory unless given.

    Raises:
        CorpusError: a file is missing, empty, or not text.
    """
    draft = Draft(
        name=spec.name,
        kind="corpus",
        role=spec.role,
        languages=spec.languages,
        licence=spec.licence,
        corpus=CorpusFacts(
            documents=0,
            bytes=0,
            field=spec.field,
            source=spec.source,
            consent=spec.consent,
            contact=spec.contact,
            restrictions=spec.restrictions,
        ),
    )
    return registry.add(paths(spec.files, root), draft, report=report)


def paths(files: Sequence[str], root: Path | None = None) -> list[Path]:
    """``files`` with variables expanded, relative ones below ``root``."""
    return [(root or Path()) / expand(file) for file in files]


def text_files(registry: Registry, version: Version) -> list[Path]:
    """The files of a corpus version, in the order of its record."""
    view = registry.view(version)
    return [view / entry.path for entry in version.files]
