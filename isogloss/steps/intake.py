"""An intake step: what ``registry add`` does with a folder, files, or a Hub repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from isogloss.config import Strict, parse
from isogloss.errors import UsageError
from isogloss.progress import Report, silent
from isogloss.refs import parse_hub_ref
from isogloss.registry import CorpusFacts, Draft, Registry, Version, detect, language, survey
from isogloss.settings import expand
from isogloss.steps.references import add_hub, resolve


class AddSpec(Strict):
    """What a person knows of something that comes in."""

    sources: tuple[str, ...]
    name: str
    kind: str | None = None
    language: tuple[str, ...] = ()
    glottocode: str | None = None
    prestige: str | None = None
    role: str | None = None
    base: str | None = None
    licence: str | None = None
    field: str = "text"
    source: str | None = None
    consent: str | None = None
    contact: str | None = None
    restrictions: str | None = None
    note: str | None = None


def add_step(
    registry: Registry,
    spec: AddSpec,
    *,
    report: Report = silent,
    left_out: Callable[[str], None] = lambda text: None,
) -> Version:
    """Add what ``spec`` names; the same thing again is the same version.

    Args:
        left_out: told each file that does not come in, and why.

    Raises:
        InputError: it is missing, broken or unsafe. ConfigError: a kind or role that is none.
        UsageError: a base for something that is no adapter.
    """
    if (spec.glottocode or spec.prestige) and not spec.language:
        given = "--glottocode" if spec.glottocode else "--prestige"
        raise UsageError(f"{given} without a language", expected="--language with a BCP-47 tag")
    first = spec.sources[0]
    hub = parse_hub_ref(first) if first.startswith("hf://") else None
    if len(spec.sources) > 1 and any(source.startswith("hf://") for source in spec.sources):
        raise UsageError("a Hub repository among several sources", expected="it alone")
    paths = [Path(expand(source)) for source in spec.sources]
    kind = spec.kind
    if kind is None:
        kind = "model" if hub else "corpus" if len(paths) > 1 else detect(paths[0])
    if spec.base is not None and kind != "adapter":
        raise UsageError(f"--base for a {kind}", expected="--base only for an adapter")
    languages = [
        language(tag, None if index else spec.glottocode, None if index else spec.prestige)
        for index, tag in enumerate(spec.language)
    ]
    parents = []
    if spec.base is not None:
        base = resolve(registry, spec.base, kind="model", report=report).version
        parents.append(registry.parent_edge(base, "base"))
    data: dict[str, Any] = {
        "name": spec.name,
        "kind": kind,
        "role": spec.role,
        "languages": languages,
        "licence": spec.licence,
        "parents": parents,
        "note": spec.note,
    }
    if kind == "corpus":
        data["corpus"] = CorpusFacts(
            documents=0,
            bytes=0,
            field=spec.field,
            source=spec.source,
            consent=spec.consent,
            contact=spec.contact,
            restrictions=spec.restrictions,
        )
    draft = parse(Draft, data, f"what is said of {spec.name}")
    if hub is not None:
        return add_hub(registry, hub, draft)
    source: Path | list[Path] = paths if len(paths) > 1 else paths[0]
    for file in survey(source, draft.kind).left_out:
        left_out(f"left out: {file.name} ({file.why})")
    return registry.add(source, draft, report=report)
