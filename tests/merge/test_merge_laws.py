"""Laws that every merge keeps, as properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from isogloss.merge.methods.linear import linear
from isogloss.merge.methods.task_arithmetic import task_arithmetic
from isogloss.merge.methods.ties import PRESETS, entries_kept, ties
from isogloss.merge.slack import MODES, Slack

Array = NDArray[np.float32]

# Multiples of 1/64: sums of a few are exact, so that the order of adding changes no bit, and
# cancellations and equal magnitudes are frequent.
DYADIC = st.integers(-64, 64).map(lambda n: n / 64)
SIZE = 9


def deltas(least: int = 2, most: int = 4) -> st.SearchStrategy[list[Array]]:
    one = hnp.arrays(np.float32, SIZE, elements=DYADIC)
    return st.lists(one, min_size=least, max_size=most)


def options(*, weights: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "semantics": st.sampled_from(list(PRESETS)),
            "elect": st.sampled_from(["weighted", "unweighted"]),
            "normalize": st.sampled_from(["weights", "count", "none"] if weights else ["count"]),
            "zero_sum": st.sampled_from(["positive", "majority", "drop"]),
        }
    )


WEIGHTS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])
DENSITY = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])
ZEROS = np.zeros(SIZE, np.float32)


def merged(taus: list[Array], base: Array = ZEROS, **given: Any) -> Array:
    given = {"weight": [1.0] * len(taus), "density": [1.0] * len(taus)} | given
    return ties(base, taus, **given).values


@given(deltas(), st.data(), options(), st.sampled_from(MODES))
def test_slack_0_is_ties_bit_for_bit(
    taus: list[Array], data: st.DataObject, how: dict[str, Any], mode: str
) -> None:
    weight = data.draw(st.lists(WEIGHTS, min_size=len(taus), max_size=len(taus)))
    density = data.draw(st.lists(DENSITY, min_size=len(taus), max_size=len(taus)))
    favoured = data.draw(st.integers(0, len(taus) - 1))
    unit = data.draw(st.sampled_from(["rms", "absolute"]))
    how = how | {"weight": weight, "density": density}
    got = merged(taus, slack=Slack(mode, 0.0, favoured, unit), **how)
    assert got.tobytes() == merged(taus, **how).tobytes()


@given(deltas(), st.data(), options(), st.sampled_from([*MODES, None]))
def test_the_order_of_inputs_is_irrelevant(
    taus: list[Array], data: st.DataObject, how: dict[str, Any], mode: str | None
) -> None:
    order = data.draw(st.permutations(range(len(taus))))
    weight = data.draw(st.lists(WEIGHTS, min_size=len(taus), max_size=len(taus)))
    density = data.draw(st.lists(DENSITY, min_size=len(taus), max_size=len(taus)))
    one = Slack(mode, 0.5, 0) if mode else None
    other = Slack(mode, 0.5, order.index(0)) if mode else None
    first = merged(taus, weight=weight, density=density, slack=one, **how)
    second = merged(
        [taus[i] for i in order],
        weight=[weight[i] for i in order],
        density=[density[i] for i in order],
        slack=other,
        **how,
    )
    assert np.array_equal(first, second)


@given(deltas(), options(), DENSITY, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_ties_is_homogeneous(
    taus: list[Array], how: dict[str, Any], density: float, factor: float
) -> None:
    given = how | {"density": [density] * len(taus)}
    scaled = [np.float32(factor) * tau for tau in taus]
    wanted = np.float32(factor) * merged(taus, **given)
    assert merged(scaled, **given).tobytes() == wanted.tobytes()


@given(deltas(), options(), DENSITY)
def test_ties_of_negated_deltas_is_negated_but_for_zero_sums(
    taus: list[Array], how: dict[str, Any], density: float
) -> None:
    given = how | {"density": [density] * len(taus), "zero_sum": "drop"}
    assert np.array_equal(merged([-tau for tau in taus], **given), -merged(taus, **given))


@given(deltas(1, 1), WEIGHTS.filter(bool))
def test_a_lone_weight_cancels(taus: list[Array], weight: float) -> None:
    np.testing.assert_allclose(merged(taus, weight=[weight]), taus[0], rtol=1e-6)


@given(deltas(1, 1), options(), hnp.arrays(np.float32, SIZE, elements=DYADIC))
def test_identity(taus: list[Array], how: dict[str, Any], base: Array) -> None:
    assert np.array_equal(merged(taus, base, **how), base + taus[0])
    alone = task_arithmetic(base, taus, weight=[1.0], normalize="none", lambda_=1.0).values
    assert np.array_equal(alone, base + taus[0])
    assert np.array_equal(linear(None, [base], weight=[1.0], normalize="weights").values, base)


@given(deltas(), st.data(), hnp.arrays(np.float32, SIZE, elements=DYADIC))
def test_a_zero_weight_changes_nothing(taus: list[Array], data: st.DataObject, base: Array) -> None:
    zeroed = data.draw(st.integers(0, len(taus) - 1))
    weight = [0.0 if i == zeroed else 1.0 for i in range(len(taus))]
    rest = [tau for i, tau in enumerate(taus) if i != zeroed]
    ones = [1.0] * len(rest)
    how: dict[str, Any] = {"normalize": "none", "lambda_": 1.0}
    assert np.array_equal(
        task_arithmetic(base, taus, weight=weight, **how).values,
        task_arithmetic(base, rest, weight=ones, **how).values,
    )
    assert np.array_equal(merged(taus, base, weight=weight), merged(rest, base, weight=ones))


@given(deltas(), options(), hnp.arrays(np.float32, SIZE, elements=DYADIC))
def test_lambda_0_is_the_base(taus: list[Array], how: dict[str, Any], base: Array) -> None:
    assert np.array_equal(merged(taus, base, lambda_=0.0, **how), base)
    given: dict[str, Any] = {"weight": [1.0] * len(taus), "normalize": "none", "lambda_": 0.0}
    assert np.array_equal(task_arithmetic(base, taus, **given).values, base)


@given(deltas(), st.sampled_from([0.5, 2.0, 4.0]))
def test_task_arithmetic_is_linear(taus: list[Array], factor: float) -> None:
    def at(weight: list[float]) -> Array:
        given: dict[str, Any] = {"weight": weight, "normalize": "none", "lambda_": 1.0}
        return task_arithmetic(ZEROS, taus, **given).values

    n = len(taus)
    assert np.array_equal(at([factor] * n), np.float32(factor) * at([1.0] * n))
    parts = [at([1.0 if i == j else 0.0 for i in range(n)]) for j in range(n)]
    assert np.array_equal(sum(parts, ZEROS), at([1.0] * n))


@given(deltas(), st.data(), options(), DENSITY, st.sampled_from([*MODES, None]))
def test_ties_is_its_definition_in_float64(
    taus: list[Array],
    data: st.DataObject,
    how: dict[str, Any],
    density: float,
    mode: str | None,
) -> None:
    weight = data.draw(st.lists(WEIGHTS, min_size=len(taus), max_size=len(taus)))
    slack = Slack(mode, data.draw(st.sampled_from([0.5, 1.0])), 0, "absolute") if mode else None
    given = how | {"weight": weight, "density": [density] * len(taus), "slack": slack}
    wanted = _oracle(taus, **given)
    np.testing.assert_allclose(merged(taus, **given), wanted, rtol=1e-6, atol=1e-7)


def _ranked(values: Any) -> list[int]:
    return sorted(range(len(values)), key=lambda p: (-abs(values[p]), p))


def _oracle(
    taus: list[Array],
    *,
    weight: list[float],
    density: list[float],
    semantics: str,
    elect: str,
    normalize: str,
    zero_sum: str,
    slack: Slack | None,
) -> list[float]:
    """Entry by entry, as the definition is written."""
    n = len(taus[0])
    short = []
    for tau, share in zip(taus, density, strict=True):
        k = entries_kept(share, n, semantics)
        best = _ranked(tau)[:k]
        short.append([float(tau[p]) if p in best else 0.0 for p in range(n)])
    votes = [
        [(w if elect == "weighted" else 1.0) * x for x in tau]
        for w, tau in zip(weight, short, strict=True)
    ]
    sums = [sum(vote[p] for vote in votes) for p in range(n)]
    balance = sum((s > 0) - (s < 0) for s in sums)
    fallback = {"positive": 1, "drop": 0, "majority": 1 if balance > 0 else -1}[zero_sum]
    ranked = _ranked(short[0])
    result = []
    for p in range(n):
        total, both, mine = sums[p], False, votes[0][p]
        if slack is not None:
            conflict = any(mine * vote[p] < 0 for vote in votes[1:])
            band = conflict and abs(sums[p]) <= slack.value
            if slack.mode == "relative":
                total += slack.value * mine
            elif slack.mode == "margin" and band:
                total = mine
            elif slack.mode == "margin_both":
                both = band
            elif slack.mode == "protect" and p in ranked[: math.floor(slack.value * n)] and mine:
                total = mine
        sign = (total > 0) - (total < 0) or fallback
        agree = [
            i for i, v in enumerate(votes) if v[p] and (both or (v[p] > 0) - (v[p] < 0) == sign)
        ]
        top = sum(weight[i] * short[i][p] for i in agree)
        bottom = {"weights": sum(weight[i] for i in agree), "count": len(agree), "none": 1}
        result.append(top / (bottom[normalize] or 1))
    return result


@given(deltas(2, 2), st.floats(0.01, 0.99))
def test_density_1_trims_nothing_and_less_keeps_k(taus: list[Array], density: float) -> None:
    assert entries_kept(1.0, SIZE, "paper") == SIZE
    k = entries_kept(density, SIZE, "mergekit")
    assume(np.count_nonzero(taus[0]) == SIZE)
    got = merged(taus[:1], density=[density])
    assert np.count_nonzero(got) == k == max(1, int(density * SIZE))


def _gaussian(r: float, slack: Slack, n: int = 400_000) -> tuple[float, float]:
    random = np.random.default_rng(7)
    ct = random.standard_normal(n).astype(np.float32) * np.float32(r)
    sft = random.standard_normal(n).astype(np.float32)
    found = ties(
        np.zeros(n, np.float32), [ct, sft], weight=[1, 1], density=[1, 1], slack=slack
    ).counts
    return found["lost.1"] / found["live.1"], found["mass_lost.1"] / found["mass.1"]


ORACLE = [
    ("relative", 0.0, [(25.00, 14.64), (35.24, 27.64), (42.20, 37.87)]),
    ("relative", 0.5, [(18.72, 8.40), (29.52, 20.00), (38.58, 32.44)]),
    ("relative", 1.0, [(14.76, 5.28), (25.00, 14.64), (35.24, 27.64)]),
    ("margin", 1.0, [(5.75, 2.66), (19.49, 14.20), (32.85, 28.92)]),
    ("protect", 0.2, [(24.00, 12.72), (31.34, 19.56), (35.58, 23.67)]),
]


@pytest.mark.parametrize(("mode", "value", "rows"), ORACLE)
def test_the_gaussian_oracle(mode: str, value: float, rows: list[tuple[float, float]]) -> None:
    for r, (fraction, mass) in zip((1, 2, 4), rows, strict=True):
        got = _gaussian(r, Slack(mode, value, 1))
        # 400,000 draws: three standard errors of the fraction are 0.0024.
        assert got == pytest.approx((fraction / 100, mass / 100), abs=0.003)


@pytest.mark.parametrize("r", [0.5, 1.0, 3.0])
def test_ties_discards_arctan_r_over_pi(r: float) -> None:
    share, mass = _gaussian(r, Slack("relative", 0.0, 1))
    assert share == pytest.approx(math.atan(r) / math.pi, abs=0.003)
    assert mass == pytest.approx((1 - 1 / math.sqrt(1 + r * r)) / 2, abs=0.003)
