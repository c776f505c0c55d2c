"""The tables of a card: the version beside its base, its parents and the baselines.

Every task of a suite is a column, whether it got better or worse, and what got worse is said in
words below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from isogloss.eval.bootstrap import Interval
from isogloss.publish.scores import (
    TEST,
    Board,
    dominators,
    intervals,
)


class Table(NamedTuple):
    """One suite on one split, ready for the template."""

    title: str
    tasks: list[dict[str, Any]]
    """name, side, metric, n of each column."""
    rows: list[dict[str, Any]]
    """label, and one text for each column."""
    notes: list[str]


def tables(measured: Sequence[Board]) -> list[Table]:
    """One table for each board, test splits first."""
    return [_table(board) for board in measured]


def _table(board: Board) -> Table:
    tasks = [
        {"name": r.task, "side": r.side, "metric": r.metric.replace("_", " "), "n": r.n}
        for r in board.own.values()
    ]
    bounds = intervals(board, board.shown)
    rows = [
        {
            "label": _label(board, name),
            "values": [
                _value(bounds[name][task], board.results[name][task].metrics, result.metric)
                for task, result in board.own.items()
            ],
        }
        for name in board.shown
    ]
    title = f"{board.suite}, {board.split}" + ("" if board.split == TEST else " (used to choose)")
    return Table(title, tasks, rows, [*_gain_notes(board), *_changes(board), *_asides(board)])


def _label(board: Board, name: str) -> str:
    if name == board.version:
        return f"this: {name}"
    if name == board.reference:
        return f"base: {name}"
    return f"{'parent' if name in board.kin else 'baseline'}: {name}"


def _value(interval: Interval | None, metrics: dict[str, float], metric: str) -> str:
    if interval is not None:
        return str(interval)
    return f"{metrics[metric]:.3f}" if metric in metrics else "not recorded"


def _gain_notes(board: Board) -> list[str]:
    found = board.verdict
    if found is None:
        return []
    row = next(row for row in found.rows if row.variant == board.version)
    notes = [
        f"dialect gain {row.dialect_gain} over {board.reference} "
        f"(1 − error / error of the base, mean over dialect tasks; Holm p {row.holm_p:.3g} "
        f"over {len(found.rows) - 1} versions measured)",
        f"prestige loss {row.prestige_loss} (the worst over prestige tasks)",
    ]
    if row.task_gain is not None:
        notes.append(f"task gain {row.task_gain}")
    if above := dominators(board, row):
        notes.append(f"no worse on both and better on one: {', '.join(above)}")
    return notes


def _changes(board: Board) -> list[str]:
    """What got worse, by name; and that nothing did, where that is so."""
    beside = board.beside
    if beside is None:
        return []
    worse = [row for row in beside.rows if row.word == "worse"]
    if not worse:
        return [f"no task is shown to be worse than with {board.reference} (Holm, 5 %)"]
    return [
        f"worse than {board.reference}: {row.task}, {row.metric.replace('_', ' ')} "
        f"{row.b.value:.3f} against {row.a.value:.3f} (difference {row.difference})"
        for row in worse
    ]


def _asides(board: Board) -> list[str]:
    return [f"{name} was measured on other items and is left out" for name in board.aside]
