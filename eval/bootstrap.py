"""Intervals and tests on paired items: bootstrap, exact McNemar, Holm.

Every draw resamples the items of a task with replacement, and the *same* resample serves all
variants, so that what is common to them cancels in a difference. A task's resamples depend on
the seed and its name alone: other tasks, their order and the variants don't change them.

Source: Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), chapters 13 and 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isogloss.errors import UsageError
from isogloss.eval.metrics import Array, bits_per_byte, class_counts, macro_f1
from isogloss.eval.result import Item

_BLOCK = 1 << 21


class Interval(NamedTuple):
    """A value with the bounds of its bootstrap percentile interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Paired(NamedTuple):
    """Two systems compared on the same items."""

    difference: Interval
    """statistic(b) − statistic(a)."""
    p: float
    """Two-sided, (1 + #{|d* − d| ≥ |d|}) / (draws + 1)."""


def resamples(n: int, draws: int, *, seed: int, name: str = "") -> Iterator[Array]:
    """How often each of ``n`` items is drawn: blocks of shape (some draws, n), ``draws`` in all.

    Args:
        name: of the task; each has a stream of its own under one seed.
    """
    if n < 1 or draws < 1:
        raise UsageError(f"{draws} draws of {n} items", expected="1 or more of each")
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    generator = np.random.default_rng([seed, key])
    block = max(1, _BLOCK // n)
    for start in range(0, draws, block):
        count = min(block, draws - start)
        drawn = generator.integers(0, n, size=(count, n), dtype=np.int64)
        drawn += np.arange(count, dtype=np.int64)[:, None] * n
        weights = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        yield weights.astype(np.float64)


def resampled_sums(columns: Array, draws: int, *, seed: int, name: str = "") -> Array:
    """Sums of each column over each resample: (items, columns) gives (draws, columns)."""
    blocks = [w @ columns for w in resamples(len(columns), draws, seed=seed, name=name)]
    return np.concatenate(blocks)


class Statistic(NamedTuple):
    """A corpus-level score as a function of sums over items, so that it can be resampled."""

    columns: Array
    """(items, k): what is summed."""
    of: Callable[[Array], Array]
    """(..., k) sums to (...) scores."""

    def value(self) -> float:
        """The score on the items themselves."""
        return float(self.of(self.columns.sum(0)))


def statistic(metric: str, items: Sequence[Item]) -> Statistic:
    """``bits_per_byte``, ``accuracy`` or ``macro_f1`` of scored items, as a :class:`Statistic`."""
    if metric == "bits_per_byte":
        columns = np.array([[i["nats"], i["bytes"]] for i in items], dtype=np.float64)
        return Statistic(columns, lambda sums: bits_per_byte(sums[..., 0], sums[..., 1]))
    if metric == "accuracy":
        columns = np.array([[i["correct"], 1.0] for i in items], dtype=np.float64)
        return Statistic(columns, lambda sums: sums[..., 0] / sums[..., 1])
    if metric == "macro_f1":
        counts = class_counts(items)
        shape = counts.shape[1:]

        def f1(sums: Array) -> Array:
            split = sums.reshape(*sums.shape[:-1], *shape)
            return macro_f1(split[..., 0, :], split[..., 1, :], split[..., 2, :])

        return Statistic(counts.reshape(len(items), -1), f1)
    raise UsageError(f"unknown metric {metric!r}", expected="bits_per_byte, accuracy or macro_f1")


def resampled_scores(
    statistics: Sequence[Statistic], draws: int, *, seed: int, name: str = ""
) -> Array:
    """The scores of several systems on the same resamples: shape (draws, systems)."""
    stacked = np.concatenate([s.columns for s in statistics], axis=1)
    sums = resampled_sums(stacked, draws, seed=seed, name=name)
    ends = np.cumsum([s.columns.shape[1] for s in statistics])
    parts = np.split(sums, ends[:-1], axis=1)
    return np.stack([s.of(part) for s, part in zip(statistics, parts, strict=True)], axis=1)


def percentile_interval(value: float, drawn: NDArray[Any], alpha: float = 0.05) -> Interval:
    """``value`` with the percentile interval of ``drawn`` (draws,) at level 1 − ``alpha``.

    Bounds are drawn values themselves, not between two: an infinite draw can't make NaN.
    """
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    return Interval(value, float(low), float(high))


def shift_p(value: float, drawn: NDArray[Any]) -> float:
    """(1 + #{|d* − d| ≥ |d|}) / (draws + 1): two-sided, for d = 0 under the null hypothesis."""
    # The least slack lets draws count that equal d but for the last bit.
    far = np.abs(drawn - value) >= abs(value) * (1 - 1e-12)
    return (1 + int(far.sum())) / (len(drawn) + 1)


def paired_bootstrap(
    a: Statistic,
    b: Statistic,
    *,
    draws: int = 2000,
    seed: int = 0,
    alpha: float = 0.05,
    name: str = "",
) -> Paired:
    """The difference b − a of two scores on the same items, with interval and p.

    Raises:
        UsageError: the two don't have the same number of items.

    >>> items = [{"correct": i % 2 == 0} for i in range(40)]
    >>> paired_bootstrap(statistic("accuracy", items), statistic("accuracy", items)).p
    1.0
    """
    if len(a.columns) != len(b.columns):
        raise UsageError(
            f"{len(a.columns)} and {len(b.columns)} items can't be paired",
            expected="the same items, in the same order",
        )
    scores = resampled_scores([a, b], draws, seed=seed, name=name)
    value = b.value() - a.value()
    drawn = scores[:, 1] - scores[:, 0]
    return Paired(percentile_interval(value, drawn, alpha), shift_p(value, drawn))


def mcnemar(n01: int, n10: int) -> float:
    """Exact McNemar: the two-sided binomial test of ``n01`` in ``n01 + n10`` at one half.

    ``n01`` counts the items that only the one system gets right, ``n10`` those that only the
    other does. No such item gives p = 1.

    >>> round(mcnemar(1, 8), 6)
    0.039062
    """
    if min(n01, n10) < 0:
        raise UsageError(f"counts {n01} and {n10}", expected="0 or more")
    if n01 + n10 == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(n01, n01 + n10, 0.5).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: running max of (m − i + 1)·p(i), at most 1.

    Source: Holm, *A simple sequentially rejective multiple test procedure* (1979).

    >>> holm([0.25, 0.125, 0.375])
    [0.5, 0.375, 0.5]
    """
    if strange := [p for p in ps if not 0 <= p <= 1]:
        raise UsageError(f"{strange[0]} is no p-value", expected="0 to 1")
    adjusted = [0.0] * len(ps)
    running = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        running = max(running, (len(ps) - rank) * ps[place])
        adjusted[place] = min(1.0, running)
    return adjusted
