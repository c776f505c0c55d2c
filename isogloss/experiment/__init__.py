"""Experiments: one YAML file from corpora to a chosen, measured merge.

>>> from isogloss.experiment import load_experiment, run_experiment   # doctest: +SKIP
>>> outcome = run_experiment(load_experiment(Path("experiments/naija.yaml")), registry)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.experiment.report import as_json, as_markdown
    from isogloss.experiment.run import Outcome, SeedOutcome, run_experiment
    from isogloss.experiment.spec import Experiment, load_experiment

_HOMES = {
    "Experiment": "spec",
    "Outcome": "run",
    "SeedOutcome": "run",
    "as_json": "report",
    "as_markdown": "report",
    "load_experiment": "spec",
    "run_experiment": "run",
}

__all__ = [
    "Experiment",
    "Outcome",
    "SeedOutcome",
    "as_json",
    "as_markdown",
    "load_experiment",
    "run_experiment",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"isogloss.experiment.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'isogloss.experiment' has no attribute {name!r}")
