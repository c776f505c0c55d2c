"""Gain, loss and the winner: the judgement that everything is published on.

With error e = bits per byte or 1 − score, a variant x against the reference r has on a task

    gain = 1 − e(x) / e(r)

The *dialect gain* of x is the mean gain over dialect tasks, its *prestige loss* the worst −gain
over prestige tasks. The winner is the candidate with the greatest dialect gain among those whose
dialect gain has an interval above 0, whose prestige loss has an upper bound below the margin
(a question of non-inferiority: "no significant loss" would show nothing), and which neither the
reference, a rival nor another candidate dominates. There may be none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from isogloss.errors import EvalError, UsageError, did_you_mean
from isogloss.eval.bootstrap import (
    Interval,
    holm,
    percentile_interval,
    resampled_scores,
    shift_p,
    statistic,
)
from isogloss.eval.comparison import check_comparable
from isogloss.eval.metrics import Array
from isogloss.eval.result import TaskResult

Role = Literal["reference", "candidate", "rival"]
Scores = Mapping[str, Mapping[str, TaskResult]]


class VerdictRow(NamedTuple):
    """One variant in the verdict."""

    variant: str
    role: Role
    dialect_gain: Interval
    prestige_loss: Interval
    task_gain: Interval | None
    """Mean gain over tasks of side ``task``; None where there are none."""
    tasks: dict[str, Interval]
    """The metric of each task itself."""
    p: float
    """Two-sided paired bootstrap, null hypothesis: dialect gain 0."""
    holm_p: float
    """Adjusted over all variants of the verdict but the reference."""
    eligible: bool
    """A candidate that passes all three tests."""
    reasons: list[str]
    """Why it isn't eligible, with the numbers; empty where it is, and where it isn't asked."""
    dominated_by: list[str]
    flags: list[str]
    """``task:flag`` of each task's flags."""


class Verdict(NamedTuple):
    """Who won, or that nobody did, and why."""

    rows: list[VerdictRow]
    """Reference, candidates, rivals, in the order given."""
    winner: str | None
    why: str
    """One or two sentences with the numbers."""
    margin: float
    reference: str


class _Drawn(NamedTuple):
    """One variant's figures: values on the items and on each resample, (draws,)."""

    gain: float
    loss: float
    task: float | None
    gains: Array
    losses: Array
    tasks: Array | None


