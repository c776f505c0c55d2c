"""A merge step: resolve the recipe's names, merge into the registry, record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isogloss.config import Strict
from isogloss.merge import Recipe, Source, load_recipe, run
from isogloss.progress import Report, silent
from isogloss.refs import check_name
from isogloss.registry import Draft, Language, Registry, Version, step_digest
from isogloss.registry.records import Parent, Role
from isogloss.registry.store import staging
from isogloss.steps.references import Resolved, again, contents, locate, resolve


class MergeSpec(Strict):
    """One merge: a recipe whose names are references."""

    name: str
    recipe: dict[str, Any]
    """As ``isogloss.merge.load_recipe`` takes it."""
    role: Role = "merged"
    languages: tuple[Language, ...] | None = None
    """None means those of the inputs."""
    licence: str | None = None


def sources(
    registry: Registry, recipe: Recipe, report: Report = silent
) -> tuple[dict[str, Resolved], dict[str, Source]]:
    """What each name of a recipe became: versions, and the folders that the merge wing reads.

    Raises:
        RefError: a name means nothing, or more than one thing.
    """
    resolved = {name: resolve(registry, name, report=report) for name in recipe.names()}
    found = {}
    for name, what in resolved.items():
        located = locate(registry, what, report)
        last = what.lora or what.version
        found[name] = Source(
            label=name,
            model=located.model,
            adapter=located.adapter,
            role=last.role,
            content=last.content,
        )
    return resolved, found


def merge_step(registry: Registry, spec: MergeSpec, *, report: Report = silent) -> Version:
    """Merge what ``spec`` says, or return the version that the same step made before.

    Raises:
        ConfigError: the recipe. RefError: its names. MergeError, InputError: its inputs.
    """
    check_name(spec.name)
    written = load_recipe(spec.recipe)
    resolved, located = sources(registry, written, report)
    refs = {name: what.ref for name, what in resolved.items()}
    pinned = renamed(written.normalised(), refs)
    recipe = load_recipe(pinned)
    by_ref = {what.ref: what for what in resolved.values()}
    found = {refs[name]: one._replace(label=refs[name]) for name, one in located.items()}

    # What a merge is called doesn't change it; the role of an input may (slack favours the task).
    told = {key: value for key, value in pinned.items() if key not in ("name", "note")}
    told["roles"] = [found[name].role for name in recipe.names()]
    versions = [v for name in recipe.names() for v in by_ref[name].versions]
    digests = {ref: "+".join(v.content for v in what.versions) for ref, what in by_ref.items()}
    step = step_digest(
        "merge run",
        renamed(told, digests),
        contents(registry, versions),
        recipe.seed,
        recipe.method.version,
    )
    done = registry.by_step(step)
    parents = _edges(registry, recipe, by_ref)
    languages = spec.languages
    if languages is None:
        inputs = [v for what in by_ref.values() for v in what.versions if v.role != "base"]
        languages = tuple(dict.fromkeys(lang for v in inputs for lang in v.languages))
    draft: dict[str, Any] = {
        "name": spec.name,
        "role": spec.role,
        "languages": languages,
        "licence": spec.licence,
        "parents": parents,
        "step": step,
    }
    if done is not None:
        draft |= {"kind": done.kind, "made_by": done.made_by}
        return again(registry, done, Draft(**draft))
    # Locked, so that a process that opens the registry meanwhile doesn't sweep it away.
    with staging(registry.root) as scratch:
        result = run(recipe, scratch / "out", sources=found, report=report)
        kind = "adapter" if (result.folder / "adapter_config.json").is_file() else "model"
        draft |= {"kind": kind, "made_by": result.made_by}
        return registry.add(result.folder, Draft(**draft), move=True, report=report)


_NAMING_KEYS = frozenset({"model", "base_model", "favoured", "source", "tokenizer_source"})


def renamed(recipe: Any, names: Mapping[str, str], key: str = "") -> Any:
    """A recipe with every model that ``names`` knows called by its other name.

    Only values of keys that name models are touched; ``a+b`` is two names.

    >>> renamed({"merge_method": "ties", "base_model": "ties"}, {"ties": "ties:1"})
    {'merge_method': 'ties', 'base_model': 'ties:1'}
    """
    if isinstance(recipe, dict):
        return {inner: renamed(value, names, inner) for inner, value in recipe.items()}
    if isinstance(recipe, list):
        return [renamed(value, names, key) for value in recipe]
    if isinstance(recipe, str) and key in _NAMING_KEYS:
        return names.get(recipe) or "+".join(names.get(p, p) for p in recipe.split("+"))
    return recipe


def _edges(
    registry: Registry, recipe: Recipe, by_ref: Mapping[str, Resolved]
) -> tuple[Parent, ...]:
    edges: list[Parent] = []
    base = recipe.base_model
    if base is not None:
        root = locate(registry, by_ref[base]).base
        edges.append(registry.parent_edge(root, "base"))
        loras = [v for v in by_ref[base].versions if v.kind == "adapter"]
        edges += [registry.parent_edge(lora, "start") for lora in loras]
    for entry in recipe.inputs:
        if entry.model == base:
            continue
        weight = entry.parameters.get("weight")
        plain = float(weight) if isinstance(weight, int | float) else None
        for version in by_ref[entry.model].versions:
            edges.append(registry.parent_edge(version, "merge_input", plain))
    used = {base, *(entry.model for entry in recipe.inputs)}
    for name in recipe.names():
        if name not in used:
            edges.append(registry.parent_edge(by_ref[name].version, "tokenizer"))
    return tuple(edges)
