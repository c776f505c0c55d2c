"""How long work tells what it is doing: one callable, passed in, never a global.

A wing calls ``report(label, done, total, facts)`` as often as it likes; the command line draws
a bar from it, a test collects it, and :func:`silent` drops it.

>>> seen = []
>>> def report(label, done, total=None, facts=None):
...     seen.append((label, done, total))
>>> report("train", 3, 10, {"loss": 2.5}); seen
[('train', 3, 10)]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Report(Protocol):
    """Called with the state of one running task.

    Args:
        label: what runs, constant over its life ("train naija-cpt").
        done: how far it is, in the task's own unit (steps, bytes, items).
        total: the end of ``done``; None if unknown.
        facts: what to show beside the bar, already in display units
            (``{"loss": 2.51, "tok/s": 10400}``).
    """

    def __call__(
        self,
        label: str,
        done: float,
        total: float | None = None,
        facts: Mapping[str, float | str] | None = None,
    ) -> None: ...


def silent(
    label: str,
    done: float,
    total: float | None = None,
    facts: Mapping[str, float | str] | None = None,
) -> None:
    """Drop every report."""
