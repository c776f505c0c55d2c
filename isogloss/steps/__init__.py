"""Steps: resolve what was named, call a wing, record the result.

A step is ``step(registry, spec) -> record``. It is skipped where a record with the same ``step``
digest is in the registry: same verb, normalised recipe, parents' content, seed, method version.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.steps.corpora import CorpusSpec, register_corpus
    from isogloss.steps.evaluate import EvaluateSpec, evaluate_step, stored_result
    from isogloss.steps.merge import MergeSpec, merge_step
    from isogloss.steps.publish import PublishSpec, publish_step
    from isogloss.steps.references import Located, Resolved, locate, resolve
    from isogloss.steps.train import TrainSpec, train_step

_HOMES = {
    "CorpusSpec": "corpora",
    "EvaluateSpec": "evaluate",
    "Located": "references",
    "MergeSpec": "merge",
    "PublishSpec": "publish",
    "Resolved": "references",
    "TrainSpec": "train",
    "evaluate_step": "evaluate",
    "locate": "references",
    "merge_step": "merge",
    "publish_step": "publish",
    "register_corpus": "corpora",
    "resolve": "references",
    "stored_result": "evaluate",
    "train_step": "train",
}

__all__ = [
    "CorpusSpec",
    "EvaluateSpec",
    "Located",
    "MergeSpec",
    "PublishSpec",
    "Resolved",
    "TrainSpec",
    "evaluate_step",
    "locate",
    "merge_step",
    "publish_step",
    "register_corpus",
    "resolve",
    "stored_result",
    "train_step",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"isogloss.steps.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'isogloss.steps' has no attribute {name!r}")
