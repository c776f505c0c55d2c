"""``trim: model``: thresholds and the majority sign over all tensors, before any is merged.

The exact k-th magnitude of a whole model is found by two histograms of the float32 bits: by the
top 15 magnitude bits, then by the low 16 within one bin. Entries equal to the threshold are kept
in the order of writing, lowest index first, until k is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from isogloss.merge.kernels import (
    Array,
    Threshold,
    bin_of_kth,
    count_equal,
    high_histogram,
    keep,
    low_histogram,
)
from isogloss.merge.methods.ties import ballots, entries_kept, folds, sign_balance, tally
from isogloss.merge.planning import Job, Plan

_INFINITY = 0x7F800000


class Survey(NamedTuple):
    """What a first look at all deltas found."""

    cuts: dict[str, tuple[Threshold, ...]]
    """Tensor -> what is kept of each input there."""
    majority: int | None
    """Σ sgn S over the model; None where no election asks for it."""


def survey(todo: Plan, deltas: Callable[[Job], Sequence[Array]]) -> Survey:
    """Read every delta as often as needed (two to four times) and decide what is kept.

    Args:
        deltas: reads the deltas of one job, in the order of ``todo.inputs``.
    """
    jobs = [job for job in todo.jobs if job.merged]
    cuts = _cuts(todo, jobs, deltas)
    if jobs[0].shared["zero_sum"] != "majority":
        return Survey(cuts, None)
    balance = 0
    for job in jobs:
        trimmed = [keep(d, cut) for d, cut in zip(deltas(job), cuts[job.name], strict=True)]
        numbers = [np.float32(w) for w in job.per_input["weight"]]
        shares = [number * d for number, d in zip(numbers, trimmed, strict=True)]
        elect = str(job.shared["elect"])
        fold = folds(str(job.shared["semantics"]), elect, str(job.shared["normalize"]))
        votes = ballots(trimmed, shares, numbers, elect=elect, fold=fold)
        balance += sign_balance(tally(votes))
    return Survey(cuts, balance)


def _cuts(
    todo: Plan, jobs: Sequence[Job], deltas: Callable[[Job], Sequence[Array]]
) -> dict[str, tuple[Threshold, ...]]:
    count = len(todo.inputs)
    sizes = {job.name: int(np.prod(job.slot.shape, dtype=np.int64)) for job in jobs}
    n = sum(sizes.values())
    ks = [
        entries_kept(jobs[0].per_input["density"][i], n, str(jobs[0].shared["semantics"]))
        for i in range(count)
    ]
    if all(k >= n for k in ks):
        return {job.name: (Threshold(0, sizes[job.name]),) * count for job in jobs}
    high = np.zeros((count, 1 << 15), np.int64)
    for job in jobs:
        for i, delta in enumerate(deltas(job)):
            high[i] += high_histogram(delta)
    bins = [bin_of_kth(high[i], k) if k else (0, 0) for i, k in enumerate(ks)]
    low = np.zeros((count, 1 << 16), np.int64)
    for job in jobs:
        for i, delta in enumerate(deltas(job)):
            low[i] += low_histogram(delta, bins[i][0])
    least, left = [], []
    for i, k in enumerate(ks):
        place, rest = bin_of_kth(low[i], bins[i][1]) if k else (0, 0)
        least.append((bins[i][0] << 16 | place) if k else _INFINITY)
        left.append(rest)
    cuts = {}
    for job in jobs:
        here = []
        for i, delta in enumerate(deltas(job)):
            ties = min(left[i], count_equal(delta, least[i]))
            left[i] -= ties
            here.append(Threshold(least[i], ties))
        cuts[job.name] = tuple(here)
    return cuts