def judge(
    scores: Scores,
    *,
    reference: str,
    candidates: Sequence[str],
    rivals: Sequence[str] = (),
    margin: float = 0.02,
    alpha: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Name the winner among ``candidates``, or say why there is none.

    Args:
        scores: variant to task to result, all on one split.
        reference: what gain and loss are counted against, commonly the base.
        candidates: who may win.
        rivals: parents and baselines: they can't win, but a candidate must not be dominated by
            them. A name may be candidate and rival; it is a candidate then.
        margin: a winner's prestige loss has its upper bound below this share of the error.
        alpha: intervals are at level 1 − alpha, two-sided.

    Raises:
        EvalError: a variant or task is missing, no dialect or no prestige task, results on
            different items or protocols, or a reference without any error.
        UsageError: no candidate, or a number out of range.

    >>> verdict = judge(scores, reference="base", candidates=["merge-a", "merge-b"],
    ...                 rivals=["adapter", "task-model"])           # doctest: +SKIP
    >>> verdict.winner                                              # doctest: +SKIP
    'merge-b'
    """
    _check_call(candidates, margin, alpha, draws)
    candidates = [n for n in dict.fromkeys(candidates) if n != reference]
    rivals = [n for n in dict.fromkeys(rivals) if n != reference and n not in candidates]
    names = [reference, *candidates, *rivals]
    tasks = _common_tasks(scores, names)
    errors, metric_intervals = _resample(scores, names, tasks, alpha, draws, seed)
    sides = {task: scores[reference][task].side for task in tasks}
    drawn = {name: _figures(errors, i, sides) for i, name in enumerate(names)}
    ps = {name: shift_p(d.gain, d.gains) for name, d in drawn.items()}
    adjusted = dict(zip(names[1:], holm([ps[n] for n in names[1:]]), strict=True))
    rows = []
    for name in names:
        of = drawn[name]
        role: Role = "rival" if name in rivals else "candidate"
        role = "reference" if name == reference else role
        gain = percentile_interval(of.gain, of.gains, alpha)
        loss = percentile_interval(of.loss, of.losses, alpha)
        above = [n for n in names if n != name and _dominates(drawn[n], of) and role == "candidate"]
        reasons = _reasons(gain, loss, above, margin) if role == "candidate" else []
        rows.append(
            VerdictRow(
                variant=name,
                role=role,
                dialect_gain=gain,
                prestige_loss=loss,
                task_gain=None
                if of.task is None or of.tasks is None
                else percentile_interval(of.task, of.tasks, alpha),
                tasks=metric_intervals[name],
                p=ps[name],
                holm_p=adjusted.get(name, 1.0),
                eligible=role == "candidate" and not reasons,
                reasons=reasons,
                dominated_by=above,
                flags=[f"{t}:{flag}" for t in tasks for flag in scores[name][t].flags],
            )
        )
    winner, why = _decide(rows, margin)
    return Verdict(rows, winner, why, margin, reference)


def _check_call(candidates: Sequence[str], margin: float, alpha: float, draws: int) -> None:
    if not candidates:
        raise UsageError("there is no candidate", expected="one or more variants that may win")
    if not 0 <= margin < 1:
        raise UsageError(f"the margin is {margin}", expected="0 or more and below 1, as 0.02")
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha}", expected="between 0 and 1, as 0.05")
    if draws < 100:
        raise UsageError(f"{draws} draws", expected="100 or more: an interval hangs on its tails")


def _common_tasks(scores: Scores, names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in scores:
            raise EvalError(f"{name} was not measured", hint=did_you_mean(name, scores))
    tasks = list(scores[names[0]])
    for name in names[1:]:
        if lacking := sorted(set(tasks) ^ set(scores[name])):
            raise EvalError(
                f"{names[0]} and {name} were not measured on the same tasks: "
                f"{lacking[0]} is of one only",
                hint="measure both on the same suite and split",
            )
    for task in tasks:
        check_comparable({name: scores[name][task] for name in names})
    for side in ("dialect", "prestige"):
        if not any(scores[names[0]][task].side == side for task in tasks):
            raise EvalError(
                f"no {side} task was measured",
                expected="one dialect and one prestige task or more",
                hint="a gain without the loss beside it is no judgement",
            )
    return tasks


def _resample(
    scores: Scores, names: Sequence[str], tasks: Sequence[str], alpha: float, draws: int, seed: int
) -> tuple[dict[str, Array], dict[str, dict[str, Interval]]]:
    """Errors per task, (1 + draws, variants), row 0 on the items themselves; metric intervals."""
    errors: dict[str, Array] = {}
    intervals: dict[str, dict[str, Interval]] = {name: {} for name in names}
    for task in tasks:
        metric = scores[names[0]][task].metric
        statistics = [statistic(metric, scores[name][task].items) for name in names]
        values = np.array([[s.value() for s in statistics]])
        drawn = resampled_scores(statistics, draws, seed=seed, name=task)
        for i, name in enumerate(names):
            intervals[name][task] = percentile_interval(float(values[0, i]), drawn[:, i], alpha)
        both = np.concatenate([values, drawn])
        errors[task] = both if metric == "bits_per_byte" else 1 - both
        if errors[task][0, 0] <= 0:
            raise EvalError(
                f"the reference {names[0]} makes no error on {task}",
                expected="a task that the reference can be better at: gain is a share of its error",
            )
    return errors, intervals


def _figures(errors: Mapping[str, Array], variant: int, sides: Mapping[str, str]) -> _Drawn:
    gains: dict[str, list[Array]] = {"dialect": [], "prestige": [], "task": []}
    for task, error in errors.items():
        gains[sides[task]].append(_gain(error[:, variant], error[:, 0]))
    dialect = np.mean(gains["dialect"], axis=0)
    # 0 − g rather than −g: a variant that is the reference has a loss of 0, not of −0.
    loss = np.max([0 - g for g in gains["prestige"]], axis=0)
    task_ = np.mean(gains["task"], axis=0) if gains["task"] else None
    return _Drawn(
        gain=float(dialect[0]),
        loss=float(loss[0]),
        task=None if task_ is None else float(task_[0]),
        gains=dialect[1:],
        losses=loss[1:],
        tasks=None if task_ is None else task_[1:],
    )


def _gain(error: Array, reference: Array) -> Array:
    """1 − error / reference; where a resample leaves the reference none, 0 or minus infinity."""
    met = reference > 0
    gain: Array = np.where(error > 0, -np.inf, 0.0)
    ratio = np.divide(error, reference, out=np.ones_like(error), where=met)
    return np.where(met, 1 - ratio, gain)


def _dominates(one: _Drawn, other: _Drawn) -> bool:
    no_worse = one.gain >= other.gain and one.loss <= other.loss
    return no_worse and (one.gain > other.gain or one.loss < other.loss)


def _reasons(gain: Interval, loss: Interval, above: Sequence[str], margin: float) -> list[str]:
    reasons = []
    if gain.low <= 0:
        reasons.append(f"its dialect gain {gain} has an interval that isn't above 0")
    if loss.high >= margin:
        reasons.append(f"the upper bound of its prestige loss {loss} isn't below {margin:g}")
    if above:
        reasons.append(f"it is dominated by {_list(above)}")
    return reasons


def _decide(rows: Sequence[VerdictRow], margin: float) -> tuple[str | None, str]:
    candidates = [row for row in rows if row.role == "candidate"]
    # max and min take the first of equals: ties go to the candidate that is named first.
    eligible = [row for row in candidates if row.eligible]
    if eligible:
        best = max(eligible, key=lambda row: row.dialect_gain.value)
        why = (
            f"{best.variant} has a dialect gain of {best.dialect_gain} and a prestige loss of "
            f"{best.prestige_loss}, its upper bound below the margin {margin:g}; "
            f"no variant dominates it."
        )
        if len(eligible) > 1:
            why += f" Of {len(eligible)} eligible candidates it gains the most."
        return best.variant, why
    best = max(candidates, key=lambda row: row.dialect_gain.value)
    why = (
        f"There is no winner among {len(candidates)} "
        f"candidate{'s' if len(candidates) > 1 else ''}. {best.variant} comes first in dialect "
        f"gain, with {best.dialect_gain}, but {'; '.join(best.reasons)}."
    )
    return None, why


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
