"""What a merge met: conflicts, and what each input lost to the others, per tensor and in total.

The counts come from the methods and add up over tensors; shares are taken of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isogloss.merge.planning import Plan

Counts = Mapping[str, float]


def add(counts: Iterable[Counts]) -> dict[str, float]:
    """The sum of each count."""
    total: dict[str, float] = {}
    for one in counts:
        for key, value in one.items():
            total[key] = total.get(key, 0) + value
    return total


def shares(counts: Counts, labels: Sequence[str], favoured: int | None) -> dict[str, Any]:
    """Counts as shares, from 0 to 1.

    ``conflict_rate``: entries with votes of both signs, of those with any vote. For each input
    ``discard_rate`` (entries) and ``mass_lost`` (Σ|τ̂|) of its nonzero votes that were outvoted.
    With slack: ``changed``, the share of entries where plain TIES averages other inputs; ``c``,
    the cosine of the favoured votes with the slack-shifted sum; and arccos(c)/π, the discard rate
    that jointly normal deltas would have (meant for ``relative``, no trimming).
    """
    if "entries" not in counts:
        return {}
    found: dict[str, Any] = {
        "entries": int(counts["entries"]),
        "conflict_rate": _share(counts["conflicts"], counts["contested"]),
        "inputs": {
            label: {
                "discard_rate": _share(counts[f"lost.{i}"], counts[f"live.{i}"]),
                "mass_lost": _share(counts[f"mass_lost.{i}"], counts[f"mass.{i}"]),
            }
            for i, label in enumerate(labels)
        },
    }
    if favoured is not None and "changed" in counts:
        size = math.sqrt(counts["slack.ff"] * counts["slack.ss"])
        c = max(-1.0, min(1.0, counts["slack.fs"] / size)) if size else 1.0
        found["slack"] = {
            "favoured": labels[favoured],
            "changed": _share(counts["changed"], counts["entries"]),
            "c": c,
            "gaussian_discard_rate": math.acos(c) / math.pi,
        }
    return found


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def summary(
    todo: Plan, labels: Sequence[str], counts: Sequence[tuple[str, Counts]]
) -> dict[str, Any]:
    """``total`` and ``by_tensor`` (both :func:`shares`; empty where a method counts nothing),
    ``tensors`` merged, ``copied``, and ``notes``."""
    return {
        "tensors": len(counts),
        "copied": len(todo.jobs) - len(counts),
        "total": shares(add(one for _, one in counts), labels, todo.favoured),
        "by_tensor": {name: shares(one, labels, todo.favoured) for name, one in counts if one},
        "notes": list(todo.notes),
    }


def totals_only(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """``statistics`` without the rows of each tensor: what goes into a record."""
    return {key: value for key, value in statistics.items() if key != "by_tensor"}
