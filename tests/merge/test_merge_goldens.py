"""Vectors worked out by hand (reference pages on TIES and on slack)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isogloss.merge.methods.ties import PRESETS, ties
from isogloss.merge.slack import Slack

T1 = [0.90, -0.50, 0.30, 0.10, -0.20, 0, 0.40, -0.05, 0.35, -0.15]
T2 = [-0.60, 0.40, 0.30, -0.12, 0, 0.25, -0.10, 0.04, -0.35, -0.22]
CT = [0.90, -0.50, 0.30, 0.10, -0.20, 0, 0.40, -0.05]
SFT = [-0.60, 0.40, 0.30, -0.12, 0, 0.25, -0.10, 0.04]


def merge(first: list[float], second: list[float], **options: Any) -> list[float]:
    """The merged delta: TIES on a base of zeros."""
    deltas = [np.array(first, np.float32), np.array(second, np.float32)]
    options = {"weight": [1, 1], "density": [1, 1]} | options
    return list(ties(np.zeros(len(first), np.float32), deltas, **options).values.tolist())


def preset(name: str) -> dict[str, str]:
    """The options of a preset; at density 1 trim: model is trim: tensor."""
    return {"semantics": name, **PRESETS[name], "trim": "tensor"}


AT_8 = {"drop": 0.0, "positive": 0.35, "majority": -0.35}


@pytest.mark.parametrize("zero_sum", list(AT_8))
def test_paper_and_its_zero_sums(zero_sum: str) -> None:
    wanted = [0.90, -0.50, 0.30, -0.12, -0.20, 0.25, 0.40, -0.05, AT_8[zero_sum], -0.185]
    options = preset("paper") | {"zero_sum": zero_sum}
    assert merge(T1, T2, **options) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("name", ["mergekit", "peft"])
def test_positive_zero_sum_is_that_of_mergekit_and_peft(name: str) -> None:
    wanted = [0.90, -0.50, 0.30, -0.12, -0.20, 0.25, 0.40, -0.05, 0.35, -0.185]
    assert merge(T1, T2, **preset(name)) == pytest.approx(wanted, abs=1e-7)


WEIGHTED = [
    (
        {"elect": "unweighted", "normalize": "weights"},
        [0.90, -0.50, 0.30, -0.12, -0.20, 0.25, 0.40, -0.05, 0.35, -0.164],
    ),
    (
        preset("mergekit"),
        [0.90, -0.50, 0.30, 0.10, -0.20, 0.25, 0.40, -0.05, 0.35, -0.164],
    ),
    (
        preset("peft"),
        [1.8, -1.0, 0.375, -0.06, -0.40, 0.125, 0.80, -0.10, 0.70, -0.205],
    ),
]


@pytest.mark.parametrize(("options", "wanted"), WEIGHTED)
def test_weights_2_and_a_half(options: dict[str, Any], wanted: list[float]) -> None:
    assert merge(T1, T2, weight=[2, 0.5], **options) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("name", list(PRESETS))
def test_density_keeps_four_of_ten(name: str) -> None:
    wanted = [0.90, -0.50, 0.30, 0, 0, 0, 0.40, 0, 0.35, 0]
    got = merge(T1, T2, density=[0.4, 0.4], **preset(name))
    if PRESETS[name]["zero_sum"] == "majority":
        wanted[8] = -0.35 if got[8] < 0 else 0.35
    assert got == pytest.approx(wanted, abs=1e-7)


PLAIN = [0.90, -0.50, 0.30, -0.12, -0.20, 0.25, 0.40, -0.05]
SLACK = [
    ("relative", 0.2, PLAIN),
    ("relative", 0.3, [0.90, 0.40, 0.30, -0.12, -0.20, 0.25, 0.40, 0.04]),
    ("relative", 0.6, [-0.60, 0.40, 0.30, -0.12, -0.20, 0.25, 0.40, 0.04]),
    ("relative", 1, [-0.60, 0.40, 0.30, -0.12, -0.20, 0.25, 0.40, 0.04]),
    ("relative", 4, [-0.60, 0.40, 0.30, -0.12, -0.20, 0.25, -0.10, 0.04]),
    ("margin", 0.35, [-0.60, 0.40, 0.30, -0.12, -0.20, 0.25, -0.10, 0.04]),
    ("protect", 1, [-0.60, 0.40, 0.30, -0.12, -0.20, 0.25, -0.10, 0.04]),
    ("margin", 0.05, [0.90, -0.50, 0.30, -0.12, -0.20, 0.25, 0.40, 0.04]),
    ("margin", 0.15, [0.90, 0.40, 0.30, -0.12, -0.20, 0.25, 0.40, 0.04]),
    ("margin_both", 0.05, [0.90, -0.50, 0.30, -0.01, -0.20, 0.25, 0.40, -0.005]),
    ("margin_both", 0.15, [0.90, -0.05, 0.30, -0.01, -0.20, 0.25, 0.40, -0.005]),
    ("margin_both", 0.35, [0.15, -0.05, 0.30, -0.01, -0.20, 0.25, 0.15, -0.005]),
    ("protect", 0.25, [-0.60, 0.40, 0.30, -0.12, -0.20, 0.25, 0.40, -0.05]),
    ("protect", 0.5, [-0.60, 0.40, 0.30, -0.12, -0.20, 0.25, 0.40, -0.05]),
    *((mode, 0, PLAIN) for mode in ("relative", "margin", "margin_both", "protect")),
]
AFTER_474 = {"elect": "unweighted", "normalize": "weights"}


@pytest.mark.parametrize(("mode", "value", "wanted"), SLACK)
def test_slack(mode: str, value: float, wanted: list[float]) -> None:
    got = merge(CT, SFT, slack=Slack(mode, value, 1, "absolute"), **AFTER_474)
    assert got == pytest.approx(wanted, abs=1e-7)


def test_the_unit_rms_is_the_favoured_models() -> None:
    got = merge(CT, SFT, slack=Slack("margin", 0.5, 1, "rms"), **AFTER_474)
    assert got == pytest.approx([0.90, 0.40, 0.30, -0.12, -0.20, 0.25, 0.40, 0.04], abs=1e-7)


def test_the_unit_rms_has_the_weight_of_a_weighted_election() -> None:
    # S = [.6, -.3, .45, .04, -.2, .125, .35, -.03]; 1.5u = .222 with the weight, .443 without.
    got = merge(CT, SFT, weight=[1, 0.5], slack=Slack("margin", 1.5, 1, "rms"))
    assert got == pytest.approx([0.90, -0.50, 0.30, -0.12, -0.20, 0.25, 0.40, 0.04], abs=1e-7)


def test_margin_both_averages_with_the_weights() -> None:
    slack = Slack("margin_both", 0.15, 1, "absolute")
    got = merge(CT, SFT, weight=[1, 3], slack=slack, **AFTER_474)
    wanted = [0.90, 0.175, 0.30, -0.065, -0.20, 0.25, 0.40, 0.0175]
    assert got == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("mode", ["relative", "margin", "margin_both", "protect"])
def test_an_exact_cancellation_at_slack_0_is_left_to_zero_sum(mode: str) -> None:
    slack = Slack(mode, 0.0, 1, "absolute")
    assert merge([0.5, -0.3], [-0.5, 0.3], slack=slack) == pytest.approx([0.5, 0.3])


def test_a_folded_weight_turns_its_delta_and_keeps_the_divisor() -> None:
    # (-1, τ) is (1, −τ): votes 2 and 1, mean 1.5; unfolded it would divide by 1 − 1 = 0.
    assert merge([2.0], [-1.0], weight=[1, -1], **AFTER_474) == pytest.approx([1.5])


def test_rescale_keeps_the_l1_norm() -> None:
    got = merge([3.0, 1.0, -1.0, 0.5], [0.0] * 4, density=[0.25, 1], rescale=True)
    assert got == pytest.approx([5.5, 0, 0, 0])
