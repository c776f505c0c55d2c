"""The model card: front matter and body, from the records and nothing else.

What is missing in the records is called missing; regressions stand in the same table as gains.
The text depends on records alone (no clock, no machine), so that the same version gives the same
card. Words from records are escaped: a corpus's source can't put markup into a card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from isogloss.files import FileEntry
from isogloss.publish.front import front_matter, languages_of, licence_fields
from isogloss.publish.gate import Gate, check_overrides, effective_licence, gates, role_of
from isogloss.publish.lineage import Source, base_edges, default_endpoint, on_hub, sources
from isogloss.publish.measured import tables
from isogloss.publish.payload import Payload, payload, recipe_yaml
from isogloss.publish.scores import Board, boards
from isogloss.publish.usage import loading, reproduction
from isogloss.registry import Registry
from isogloss.registry.records import HubSource, Version

MISSING = "not recorded"


def card(
    registry: Registry,
    version: Version,
    *,
    repo: str | None = None,
    overrides: Mapping[str, str] | None = None,
    endpoint: str | None = None,
) -> str:
    """The README.md that a publication of ``version`` would have; nothing is contacted.

    Args:
        repo: ``ORG/NAME`` that it is for; a placeholder stands in the loading code without it.
        overrides: gate -> reason, for gates that fail and are passed over.

    Raises:
        UsageError: an override names no gate, or gives no reason.
        PublishError: a corpus, or a version without files.

    >>> print(card(registry, registry.get("pcm-merge")))                     # doctest: +SKIP
    ---
    language:
    - pcm
    """
    overrides = overrides or {}
    check_overrides(overrides)
    where = endpoint or default_endpoint()
    files = payload(registry, version, base_on_hub(registry, version, where))
    measured = boards(registry, version)
    found = gates(registry, version, measured=measured, endpoint=where)
    return render(
        registry,
        version,
        files,
        found,
        measured,
        repo=repo,
        overrides=overrides,
        endpoint=where,
    )


def base_on_hub(registry: Registry, version: Version, endpoint: str) -> HubSource | None:
    """Where the version's first base is on the Hub; None where it has none or it is not there."""
    for source in base_edges(registry, version)[:1]:
        return on_hub(registry, source.parent, source.version, endpoint)
    return None


