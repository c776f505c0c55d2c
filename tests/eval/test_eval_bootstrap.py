"""Intervals and tests against scipy, closed forms, and hand-worked values."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isogloss.errors import UsageError
from isogloss.eval.bootstrap import (
    holm,
    mcnemar,
    paired_bootstrap,
    percentile_interval,
    resampled_scores,
    resamples,
    shift_p,
    statistic,
)


def answers(right: list[bool]) -> list[dict[str, Any]]:
    return [{"correct": x} for x in right]


def texts(n: int, seed: int, level: float = 2.0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 200, n)
    nats = sizes * level * rng.gamma(20, 1 / 20, n)
    return [{"nats": float(x), "bytes": int(b)} for x, b in zip(nats, sizes, strict=True)]


def test_each_resample_has_n_items_in_expected_shares() -> None:
    drawn = np.concatenate(list(resamples(50, 4000, seed=1)))
    assert drawn.shape == (4000, 50)
    assert (drawn.sum(1) == 50).all()
    # Each weight is binomial (n, 1/n): mean 1, variance 1 − 1/n.
    assert np.abs(drawn.mean(0) - 1).max() < 5 * math.sqrt(1 / 4000)
    assert drawn.var() == pytest.approx(0.98, abs=0.02)


def test_a_stream_hangs_on_seed_and_name_and_nothing_else() -> None:
    def first(seed: int, name: str) -> list[float]:
        return [float(x) for x in next(resamples(40, 10, seed=seed, name=name)).ravel()]

    assert first(0, "a") == first(0, "a")
    assert first(0, "a") != first(1, "a")
    assert first(0, "a") != first(0, "b")


def test_blocks_change_no_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resamples(30, 200, seed=3)))
    monkeypatch.setattr("isogloss.eval.bootstrap._BLOCK", 30 * 7)
    assert (np.concatenate(list(resamples(30, 200, seed=3))) == whole).all()


def test_the_hash_seed_changes_no_draw() -> None:
    code = (
        "from isogloss.eval.bootstrap import resamples;"
        "print(next(resamples(20, 3, seed=5, name='x')).astype(int).tolist())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_interval_of_a_ratio_agrees_with_scipy() -> None:
    items = texts(300, seed=0)
    made = statistic("bits_per_byte", items)
    drawn = resampled_scores([made], 4000, seed=0)[:, 0]
    ours = percentile_interval(made.value(), drawn)
    peer = stats.bootstrap(
        ([i["nats"] for i in items], [i["bytes"] for i in items]),
        lambda x, b, axis: x.sum(axis) / (b.sum(axis) * math.log(2)),
        paired=True,
        n_resamples=4000,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    width = ours.high - ours.low
    assert ours.low == pytest.approx(peer.confidence_interval.low, abs=0.08 * width)
    assert ours.high == pytest.approx(peer.confidence_interval.high, abs=0.08 * width)


def test_standard_error_of_accuracy_is_the_closed_form() -> None:
    made = statistic("accuracy", answers([i % 10 < 7 for i in range(500)]))
    drawn = resampled_scores([made], 4000, seed=0)[:, 0]
    assert drawn.std() == pytest.approx(math.sqrt(0.7 * 0.3 / 500), rel=0.05)


def test_pairing_cancels_what_is_common() -> None:
    base = texts(200, seed=2)
    better = [item | {"nats": item["nats"] * 0.9} for item in base]
    found = paired_bootstrap(statistic("bits_per_byte", base), statistic("bits_per_byte", better))
    bpb = statistic("bits_per_byte", base).value()
    assert found.difference.value == pytest.approx(-0.1 * bpb)
    # The two alone have intervals of about ±3 %: unpaired, the difference could not be told.
    assert found.difference.high < -0.09 * bpb
    assert found.p == pytest.approx(1 / 2001)


def test_p_has_about_its_nominal_rate_under_the_null() -> None:
    rng = np.random.default_rng(4)
    rejected = 0
    for trial in range(200):
        a, b = rng.random((2, 150)) < 0.6
        found = paired_bootstrap(
            statistic("accuracy", answers(a.tolist())),
            statistic("accuracy", answers(b.tolist())),
            draws=200,
            seed=trial,
        )
        rejected += found.p < 0.05
    assert 2 <= rejected <= 22


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 10))
@settings(deadline=None)
def test_a_system_does_not_differ_from_itself(right: list[bool], seed: int) -> None:
    made = statistic("accuracy", answers(right))
    found = paired_bootstrap(made, made, draws=50, seed=seed)
    assert found.difference == (0, 0, 0)
    assert found.p == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("abc")), min_size=2, max_size=20))
@settings(deadline=None, max_examples=25)
def test_resampled_macro_f1_is_that_of_the_resampled_items(pairs: list[tuple[str, str]]) -> None:
    items = [{"gold": g, "pred": p} for g, p in pairs]
    drawn = resampled_scores([statistic("macro_f1", items)], 5, seed=7)[:, 0]
    (weights,) = resamples(len(items), 5, seed=7)
    for score, row in zip(drawn, weights.astype(int), strict=True):
        again = [item for item, times in zip(items, row, strict=True) for _ in range(times)]
        assert score == pytest.approx(statistic("macro_f1", again).value())


def test_p_of_a_shift_by_hand() -> None:
    # |d* − 2| is 2, 1, 0, 2 with d = 2: two draws are as far as 0 is.
    assert shift_p(2.0, np.array([0.0, 1.0, 2.0, 4.0])) == pytest.approx(3 / 5)


def test_an_infinite_draw_makes_no_nan() -> None:
    drawn = np.array([-np.inf, -np.inf, 0.1, 0.2])
    assert percentile_interval(0.1, drawn, 0.1) == (0.1, -np.inf, 0.2)


@pytest.mark.parametrize(("n01", "n10"), [(0, 0), (0, 6), (1, 8), (10, 10), (31, 54)])
def test_mcnemar_is_the_binomial_tail(n01: int, n10: int) -> None:
    n, k = n01 + n10, min(n01, n10)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert mcnemar(n01, n10) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(n01, n10) == mcnemar(n10, n01)


@pytest.mark.parametrize(
    ("ps", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.005, 0.011, 0.02, 0.04, 0.13], [0.025, 0.044, 0.06, 0.08, 0.13]),
        ([0.9, 0.8], [1.0, 1.0]),
    ],
)
def test_holm_by_hand(ps: list[float], adjusted: list[float]) -> None:
    assert holm(ps) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=8), st.randoms(use_true_random=False))
def test_holm_keeps_order_and_never_lowers(ps: list[float], random: Any) -> None:
    found = holm(ps)
    assert all(p <= h <= min(1.0, len(ps) * p) or h == p for p, h in zip(ps, found, strict=True))
    order = list(range(len(ps)))
    random.shuffle(order)
    assert holm([ps[i] for i in order]) == pytest.approx([found[i] for i in order])


def test_calls_that_cannot_be_right() -> None:
    with pytest.raises(UsageError, match="unknown metric"):
        statistic("bleu", [])
    with pytest.raises(UsageError, match="can't be paired"):
        paired_bootstrap(*(statistic("accuracy", answers([True] * n)) for n in (2, 3)))
    with pytest.raises(UsageError, match="is no p-value"):
        holm([0.1, float("nan")])
    with pytest.raises(UsageError, match="0 or more"):
        mcnemar(-1, 2)
    with pytest.raises(UsageError, match="1 or more"):
        list(resamples(0, 10, seed=0))
