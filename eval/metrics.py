"""Numbers of one task from its items; pure functions over counts and sums."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COLLAPSE_SHARE = 0.95
"""One answer in at least this share of the predictions …"""
BALANCED_SHARE = 0.90
"""… while no gold label has this share or more: the flag ``collapse``."""


def bits_per_byte(nats: Array, bytes_: Array) -> Array:
    """Σ nats / (Σ bytes · ln 2), elementwise over sums; units: bits per UTF-8 byte.

    >>> float(bits_per_byte(np.array(2 * math.log(2)), np.array(4.0)))
    0.5
    """
    return nats / (bytes_ * math.log(2))


def macro_f1(hits: Array, predicted: Array, gold: Array) -> Array:
    """Mean over classes of F1 = 2·hits / (predicted + gold), from counts of shape (..., classes).

    A class that is neither in the gold labels nor predicted takes no part in the mean, as in
    scikit-learn's ``f1_score(average="macro")``. No class at all gives 0.

    >>> float(macro_f1(np.array([1.0, 1.0]), np.array([1.0, 3.0]), np.array([3.0, 1.0])))
    0.5
    """
    total = predicted + gold
    met = total > 0
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total, dtype=np.float64), where=met)
    result: Array = f1.sum(-1) / np.maximum(met.sum(-1), 1)
    return result


def class_counts(items: Sequence[dict[str, Any]]) -> Array:
    """Each item's part in the counts behind macro-F1: shape (items, 3, classes), 0 or 1.

    The middle axis is hits, predicted, gold; sums over items go into :func:`macro_f1`. Classes
    are the labels met in gold or predictions, sorted.
    """
    labels = sorted({item[key] for item in items for key in ("gold", "pred")})
    place = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(items), 3, len(labels)))
    for i, item in enumerate(items):
        counts[i, 1, place[item["pred"]]] = 1
        counts[i, 2, place[item["gold"]]] = 1
        counts[i, 0, place[item["gold"]]] = item["gold"] == item["pred"]
    return counts


def perplexity_metrics(items: Sequence[dict[str, Any]]) -> dict[str, float]:
    """bits_per_byte, byte_perplexity = exp(nats/byte), tokens_per_byte, and the sums themselves.

    Sums run over the corpus: a mean of documents would weigh a short one like a long one.
    """
    nats = math.fsum(item["nats"] for item in items)
    size = float(sum(item["bytes"] for item in items))
    tokens = float(sum(item["tokens"] for item in items))
    return {
        "bits_per_byte": float(bits_per_byte(np.array(nats), np.array(size))),
        "byte_perplexity": math.exp(nats / size),
        "tokens_per_byte": tokens / size,
        "nats": nats,
        "bytes": size,
        "tokens": tokens,
    }


def classification_metrics(items: Sequence[dict[str, Any]]) -> dict[str, float]:
    """accuracy and macro_f1 beside what a constant answer reaches.

    ``majority`` and ``majority_macro_f1`` are the scores of always answering the most frequent
    gold label; ``top_share`` is the share of the most frequent prediction.
    """
    gold = Counter(item["gold"] for item in items)
    predicted = Counter(item["pred"] for item in items)
    # Ties go to the label that sorts first, so that the number doesn't hang on the order of items.
    most = min(gold, key=lambda label: (-gold[label], label))
    constant = [{"gold": item["gold"], "pred": most} for item in items]
    return {
        "accuracy": sum(item["correct"] for item in items) / len(items),
        "macro_f1": float(macro_f1(*class_counts(items).sum(0))),
        "majority": gold[most] / len(items),
        "majority_macro_f1": float(macro_f1(*class_counts(constant).sum(0))),
        "top_share": max(predicted.values()) / len(items),
    }


def classification_flags(metrics: dict[str, float]) -> tuple[str, ...]:
    """What to know before reading the score.

    ``collapse``: one answer takes 95 % or more of the predictions while no gold label has 90 %:
    a new constant answer can look like a gain. ``below-majority``: the accuracy is less than
    that of the most frequent gold label.
    """
    flags = []
    if metrics["top_share"] >= COLLAPSE_SHARE and metrics["majority"] < BALANCED_SHARE:
        flags.append("collapse")
    if metrics["accuracy"] < metrics["majority"]:
        flags.append("below-majority")
    return tuple(flags)
