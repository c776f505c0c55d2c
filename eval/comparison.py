"""Two variants side by side, from stored items: no model is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from isogloss.errors import EvalError
from isogloss.eval.bootstrap import (
    Interval,
    holm,
    mcnemar,
    percentile_interval,
    resampled_scores,
    shift_p,
    statistic,
)
from isogloss.eval.result import TaskResult


class ComparisonRow(NamedTuple):
    """One task: what ``a`` and ``b`` score, and what ``b`` is beside ``a``."""

    task: str
    side: str
    metric: str
    n: int
    a: Interval
    b: Interval
    difference: Interval
    """Of the metric, b − a; for bits per byte a negative one is the better."""
    p: float
    method: Literal["bootstrap", "mcnemar-exact"]
    holm_p: float
    """Over the tasks of this comparison."""
    word: Literal["better", "worse", "undecided"]
    """What b is, beside a, at the level of the comparison after Holm."""
    flags: tuple[str, ...]
    """``a:collapse`` and so on."""


class Comparison(NamedTuple):
    """``b`` against ``a`` on every task that both were measured on."""

    a: str
    b: str
    rows: list[ComparisonRow]
    alpha: float


def compare(
    a: Mapping[str, TaskResult],
    b: Mapping[str, TaskResult],
    *,
    names: tuple[str, str] = ("a", "b"),
    alpha: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two variants task by task, each given as task name to result.

    p is exact McNemar for accuracy and a paired bootstrap otherwise; tasks that only one of the
    two was measured on are left out.

    Raises:
        EvalError: no task in common, or a task measured on other items or by another protocol.
    """
    common = [task for task in a if task in b]
    if not common:
        raise EvalError(
            f"{names[0]} and {names[1]} share no task",
            expected=f"one of {', '.join(a) or 'none'} measured on both",
        )
    drafts = [_row(a[task], b[task], names, alpha, draws, seed) for task in common]
    rows = []
    for row, adjusted in zip(drafts, holm([row.p for row in drafts]), strict=True):
        rows.append(row._replace(holm_p=adjusted, word=_word(row, adjusted, alpha)))
    return Comparison(names[0], names[1], rows, alpha)


def check_comparable(results: Mapping[str, TaskResult]) -> None:
    """Raise EvalError unless results, by variant, are of one task, protocol and set of items."""
    for name, result in results.items():
        if len(result.items) != result.n:
            raise EvalError(
                f"{name} has {len(result.items)} stored items of {result.task}",
                expected=f"{result.n}, as its record says",
            )
    (first_name, first), *rest = results.items()
    for name, other in rest:
        for what in ("task", "split", "protocol", "task_digest", "metric", "n"):
            ours, theirs = getattr(first, what), getattr(other, what)
            if ours != theirs:
                raise EvalError(
                    f"{first_name} and {name} can't be compared on {first.task}: "
                    f"{what} is {_short(ours)} and {_short(theirs)}",
                    hint="measure both again on the same suite",
                )
        for i, (ours, theirs) in enumerate(zip(first.items, other.items, strict=True)):
            if _same(ours) != _same(theirs):
                raise EvalError(
                    f"{first_name} and {name} were measured on different items of {first.task} "
                    f"(the first is item {i})",
                    hint="measure both again on the same data",
                )


def _same(item: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(item.get(key) for key in ("id", "sha", "bytes", "gold"))


def _short(value: object) -> str:
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def _row(
    a: TaskResult, b: TaskResult, names: tuple[str, str], alpha: float, draws: int, seed: int
) -> ComparisonRow:
    check_comparable({names[0]: a, names[1]: b})
    both = [statistic(r.metric, r.items) for r in (a, b)]
    values = [s.value() for s in both]
    scores = resampled_scores(both, draws, seed=seed, name=a.task)
    value, drawn = values[1] - values[0], scores[:, 1] - scores[:, 0]
    exact = a.metric == "accuracy"
    return ComparisonRow(
        task=a.task,
        side=a.side,
        metric=a.metric,
        n=a.n,
        a=percentile_interval(values[0], scores[:, 0], alpha),
        b=percentile_interval(values[1], scores[:, 1], alpha),
        difference=percentile_interval(value, drawn, alpha),
        p=mcnemar(*_discordant(a, b)) if exact else shift_p(value, drawn),
        method="mcnemar-exact" if exact else "bootstrap",
        holm_p=1.0,
        word="undecided",
        flags=tuple(f"{n}:{flag}" for n, r in zip(names, (a, b), strict=True) for flag in r.flags),
    )


def _discordant(a: TaskResult, b: TaskResult) -> tuple[int, int]:
    pairs: Sequence[tuple[bool, bool]] = [
        (x["correct"], y["correct"]) for x, y in zip(a.items, b.items, strict=True)
    ]
    return sum(y and not x for x, y in pairs), sum(x and not y for x, y in pairs)


def _word(
    row: ComparisonRow, adjusted: float, alpha: float
) -> Literal["better", "worse", "undecided"]:
    if adjusted >= alpha or row.difference.value == 0:
        return "undecided"
    up = row.difference.value > 0
    return "better" if up != (row.metric == "bits_per_byte") else "worse"
