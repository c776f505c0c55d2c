"""The YAML at the top of a card, as the Hub validates it.

The Hub takes ISO 639 codes as languages and refuses regional tags, so ``fr-CA`` becomes ``fr``
there and a tag beside it; ``base_model`` and ``datasets`` hold Hub identifiers or are left out.

Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from isogloss.publish.licences import TERMS
from isogloss.publish.lineage import Source, base_edges, on_hub
from isogloss.publish.scores import Board
from isogloss.registry import Registry
from isogloss.registry.records import Language, Version

_NOT_ON_HUB = frozenset({"public-domain"})
"""Licences that are known here and have no identifier on the Hub."""
_HUB_METRICS = {"accuracy": "accuracy", "macro_f1": "f1"}
_TASK_TYPES = {
    "perplexity": "text-generation",
    "classification": "text-classification",
    "multiple_choice": "multiple-choice",
    "generation": "text-generation",
}


def front_matter(
    registry: Registry,
    version: Version,
    *,
    name: str,
    licence: str | None,
    lineage: Sequence[Source],
    measured: Sequence[Board],
    endpoint: str,
) -> str:
    """The block between the ``---`` lines, with them.

    Args:
        name: what the card calls the model; the last part of the repository.
        licence: of the whole (``gate.effective_licence``); None where none was found.
    """
    languages = languages_of(version, lineage)
    codes = list(dict.fromkeys(code for one in languages if (code := iso_code(one.tag))))
    parents = base_models(registry, version, lineage, endpoint)
    data: dict[str, Any] = {"language": codes} if codes else {}
    data |= licence_fields(licence)
    data["library_name"] = "peft" if version.kind == "adapter" else "transformers"
    if is_causal(version, lineage):
        data["pipeline_tag"] = "text-generation"
    if parents:
        data["base_model"] = parents[0] if len(parents) == 1 else parents
        data["base_model_relation"] = relation(version)
    sets = datasets(lineage)
    data |= {"datasets": sets} if sets else {}
    used = dict.fromkeys(_HUB_METRICS.get(r.metric) for b in measured for r in b.own.values())
    metrics = [metric for metric in used if metric]
    data |= {"metrics": metrics} if metrics else {}
    data["tags"] = tags(version, languages)
    if measured:
        data["model-index"] = [{"name": name, "results": results(measured)}]
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---\n"


def languages_of(version: Version, lineage: Sequence[Source]) -> tuple[Language, ...]:
    """The version's languages; where none is recorded, those of its nearest ancestors."""
    if version.languages:
        return version.languages
    for level in (True, False):
        found = [
            language
            for source in lineage
            if source.direct is level and source.version is not None and source.edge != "replay"
            for language in source.version.languages
        ]
        if found:
            return tuple({language.tag: language for language in found}.values())
    return ()


def iso_code(tag: str) -> str | None:
    """The ISO 639 code of a BCP-47 tag; None where it has none (private use).

    >>> iso_code("fr-CA"), iso_code("pcm"), iso_code("x-joual")
    ('fr', 'pcm', None)
    """
    first = tag.split("-")[0].lower()
    return first if re.fullmatch(r"[a-z]{2,3}", first) else None


def licence_fields(licence: str | None) -> dict[str, str]:
    """``license``, with name and link where the Hub has no identifier for it."""
    if licence is not None and licence in TERMS and licence not in _NOT_ON_HUB:
        return {"license": licence}
    name = licence or "unresolved"
    return {"license": "other", "license_name": name, "license_link": "README.md#licence"}


def base_models(
    registry: Registry, version: Version, lineage: Sequence[Source], endpoint: str
) -> list[str]:
    """Hub identifiers of what it was made from: an adapter's base, all parents of a model."""
    if version.kind == "adapter":
        chosen = base_edges(registry, version)
    else:
        direct = [source for source in lineage if source.direct]
        chosen = [s for s in direct if s.edge == "merge_input"]
        chosen += [s for s in direct if s.edge == "base"]
    places = [on_hub(registry, s.parent, s.version, endpoint) for s in chosen]
    return list(dict.fromkeys(place.repo for place in places if place))


def relation(version: Version) -> str:
    """``adapter``, ``merge`` or ``finetune``."""
    if version.kind == "adapter":
        return "adapter"
    merged = any(parent.role == "merge_input" for parent in version.parents)
    return "merge" if merged or version.role == "merged" else "finetune"


def is_causal(version: Version, lineage: Sequence[Source]) -> bool:
    """Whether it, or a model below it, is a causal language model."""
    models = [version, *(source.version for source in lineage)]
    names = [v.model.architecture for v in models if v is not None and v.model is not None]
    return bool(names) and str(names[0]).endswith("ForCausalLM")


def datasets(lineage: Sequence[Source]) -> list[str]:
    """Hub identifiers of the corpora that came from there."""
    found = [
        source.version.hub.repo
        for source in lineage
        if source.version is not None and source.version.kind == "corpus" and source.version.hub
    ]
    return list(dict.fromkeys(found))


def tags(version: Version, languages: Sequence[Language]) -> list[str]:
    """``isogloss``, what it is, and each dialect as BCP-47 and Glottocode."""
    found = ["isogloss"]
    if version.kind == "adapter" and version.adapter is not None:
        found.append(version.adapter.peft_type.lower())
    if relation(version) == "merge" or version.role == "merged":
        found.append("merge")
    if any(language.prestige for language in languages):
        found.append("dialect")
    for language in languages:
        found += [language.tag] if "-" in language.tag else []
        found += [f"glottolog:{language.glottocode}"] if language.glottocode else []
    return list(dict.fromkeys(found))


def results(measured: Sequence[Board]) -> list[dict[str, Any]]:
    """The entries of ``model-index``: one for each task and split."""
    entries = []
    for board in measured:
        for task, result in board.own.items():
            value = result.metrics.get(result.metric, result.error)
            kind = _TASK_TYPES.get(result.kind, "text-generation")
            entries.append(
                {
                    "task": {"type": kind},
                    "dataset": {
                        "type": task,
                        "name": f"{task} ({board.suite})",
                        "split": board.split,
                    },
                    "metrics": [
                        {
                            "type": _HUB_METRICS.get(result.metric, result.metric),
                            "value": round(value, 6),
                            "name": f"{result.metric}, n = {result.n}",
                        }
                    ],
                }
            )
    return entries
