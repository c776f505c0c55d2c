"""Slack: an election that protects a favoured model (TIES-SV).

**reconstruction of TIES-SV; the paper's formula could not be consulted.** arXiv 2407.03994
introduces "a slack variable" into TIES so that important parameters aren't lost; what is done
here is inferred from its abstract, from a review and from a discussion, in four variants.

Let eᵢ be the votes of the inputs (τ̂ᵢ, or wᵢτ̂ᵢ in a weighted election), S = Σ eᵢ, f the favoured
input, ξ the slack, and C the conflicts: e_f ≠ 0 and some eᵢ has the opposite sign.

===============  ===========================================================================
``relative``     γ = sgn(S + ξ·e_f)
``margin``       in the band C ∧ \\|S\\| ≤ ξu ∧ ξ > 0: γ = sgn e_f; else γ = sgn S
``margin_both``  in the same band both sides are averaged; else TIES
``protect``      γ = sgn e_f on the ⌊ξn⌋ largest nonzero \\|τ̂_f\\|; else γ = sgn S
===============  ===========================================================================

The unit u is 1 (``absolute``) or the root mean square of the untrimmed τ_f in the tensor, times
\\|w_f\\| in a weighted election (``rms``). At ξ = 0 every mode is TIES, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isogloss.merge.kernels import Array, kept, ordered_sum, threshold

LABEL = "reconstruction of TIES-SV; the paper's formula could not be consulted"
"""Said verbatim wherever slack ran: logs, statistics, cards."""

MODES = ("relative", "margin", "margin_both", "protect")
UNITS = ("rms", "absolute")


class Slack(NamedTuple):
    """A resolved slack, for one tensor."""

    mode: str
    value: float
    """ξ ≥ 0; for ``protect`` a share of the entries, at most 1."""
    favoured: int
    """Index of the favoured input."""
    unit: str = "rms"


class Verdict(NamedTuple):
    """What slack changes about an election."""

    total: Array
    """S as it counts for γ: its sign is the elected one; 0 is left to ``zero_sum``."""
    both: NDArray[np.bool_] | None
    """Where every nonzero input is averaged; None: nowhere."""


def conflicts(votes: Sequence[Array], favoured: int) -> NDArray[np.bool_]:
    """Where the favoured input votes and another one votes against it."""
    mine = np.sign(votes[favoured])
    against = np.zeros(mine.shape, np.bool_)
    for i, vote in enumerate(votes):
        if i != favoured:
            against |= np.sign(vote) * mine < 0
    return against


def unit_of(slack: Slack, raw: Array, scale: float) -> float:
    """u: 1 for ``absolute``; for ``rms`` the root mean square of ``raw``, times ``scale``.

    Args:
        raw: τ_f before trimming.
        scale: \\|w_f\\| in a weighted election, else 1.
    """
    if slack.unit == "absolute":
        return 1.0
    squares = ordered_sum(np.square(raw, dtype=np.float64).reshape(-1))
    return math.sqrt(squares / max(1, raw.size)) * scale


def apply(
    slack: Slack, votes: Sequence[Array], total: Array, *, trimmed: Array, raw: Array, scale: float
) -> Verdict:
    """Change the election of one tensor.

    Args:
        votes: eᵢ, float32.
        total: S = Σ eᵢ.
        trimmed: τ̂_f. ``protect`` ranks by it.
        raw: τ_f before trimming, for the unit.
        scale: \\|w_f\\| in a weighted election, else 1.

    >>> ct, sft = np.float32([0.9, -0.5]), np.float32([-0.6, 0.4])
    >>> apply(Slack("relative", 0.3, 1), [ct, sft], ct + sft, trimmed=sft, raw=sft,
    ...       scale=1.0).total > 0
    array([ True,  True])
    """
    if slack.value <= 0:
        # The guard of the identity law: |S| <= 0 holds at an exact cancellation, which is
        # zero_sum's to decide.
        return Verdict(total, None)
    mine = votes[slack.favoured]
    if slack.mode == "relative":
        return Verdict(total + np.float32(slack.value) * mine, None)
    if slack.mode == "protect":
        # Zeros may fill up the share, but have no sign to impose.
        cut = threshold(trimmed, int(slack.value * trimmed.size))
        return Verdict(np.where(kept(trimmed, cut) & (mine != 0), mine, total), None)
    limit = np.float32(slack.value * unit_of(slack, raw, scale))
    band = conflicts(votes, slack.favoured) & (np.abs(total) <= limit)
    if slack.mode == "margin":
        return Verdict(np.where(band, mine, total), None)
    return Verdict(total, band)
