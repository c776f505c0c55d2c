"""Gain, loss and winner: golden values by hand, laws, and what the verdict refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isogloss.errors import EvalError, UsageError
from isogloss.eval import TaskResult, Verdict, judge
from isogloss.eval.verdict import VerdictRow, _dominates, _Drawn, _gain

Make = Callable[..., TaskResult]
Scores = dict[str, dict[str, TaskResult]]

BASE = [float(20 + i % 7) for i in range(60)]


@pytest.fixture
def scores_of(perplexity_result: Make) -> Callable[..., Scores]:
    """Variants by (dialect factor, prestige factor …): nats are those of the base, times it."""

    def make(**factors: tuple[float, ...]) -> Scores:
        found: Scores = {}
        for name, (dialect, *prestige) in factors.items():
            noise = np.random.default_rng(len(name)).normal(0, 0.01, len(BASE))
            noise = noise * (name != "base")
            of = {
                "d": perplexity_result(
                    [x * (dialect + e) for x, e in zip(BASE, noise, strict=True)]
                )
            }
            for k, factor in enumerate(prestige):
                nats = [x * (factor + e) for x, e in zip(BASE, noise, strict=True)]
                of[f"p{k}"] = perplexity_result(nats, task=f"p{k}", side="prestige")
            found[name] = of
        return found

    return make


def call(scores: Scores, candidates: list[str], rivals: list[str], **options: Any) -> Verdict:
    options = {"draws": 400} | options
    return judge(scores, reference="base", candidates=candidates, rivals=rivals, **options)


def row(verdict: Verdict, name: str) -> VerdictRow:
    return next(r for r in verdict.rows if r.variant == name)


def test_gain_and_loss_by_hand(perplexity_result: Make, class_result: Make) -> None:
    gold = ["a", "b"] * 10
    half = ["a"] * 20

    def variant(d1: float, right: list[str], p1: float, p2: float, task: list[str]) -> Any:
        return {
            "d1": perplexity_result([d1] * 20, task="d1"),
            "d2": class_result(gold, right, task="d2", side="dialect"),
            "p1": perplexity_result([p1] * 20, task="p1", side="prestige"),
            "p2": perplexity_result([p2] * 20, task="p2", side="prestige"),
            "t": class_result(gold, task, task="t"),
        }

    scores = {
        "base": variant(10.0, half, 8.0, 4.0, half),
        # Errors: d1 9/10; d2 0.25/0.5 (five of twenty wrong); p1 8.4/8; p2 4.1/4; t 0.5/0.5.
        "x": variant(9.0, ["a"] * 5 + gold[5:15] + ["a"] * 5, 8.4, 4.1, half),
    }
    found = row(call(scores, ["x"], []), "x")
    wrong = sum(g != p for g, p in zip(gold, ["a"] * 5 + gold[5:15] + ["a"] * 5, strict=True))
    assert wrong == 5
    assert found.dialect_gain.value == pytest.approx((0.1 + 0.5) / 2)
    assert found.prestige_loss.value == pytest.approx(0.05)
    # Constant ratios have no spread: the interval is the value.
    assert found.prestige_loss.high == pytest.approx(0.05)
    assert found.task_gain is not None
    assert found.task_gain.value == 0
    assert found.tasks["d2"].value == 0.75
    assert found.tasks["p1"].value == pytest.approx(8.4 / 10 / math.log(2))
    assert "d2:collapse" in row(call(scores, ["x"], []), "base").flags


def test_the_reference_has_no_gain_and_no_loss(scores_of: Callable[..., Scores]) -> None:
    found = row(call(scores_of(base=(1, 1), x=(0.9, 1)), ["x"], []), "base")
    assert found.dialect_gain == (0, 0, 0)
    assert found.prestige_loss == (0, 0, 0)
    assert math.copysign(1, found.prestige_loss.value) == 1
    assert (found.role, found.p, found.holm_p, found.eligible) == ("reference", 1, 1, False)


def test_the_greatest_gain_among_the_eligible_wins(scores_of: Callable[..., Scores]) -> None:
    scores = scores_of(
        base=(1, 1), small=(0.95, 1.0), large=(0.85, 1.01), reckless=(0.6, 1.2), adapter=(0.55, 1.3)
    )
    found = call(scores, ["small", "large", "reckless"], ["adapter"])
    assert found.winner == "large"
    assert "large has a dialect gain of 0.1" in found.why
    assert "below the margin 0.02" in found.why
    assert "Of 2 eligible candidates" in found.why
    (reason,) = row(found, "reckless").reasons
    assert reason.startswith("the upper bound of its prestige loss ")
    assert [r.variant for r in found.rows] == ["base", "small", "large", "reckless", "adapter"]
    assert row(found, "adapter").role == "rival"
    assert not row(found, "adapter").eligible


def test_the_margin_is_a_bound_on_the_interval(scores_of: Callable[..., Scores]) -> None:
    scores = scores_of(base=(1, 1), x=(0.9, 1.0))
    loss = row(call(scores, ["x"], []), "x").prestige_loss
    assert loss.value < loss.high
    assert call(scores, ["x"], [], margin=loss.high * 1.001).winner == "x"
    assert call(scores, ["x"], [], margin=loss.high).winner is None


def test_the_worst_prestige_task_decides(scores_of: Callable[..., Scores]) -> None:
    scores = scores_of(base=(1, 1, 1, 1), x=(0.9, 0.8, 1.1, 0.8))
    found = call(scores, ["x"], [])
    assert row(found, "x").prestige_loss.value == pytest.approx(0.1, abs=0.005)
    assert found.winner is None


def test_a_gain_that_is_not_shown_is_none(scores_of: Callable[..., Scores]) -> None:
    found = call(scores_of(base=(1, 1), x=(0.9995, 1), y=(1.1, 1)), ["x", "y"], [])
    assert found.winner is None
    assert found.why.startswith("There is no winner among 2 candidates. x comes first")
    assert "isn't above 0" in found.why


@pytest.mark.parametrize("as_rival", [True, False])
def test_a_dominated_candidate_cannot_win(scores_of: Callable[..., Scores], as_rival: bool) -> None:
    scores = scores_of(base=(1, 1), merge=(0.9, 1.005), expert=(0.7, 0.95))
    candidates = ["merge"] if as_rival else ["merge", "expert"]
    found = call(scores, candidates, ["expert"])
    assert row(found, "merge").dominated_by == ["expert"]
    assert row(found, "merge").reasons == ["it is dominated by expert"]
    assert found.winner == (None if as_rival else "expert")
    if as_rival:
        assert "dominated by expert" in found.why


def drawn(gain: float, loss: float) -> _Drawn:
    nothing = np.zeros(0)
    return _Drawn(gain, loss, None, nothing, nothing, None)


@pytest.mark.parametrize(
    ("one", "other", "dominates"),
    [
        ((0.1, 0.0), (0.1, 0.0), False),
        ((0.1, 0.0), (0.1, 0.1), True),
        ((0.2, 0.0), (0.1, 0.0), True),
        ((0.2, 0.1), (0.1, 0.0), False),
        ((0.0, -0.1), (0.1, 0.0), False),
    ],
)
def test_domination_by_hand(
    one: tuple[float, float], other: tuple[float, float], dominates: bool
) -> None:
    assert _dominates(drawn(*one), drawn(*other)) is dominates


def test_gain_where_a_resample_leaves_no_error() -> None:
    found = _gain(np.array([0.5, 0.0, 0.0, 0.5]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert found.tolist() == [0.5, 1.0, 0.0, -math.inf]


def test_holm_runs_over_all_but_the_reference(scores_of: Callable[..., Scores]) -> None:
    scores = scores_of(base=(1, 1), x=(0.9, 1), yy=(0.8, 1), zzz=(0.7, 1))
    found = call(scores, ["x", "yy"], ["zzz"])
    for name in ("x", "yy", "zzz"):
        assert row(found, name).p == pytest.approx(1 / 401)
        assert row(found, name).holm_p == pytest.approx(3 / 401)


@given(order=st.permutations(range(60)), seed=st.integers(0, 3))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_values_do_not_hang_on_the_order_of_items(
    scores_of: Callable[..., Scores], order: list[int], seed: int
) -> None:
    scores = scores_of(base=(1, 1), x=(0.9, 1.0))
    turned = {
        name: {t: r._replace(items=[r.items[i] for i in order]) for t, r in of.items()}
        for name, of in scores.items()
    }
    one = row(call(scores, ["x"], [], seed=seed), "x")
    other = row(call(turned, ["x"], [], seed=seed), "x")
    assert one.dialect_gain.value == pytest.approx(other.dialect_gain.value)
    assert one.dialect_gain.low == pytest.approx(other.dialect_gain.low, abs=2e-3)
    assert one.p == other.p


def test_other_variants_change_no_interval(scores_of: Callable[..., Scores]) -> None:
    scores = scores_of(base=(1, 1), x=(0.9, 1.0), yy=(0.8, 1.1))
    alone = row(call(scores, ["x"], []), "x")
    beside = row(call(scores, ["yy", "x"], []), "x")
    assert alone.dialect_gain == pytest.approx(beside.dialect_gain)
    assert alone.prestige_loss == pytest.approx(beside.prestige_loss)


def test_intervals_cover_at_about_their_level(perplexity_result: Make) -> None:
    """100 worlds with a true gain of 10 %: the 90 % interval holds it in about 90 of them."""
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        base = rng.gamma(9, 3, 80)
        better = base * (0.9 + rng.normal(0, 0.05, 80))
        scores = {
            name: {
                "d": perplexity_result(list(nats)),
                "p": perplexity_result([1.0] * 5, task="p", side="prestige"),
            }
            for name, nats in (("base", base), ("x", better))
        }
        gain = row(call(scores, ["x"], [], alpha=0.1, draws=200), "x").dialect_gain
        covered += gain.low <= 0.1 <= gain.high
    assert 80 <= covered <= 98


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": []}, "there is no candidate"),
        ({"margin": 1.5}, "the margin is 1.5"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"draws": 10}, "10 draws"),
    ],
)
def test_calls_that_cannot_be_right(
    scores_of: Callable[..., Scores], options: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"reference": "base", "candidates": ["x"]} | options
    with pytest.raises(UsageError, match=message):
        judge(scores_of(base=(1, 1), x=(0.9, 1)), **arguments)


def test_scores_that_carry_no_verdict(scores_of: Callable[..., Scores], class_result: Make) -> None:
    scores = scores_of(base=(1, 1), merge=(0.9, 1))
    with pytest.raises(EvalError, match="mrege was not measured; did you mean 'merge'"):
        call(scores, ["mrege"], [])
    for side, task in (("dialect", "d"), ("prestige", "p0")):
        lacking = {n: {t: r for t, r in of.items() if t != task} for n, of in scores.items()}
        with pytest.raises(EvalError, match=f"no {side} task was measured"):
            call(lacking, ["merge"], [])
    uneven = {"base": scores["base"], "merge": {"d": scores["merge"]["d"]}}
    with pytest.raises(EvalError, match="p0 is of one only"):
        call(uneven, ["merge"], [])
    other = scores["merge"] | {"d": scores["merge"]["d"]._replace(protocol="x")}
    with pytest.raises(EvalError, match="base and merge can't be compared on d: protocol"):
        call({"base": scores["base"], "merge": other}, ["merge"], [])
    perfect = {
        n: of | {"t": class_result(["a", "b"], ["a", "b"], task="t")} for n, of in scores.items()
    }
    with pytest.raises(EvalError, match="base makes no error on t"):
        call(perfect, ["merge"], [])
