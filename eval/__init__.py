"""Evaluation: what the dialect gained and the prestige variety lost, with intervals.

A :class:`Suite` holds tasks, :func:`evaluate` scores any number of variants on them and
:func:`judge` names the winner, or says why there is none. Knows paths and no registry.
Importing this module imports no torch: the names below are loaded when first touched.

>>> from isogloss.eval import load_suite
>>> [task.side for task in load_suite("naija").tasks]
['dialect', 'prestige', 'prestige', 'dialect', 'task']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.eval.comparison import Comparison, compare
    from isogloss.eval.measure import Measured, evaluate
    from isogloss.eval.result import TaskResult, items_from_jsonl, items_to_jsonl
    from isogloss.eval.suite import load_suite, suites
    from isogloss.eval.task import Suite, Task, Variant
    from isogloss.eval.verdict import Verdict, VerdictRow, judge

__all__ = [
    "Comparison",
    "Measured",
    "Suite",
    "Task",
    "TaskResult",
    "Variant",
    "Verdict",
    "VerdictRow",
    "compare",
    "evaluate",
    "items_from_jsonl",
    "items_to_jsonl",
    "judge",
    "load_suite",
    "suites",
]

_HOMES = {
    "Comparison": "comparison",
    "Measured": "measure",
    "Suite": "task",
    "Task": "task",
    "TaskResult": "result",
    "Variant": "task",
    "Verdict": "verdict",
    "VerdictRow": "verdict",
    "compare": "comparison",
    "evaluate": "measure",
    "items_from_jsonl": "result",
    "items_to_jsonl": "result",
    "judge": "verdict",
    "load_suite": "suite",
    "suites": "suite",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'isogloss.eval' has no attribute {name!r}")
    return getattr(importlib.import_module(f"isogloss.eval.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
