"""A training step: resolve base and corpora, train into the registry, record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from isogloss.config import Strict
from isogloss.errors import CorpusError, UsageError
from isogloss.progress import Report, silent
from isogloss.refs import check_name
from isogloss.registry import Draft, Language, Registry, Version, step_digest
from isogloss.registry.records import Parent, Role
from isogloss.registry.store import staging
from isogloss.steps.corpora import text_files
from isogloss.steps.references import Resolved, again, contents, locate, resolve
from isogloss.train import Start, TrainRecipe

Verb = Literal["base", "cpt", "sft"]


class TrainSpec(Strict):
    """One run of ``train base``, ``train cpt`` or ``train sft``."""

    verb: Verb
    name: str
    base: str | None = None
    """A reference; None only for ``base``."""
    corpora: tuple[str, ...]
    """Files or references; for ``sft`` the rows with prompt fields."""
    replay: tuple[str, ...] = ()
    recipe: TrainRecipe = TrainRecipe()
    shape: str | None = None
    """For ``base``: ``llama:HIDDENxLAYERS``."""
    vocab: int = Field(2048, ge=300)
    """For ``base``: entries of the tokenizer."""
    field: str | None = None
    """Field of the text; None takes what the corpus's record says."""
    role: Role | None = None
    """None means ``base``, ``dialect`` or ``task`` after the verb."""
    languages: tuple[Language, ...] | None = None
    """None means those of the corpora."""
    licence: str | None = None


def train_step(
    registry: Registry, spec: TrainSpec, *, device: str | None = None, report: Report = silent
) -> Version:
    """Train what ``spec`` says, or return the version that the same step made before.

    Raises:
        UsageError: the spec contradicts itself. RefError: something named is not there.
        CorpusError, CheckpointError, TrainError: as ``isogloss.train``.
    """
    check_name(spec.name)
    if (spec.base is None) != (spec.verb == "base"):
        raise UsageError(
            f"train {spec.verb} with base {spec.base!r}",
            expected="--base REF for cpt and sft, and none for base",
        )
    if spec.verb == "base" and spec.shape is None:
        raise UsageError("train base without a shape", expected="--shape llama:128x4")
    if spec.replay and not spec.recipe.replay_share:
        raise UsageError(
            "a replay corpus with a replay_share of 0",
            expected="a share of the tokens",
            hint="add --set replay_share=0.3, or leave the replay corpus out",
        )
    corpora = _corpora(registry, spec.corpora, report)
    replay = _corpora(registry, spec.replay, report)
    start = None if spec.base is None else resolve(registry, spec.base, report=report)
    # Of task data the prompt names the fields; only replayed text has one field.
    field = _field(spec, replay if spec.verb == "sft" else [*corpora, *replay])

    parents = [*(start.versions if start else ()), *corpora, *replay]
    recipe = {
        **spec.recipe.normalised(),
        "field": field,
        "corpora": len(corpora),
        "replay": len(replay),
        **({"shape": spec.shape, "vocab": spec.vocab} if spec.verb == "base" else {}),
    }
    from isogloss.train.verbs import METHOD_VERSION

    verb = f"train {spec.verb}"
    step = step_digest(verb, recipe, contents(registry, parents), spec.recipe.seed, METHOD_VERSION)
    done = registry.by_step(step)
    languages = spec.languages
    if languages is None:
        languages = tuple(dict.fromkeys(lang for c in corpora for lang in c.languages))
    roles: dict[Verb, Role] = {"base": "base", "cpt": "dialect", "sft": "task"}
    draft: dict[str, Any] = {
        "name": spec.name,
        "role": spec.role or roles[spec.verb],
        "languages": languages,
        "licence": spec.licence,
        "step": step,
    }
    if done is not None:
        edges = _edges(registry, spec.verb, start, done.kind == "adapter", corpora, replay)
        draft |= {"kind": done.kind, "parents": edges, "made_by": done.made_by}
        return again(registry, done, Draft(**draft))
    # Locked, so that a process that opens the registry meanwhile doesn't sweep it away.
    with staging(registry.root) as scratch:
        out = scratch / "out"
        facts = _run(registry, spec, start, corpora, replay, field, out, device, report)
        adapter = (out / "adapter_config.json").is_file()
        edges = _edges(registry, spec.verb, start, adapter, corpora, replay)
        draft |= {
            "kind": "adapter" if adapter else "model",
            "parents": edges,
            "made_by": {**facts, "recipe": recipe | facts["recipe"]},
        }
        return registry.add(out, Draft(**draft), move=True, report=report)


def _corpora(registry: Registry, refs: Sequence[str], report: Report) -> list[Version]:
    return [resolve(registry, ref, kind="corpus", report=report).version for ref in refs]


def _field(spec: TrainSpec, corpora: Sequence[Version]) -> str:
    if spec.field is not None:
        return spec.field
    fields = {c.corpus.field for c in corpora if c.corpus}
    if len(fields) > 1:
        raise CorpusError(
            f"corpora with their text in different fields: {', '.join(sorted(fields))}",
            expected="one field",
            hint="add one again with: isogloss registry add FILE --name NAME --field FIELD",
        )
    return fields.pop() if fields else "text"


def _run(
    registry: Registry,
    spec: TrainSpec,
    start: Resolved | None,
    corpora: Sequence[Version],
    replay: Sequence[Version],
    field: str,
    out: Path,
    device: str | None,
    report: Report,
) -> dict[str, Any]:
    from isogloss import train

    files = [path for corpus in corpora for path in text_files(registry, corpus)]
    if start is None:
        done = train.train_base(
            files,
            out,
            spec.recipe,
            shape=spec.shape or "",
            vocab=spec.vocab,
            field=field,
            device=device,
            report=report,
        )
        return done.made_by
    located = locate(registry, start, report)
    label = located.base.hub.repo if located.base.hub else located.base.ref
    verb = train.train_cpt if spec.verb == "cpt" else train.train_sft
    return verb(
        Start(located.model, located.adapter, label),
        files,
        out,
        spec.recipe,
        replay=[path for corpus in replay for path in text_files(registry, corpus)],
        field=field,
        device=device,
        report=report,
    ).made_by


def _edges(
    registry: Registry,
    verb: Verb,
    start: Resolved | None,
    adapter: bool,
    corpora: Sequence[Version],
    replay: Sequence[Version],
) -> list[Parent]:
    edges: list[Parent] = []
    if start is not None:
        base = locate(registry, start).base
        lora = start.lora or (start.version if start.version.kind == "adapter" else None)
        edges.append(registry.parent_edge(base, "base"))
        if lora is not None:
            edges.append(registry.parent_edge(lora, "start"))
    edges += [registry.parent_edge(c, "data" if verb == "sft" else "corpus") for c in corpora]
    return edges + [registry.parent_edge(c, "replay") for c in replay]
