"""``task_arithmetic``: the weighted sum of task vectors on the base."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isogloss.merge.methods.method import (
    INT8_MASK,
    LAMBDA,
    WEIGHT,
    Array,
    Merged,
    Parameter,
    register,
)

_ALMOST_ZERO = 1e-8  # mergekit divides by 1 below this, so that opposed weights don't explode


@register(
    name="task_arithmetic",
    title="Task arithmetic",
    paper="https://arxiv.org/abs/2212.04089",
    space="deltas",
    parameters=(
        WEIGHT,
        Parameter(
            "normalize",
            "normalize",
            "divide by the sum of the weights",
            default="none",
            choices=("weights", "none"),
        ),
        LAMBDA,
        Parameter(
            "density",
            "number",
            "accepted as in mergekit; nothing is trimmed",
            default=1.0,
            per_input=True,
            low=0.0,
            high=1.0,
        ),
        Parameter("rescale", "flag", "accepted as in mergekit; changes nothing", default=False),
        INT8_MASK,
    ),
)
def task_arithmetic(
    base: Array,
    deltas: Sequence[Array],
    *,
    weight: Sequence[float],
    normalize: str,
    lambda_: float,
    density: Sequence[float] = (),
    rescale: bool = False,
    int8_mask: bool = False,
) -> Merged:
    """θ₀ + λ Σ wᵢτᵢ; with ``normalize: weights`` the sum is divided by Σ wᵢ.

    Args:
        base: θ₀, float32.
        deltas: τᵢ = θᵢ − θ₀, float32, the shape of ``base``.
        weight: wᵢ, in the order of ``deltas``; rounded to float32.

    >>> import numpy as np
    >>> task_arithmetic(np.float32([1, 1]), [np.float32([2, 0]), np.float32([0, 4])],
    ...                 weight=[0.5, 0.25], normalize="none", lambda_=1.0).values
    array([2., 2.], dtype=float32)
    """
    total = np.zeros_like(base)
    divisor = np.float32(0)
    for delta, number in zip(deltas, weight, strict=True):
        total += np.float32(number) * delta
        divisor += np.float32(number)
    if normalize == "weights" and abs(divisor) >= _ALMOST_ZERO:
        total /= divisor
    if lambda_ != 1:
        total *= np.float32(lambda_)
    return Merged(base + total, {})
