"""Merging: arithmetic on checkpoints and adapters that stand on one base.

A recipe (mergekit's YAML, and more) becomes a :class:`Plan` from headers alone; running the plan
writes a model folder. This package works on paths and knows no registry.

>>> from isogloss.merge import METHODS
>>> METHODS["ties"].paper
'https://arxiv.org/abs/2306.01708'

========  =====================================================================================
recipe    what a person writes -> a typed recipe
sources   what the strings of a recipe became: folders
planning  recipe + headers -> one job a tensor; every problem a header tells is found here
engine    read, compute, write, digest
methods   one file a method
========  =====================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.merge.engine import MergeResult, run
    from isogloss.merge.methods import METHODS
    from isogloss.merge.planning import Plan, plan
    from isogloss.merge.recipe import Recipe, load_recipe
    from isogloss.merge.sources import Source, sources_from_paths

__all__ = [
    "METHODS",
    "MergeResult",
    "Plan",
    "Recipe",
    "Source",
    "load_recipe",
    "plan",
    "run",
    "sources_from_paths",
]

_HOMES = {
    "METHODS": "isogloss.merge.methods",
    "MergeResult": "isogloss.merge.engine",
    "Plan": "isogloss.merge.planning",
    "Recipe": "isogloss.merge.recipe",
    "Source": "isogloss.merge.sources",
    "load_recipe": "isogloss.merge.recipe",
    "plan": "isogloss.merge.planning",
    "run": "isogloss.merge.engine",
    "sources_from_paths": "isogloss.merge.sources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'isogloss.merge' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