def render(
    registry: Registry,
    version: Version,
    files: Payload,
    found: Sequence[Gate],
    measured: Sequence[Board],
    *,
    repo: str | None,
    overrides: Mapping[str, str],
    endpoint: str,
) -> str:
    """The card of a publication whose files, gates and measurements are known."""
    from jinja2 import Environment, StrictUndefined

    lineage = sources(registry, version)
    joined = effective_licence(version, lineage)
    licence = joined.licence or version.licence
    name = repo.split("/")[-1] if repo else version.name
    made = version.made_by
    recipe = recipe_yaml(made["recipe"]).rstrip() if made.get("recipe") else ""
    base = base_on_hub(registry, version, endpoint)
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"cell": cell, "text": plain}
    template = resources.files("isogloss.publish").joinpath("templates/card.md.j2")
    failed = [gate for gate in found if not gate.passed]
    text = environment.from_string(template.read_text(encoding="utf-8")).render(
        front=front_matter(
            registry,
            version,
            name=name,
            licence=licence,
            lineage=lineage,
            measured=measured,
            endpoint=endpoint,
        ).rstrip("\n"),
        name=name,
        what=what_it_is(version, lineage, base),
        whom=for_whom(version, lineage),
        note=version.note,
        load=loading(version, lineage, repo or "ORG/NAME", base, files),
        lineage=[_ancestor(registry, source, endpoint) for source in lineage],
        licence=_licence_line(licence),
        licence_notes=joined.problems,
        verb=made.get("verb", ""),
        seed="none" if made.get("seed") is None else made["seed"],
        code=_code(made.get("code", {})),
        determinism=made.get("determinism"),
        packages=", ".join(f"{k} {v}" for k, v in sorted(made.get("packages", {}).items())),
        recipe=recipe,
        fence=_fence(recipe),
        corpora=[_corpus(source) for source in lineage if _is_corpus(source)],
        tables=tables(measured),
        gates=[_gate(gate, overrides) for gate in found],
        overridden=[
            f"{g.name}, because: {overrides[g.name]}" for g in failed if g.name in overrides
        ],
        failures=failures(measured, failed),
        reproduce=reproduction(version, lineage),
        content=version.content,
        tolerance=_tolerance(made.get("determinism")),
        files=_checksums(files),
        record=version.record,
        changed=files.changed,
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def cell(value: object) -> str:
    """``value`` as one cell of a Markdown table."""
    return plain(value).replace("|", "\\|")


def plain(value: object) -> str:
    """``value`` on one line, without markup of its own: no HTML, no headings, links or fences."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("![", "!\\[")
    return re.sub(r"^([#>`])", r"\\\1", text.replace("](", "]\\("))


def what_it_is(version: Version, lineage: Sequence[Source], base: HubSource | None) -> str:
    """The first sentence: what kind of thing, for which languages, on what."""
    role = role_of(version)
    kind = {"adapter": f"A {_peft(version)} adapter", "model": "A model"}[version.kind]
    kind = "A merged model" if version.kind == "model" and role == "merged" else kind
    kind = "A base model" if role == "base" else kind
    kind = "A task model" if version.kind == "model" and role == "task" else kind
    tongues = languages_of(version, lineage)
    named = ", ".join(f"`{one.tag}`" for one in tongues)
    text = kind + (f" for {named}" if named else "")
    text += f" on [{base.repo}](https://huggingface.co/{base.repo})" if base else ""
    if version.model and version.model.parameters:
        text += f", {version.model.parameters:,} parameters"
    return text + "."


def _peft(version: Version) -> str:
    kind = version.adapter.peft_type if version.adapter else "PEFT"
    return {"LORA": "LoRA", "IA3": "IA³"}.get(kind, kind)


def for_whom(version: Version, lineage: Sequence[Source]) -> list[str]:
    """What it may be used for, as far as the records carry it."""
    lines = [
        {
            "dialect": "For text in the dialect, and as an input of merges.",
            "merged": "For text in the dialect and the tasks of its parents.",
            "task": "For the task it was trained on, and as an input of merges.",
            "base": "As a base for adapters and merges; it was not made to be talked to.",
        }[role_of(version)]
    ]
    for one in languages_of(version, lineage):
        if one.prestige:
            code = f" (Glottolog {one.glottocode})" if one.glottocode else ""
            lines.append(
                f"`{one.tag}`{code} is measured beside its prestige neighbour `{one.prestige}`."
            )
    lines.append("Nothing is known of its behaviour beyond the measurements below.")
    return lines


def failures(measured: Sequence[Board], failed: Sequence[Gate]) -> list[str]:
    """Flags, gates that didn't hold, and that this is all that is known."""
    lines = [f"check {gate.name}: {gate.text}" for gate in failed]
    for board in measured:
        for result in board.own.values():
            lines += [f"{result.task} ({board.split}) is flagged {flag}" for flag in result.flags]
    return lines or ["None is on record, which is not to say that there are none."]


def _ancestor(registry: Registry, source: Source, endpoint: str) -> dict[str, Any]:
    place = on_hub(registry, source.parent, source.version, endpoint)
    content = source.version.content if source.version else source.parent.content
    where = f"hf://{place.repo}@{place.commit}" if place else "not published"
    if content and not (place and source.version and not source.version.files):
        where += f", content {content[:16]}…"
    weight = source.parent.weight if source.direct else None
    version = source.version
    return {
        "edge": source.edge.replace("_", " "),
        "direct": source.direct,
        "name": source.name,
        "kind": f"{version.role or ''} {version.kind}".strip() if version else "on the Hub only",
        "weight": "" if weight is None else f"{weight:g}",
        "where": where,
        "licence": (version.licence or (_inherited(version))) if version else MISSING,
    }


def _inherited(version: Version) -> str:
    return "from its parents" if version.parents else MISSING


def _licence_line(licence: str | None) -> str:
    if licence is None:
        return "No licence could be found that carries the whole lineage."
    fields = licence_fields(licence)
    named = fields["license"] if fields["license"] != "other" else licence
    return f"{named}, the most restrictive terms of everything in the table above."


def _is_corpus(source: Source) -> bool:
    return source.edge in ("corpus", "replay", "data") or bool(
        source.version and source.version.kind == "corpus"
    )


def _corpus(source: Source) -> dict[str, str]:
    version = source.version
    facts = version.corpus if version else None
    languages = ", ".join(one.tag for one in version.languages) if version else ""
    weight = source.parent.weight
    return {
        "name": source.name,
        "edge": source.edge,
        "weight": "" if weight is None else f"{weight:g}",
        "language": languages or MISSING,
        "size": f"{facts.documents:,} texts, {facts.bytes:,} bytes" if facts else MISSING,
        "source": (facts and facts.source) or MISSING,
        "licence": (version.licence if version else None) or MISSING,
        "consent": (facts and facts.consent) or MISSING,
        "contact": (facts and facts.contact) or MISSING,
        "restrictions": (facts and facts.restrictions) or "none recorded",
        "content": version.content if version else source.parent.content or MISSING,
    }


def _gate(gate: Gate, overrides: Mapping[str, str]) -> dict[str, str]:
    result = "holds" if gate.passed else "**fails**"
    if not gate.passed and gate.name in overrides:
        result = "**fails**, passed over"
    return {"name": gate.name, "result": result, "text": gate.text}


def _code(code: Mapping[str, Any]) -> str:
    text = str(code.get("version", MISSING))
    text += f" at {str(code['commit'])[:12]}" if code.get("commit") else ""
    return text + (" with local changes" if code.get("dirty") else "")


def _fence(text: str) -> str:
    """A code fence longer than any inside ``text``."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    return "`" * max(3, longest + 1)


def _tolerance(determinism: object) -> str:
    return {
        "A": ", on any machine",
        "B": " on the same machine and versions, and close to it elsewhere",
    }.get(str(determinism), " where its steps are deterministic")


def _checksums(files: Payload) -> list[FileEntry]:
    return [upload.entry for upload in files.files]
