"""Scores from counts: worked by hand, and the flags at their bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.eval import TaskResult
from isogloss.eval.metrics import class_counts, classification_metrics, macro_f1, perplexity_metrics

Labels = list[tuple[str, str]]


def test_bits_per_byte_is_a_ratio_of_sums() -> None:
    items = [
        {"nats": 8 * math.log(2), "bytes": 2, "tokens": 1},
        {"nats": 0.0, "bytes": 6, "tokens": 3},
    ]
    found = perplexity_metrics(items)
    assert found["bits_per_byte"] == pytest.approx(1.0)
    assert found["byte_perplexity"] == pytest.approx(2.0)
    assert found["tokens_per_byte"] == 0.5


def test_macro_f1_by_hand(class_result: Callable[..., TaskResult]) -> None:
    # a: 2 hits, 3 predicted, 3 gold: 2/3; b: 1, 2, 1: 2/3; c: 0 hits, gold only: 0.
    found = class_result(["a", "a", "a", "b", "c"], ["a", "a", "b", "b", "a"]).metrics
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found["accuracy"] == 0.6
    assert found["majority"] == 0.6
    # Always "a": 2·3 / (5 + 3) for a, 0 for b and c.
    assert found["majority_macro_f1"] == pytest.approx(0.75 / 3)
    assert found["top_share"] == 0.6


def naive_macro_f1(pairs: Labels) -> float:
    """F1 from precision and recall, class by class."""
    scores = []
    for label in {x for pair in pairs for x in pair}:
        hits = sum(g == p == label for g, p in pairs)
        predicted = sum(p == label for _, p in pairs)
        gold = sum(g == label for g, _ in pairs)
        precision = hits / predicted if predicted else 0.0
        recall = hits / gold if gold else 0.0
        both = precision + recall
        scores.append(2 * precision * recall / both if both else 0.0)
    return sum(scores) / len(scores)


pairs = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abc")), min_size=1)


@given(pairs, st.randoms())
def test_macro_f1_equals_its_definition_in_any_order(given_: Labels, random: object) -> None:
    def items(of: Labels) -> list[dict[str, object]]:
        return [{"gold": g, "pred": p, "correct": g == p} for g, p in of]

    found = classification_metrics(items(given_))
    assert found["macro_f1"] == pytest.approx(naive_macro_f1(given_))
    shuffled = list(given_)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert classification_metrics(items(shuffled)) == found
    assert 0 <= found["majority_macro_f1"] <= found["majority"] <= 1


def test_macro_f1_of_nothing_is_nothing() -> None:
    zero = np.zeros(3)
    assert macro_f1(zero, zero, zero) == 0
    assert class_counts([]).shape == (0, 3, 0)


@pytest.mark.parametrize(
    ("gold", "pred", "flags"),
    [
        ("a" * 50 + "b" * 50, "a" * 95 + "b" * 5, ("collapse",)),
        ("a" * 50 + "b" * 50, "a" * 94 + "b" * 6, ()),
        ("a" * 90 + "b" * 10, "a" * 100, ()),
        ("a" * 89 + "b" * 11, "a" * 100, ("collapse",)),
        ("a" * 60 + "b" * 40, "b" * 60 + "a" * 40, ("below-majority",)),
        ("a" * 60 + "b" * 40, "b" * 100, ("collapse", "below-majority")),
    ],
)
def test_flags_at_their_bounds(
    class_result: Callable[..., TaskResult], gold: str, pred: str, flags: tuple[str, ...]
) -> None:
    assert class_result(list(gold), list(pred)).flags == flags
