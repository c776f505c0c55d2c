"""``linear``: the weighted average of the weights themselves (model soup)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isogloss.errors import ConfigError
from isogloss.merge.methods.method import WEIGHT, Array, Merged, Parameter, register

_ALMOST_ZERO = 1e-8


def check(
    tensor: str,
    labels: Sequence[str],
    shared: Mapping[str, Any],
    per_input: Mapping[str, Sequence[Any]],
) -> None:
    """Refuse weights whose sum, the divisor, is 0."""
    total = math.fsum(per_input["weight"])
    if shared["normalize"] == "weights" and abs(total) < _ALMOST_ZERO:
        raise ConfigError(
            f"the weights of {', '.join(labels)} for tensor {tensor} sum to {total:g}, which "
            "linear divides by",
            expected="weights with a sum, or normalize: false",
        )


@register(
    name="linear",
    title="Linear (model soup)",
    paper="https://arxiv.org/abs/2203.05482",
    space="weights",
    check=check,
    parameters=(
        WEIGHT,
        Parameter(
            "normalize",
            "normalize",
            "divide by the sum of the weights",
            default="weights",
            choices=("weights", "none"),
        ),
    ),
)
def linear(
    base: Array | None, tensors: Sequence[Array], *, weight: Sequence[float], normalize: str
) -> Merged:
    """Σ wᵢθᵢ / Σ wᵢ, or Σ wᵢθᵢ where ``normalize`` is ``none``.

    Args:
        base: not used: a base takes part only as one of ``tensors``.
        tensors: θᵢ, float32, one shape.
        weight: wᵢ, in the order of ``tensors``; rounded to float32. The sum must not be 0 where
            it divides (the plan refuses that).

    >>> import numpy as np
    >>> linear(None, [np.float32([1, 2]), np.float32([3, 6])], weight=[1, 3],
    ...        normalize="weights").values
    array([2.5, 5. ], dtype=float32)
    """
    total = np.zeros_like(tensors[0])
    divisor = np.float32(0)
    for tensor, number in zip(tensors, weight, strict=True):
        total += np.float32(number) * tensor
        divisor += np.float32(number)
    if normalize == "weights":
        total /= divisor
    return Merged(total, {})
