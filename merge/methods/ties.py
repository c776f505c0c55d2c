"""``ties``: trim, elect a sign, average what agrees with it; with slack, TIES-SV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isogloss.errors import ConfigError
from isogloss.merge import slack as slacks
from isogloss.merge.kernels import Threshold, keep, ordered_sum, threshold
from isogloss.merge.methods.method import (
    INT8_MASK,
    LAMBDA,
    WEIGHT,
    Array,
    Merged,
    Parameter,
    register,
)
from isogloss.merge.slack import Slack

PRESETS = {
    "mergekit": {
        "trim": "tensor",
        "elect": "weighted",
        "normalize": "weights",
        "zero_sum": "positive",
    },
    "paper": {"trim": "model", "elect": "unweighted", "normalize": "count", "zero_sum": "majority"},
    "peft": {"trim": "tensor", "elect": "unweighted", "normalize": "count", "zero_sum": "positive"},
}
"""What each ``semantics`` stands for; an option that is given wins over its preset."""


def entries_kept(density: float, n: int, semantics: str) -> int:
    """How many of ``n`` entries trimming keeps.

    int(density · n); mergekit keeps at least one entry where the density isn't 0.

    >>> entries_kept(0.29, 100, "paper"), entries_kept(0.01, 10, "mergekit")
    (28, 1)
    """
    if density >= 1:
        return n
    k = int(density * n)
    return max(1, k) if semantics == "mergekit" and density > 0 and n else k


def folds(semantics: str, elect: str, normalize: str) -> bool:
    """Whether a negative weight is folded into its delta: (w, τ) read as (\\|w\\|, −τ).

    Where the mean divides by the weights, so that the divisor is Σ\\|w\\|; but not in mergekit's
    own TIES, which doesn't.
    """
    return normalize == "weights" and not (semantics == "mergekit" and elect == "weighted")


def check(
    tensor: str,
    labels: Sequence[str],
    shared: Mapping[str, Any],
    per_input: Mapping[str, Sequence[Any]],
) -> None:
    """Refuse unequal weights in the paper's TIES, and negative ones in mergekit's mean."""
    weights, semantics, normalize = per_input["weight"], shared["semantics"], shared["normalize"]
    if semantics == "paper" and len(set(weights)) > 1:
        raise ConfigError(
            f"semantics: paper with weights {list(weights)} for tensor {tensor}",
            expected="equal weights: the paper has none",
            hint="set semantics: mergekit or peft",
        )
    if normalize == "weights" and not folds(semantics, shared["elect"], normalize):
        least = min(weights)
        if least < 0:
            raise ConfigError(
                f"{labels[weights.index(least)]!r} has the negative weight {least:g} for tensor "
                f"{tensor}, and mergekit's mean divides by a sum of weights, which may come near 0",
                expected="weights of at least 0",
                hint="or set normalize: none, or elect: unweighted",
            )
    if shared["trim"] == "model" and shared["rescale"]:
        raise ConfigError("rescale: true with trim: model", expected="trim: tensor")


class Election(NamedTuple):
    """The outcome of one tensor's election."""

    sign: NDArray[np.int8]
    """γ: −1, 0 or 1."""
    members: list[NDArray[np.bool_]]
    """For each input: where it is in A, what the mean is taken over."""


@register(
    name="ties",
    title="TIES",
    paper="https://arxiv.org/abs/2306.01708",
    space="deltas",
    check=check,
    presets=PRESETS,
    parameters=(
        WEIGHT,
        Parameter(
            "density",
            "number",
            "share of the entries that trimming keeps, largest magnitudes first",
            default=1.0,
            per_input=True,
            low=0.0,
            high=1.0,
        ),
        Parameter(
            "normalize",
            "normalize",
            "what the sum over A is divided by: the weights in A (mergekit's true), their "
            "count, or nothing (mergekit's false)",
            default="weights",
            choices=("weights", "count", "none"),
        ),
        LAMBDA,
        Parameter("rescale", "flag", "bring the trimmed delta back to its L1 norm", default=False),
        INT8_MASK,
        Parameter(
            "semantics",
            "choice",
            "whose TIES: sets trim, elect, normalize and zero_sum where they aren't given",
            default="mergekit",
            choices=tuple(PRESETS),
            plain=True,
        ),
        Parameter(
            "trim",
            "choice",
            "rank magnitudes within each tensor or over the whole model",
            default="tensor",
            choices=("tensor", "model"),
            plain=True,
        ),
        Parameter(
            "elect",
            "choice",
            "whether weights count in the election",
            default="weighted",
            choices=("weighted", "unweighted"),
            plain=True,
        ),
        Parameter(
            "zero_sum",
            "choice",
            "the sign where the votes cancel exactly",
            default="positive",
            choices=("positive", "majority", "drop"),
            plain=True,
        ),
        Parameter("slack", "slack", "protect a favoured input at the election (TIES-SV)"),
    ),
)
def ties(
    base: Array,
    deltas: Sequence[Array],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    semantics: str = "mergekit",
    trim: str = "tensor",
    elect: str = "weighted",
    normalize: str = "weights",
    zero_sum: str = "positive",
    lambda_: float = 1.0,
    slack: Slack | None = None,
    rescale: bool = False,
    int8_mask: bool = False,
    cuts: Sequence[Threshold] | None = None,
    majority: int | None = None,
) -> Merged:
    """θ₀ + λ·mean of τ̂ᵢ over A, with A the inputs whose vote has the elected sign.

    Votes are eᵢ = wᵢτ̂ᵢ (``elect: weighted``) or τ̂ᵢ; γ = sgn Σ eᵢ; A = {i : sgn eᵢ = γ ≠ 0}. The
    sum Σ_A wᵢτ̂ᵢ is divided by Σ_A wᵢ, by \\|A\\| or by nothing (``normalize``); empty A gives 0.

    Args:
        base: θ₀, float32.
        deltas: τᵢ, float32, not trimmed.
        weight: wᵢ; rounded to float32.
        cuts: what trimming keeps of each delta.
        majority: the sign that ``zero_sum: majority`` takes, where it is known for the whole
            model; None: this tensor's own.
        fold: read (w, τ) with w < 0 as (\\|w\\|, −τ), so that the divisor is Σ\\|w\\|.
        slack: see :mod:`isogloss.merge.slack`.

    >>> import numpy as np
    >>> ties(np.zeros(3, np.float32), [np.float32([3, -1, 0]), np.float32([-1, -3, 2])],
    ...      weight=[1, 1], density=[1, 1]).values
    array([ 3., -2.,  2.], dtype=float32)
    """
    fold = folds(semantics, elect, normalize)
    if cuts is None:
        cuts = [
            threshold(delta, entries_kept(share, delta.size, semantics))
            for delta, share in zip(deltas, density, strict=True)
        ]
    trimmed = [_trim(delta, cut, rescale) for delta, cut in zip(deltas, cuts, strict=True)]
    numbers = [np.float32(w) for w in weight]
    shares = [number * delta for number, delta in zip(numbers, trimmed, strict=True)]
    votes = ballots(trimmed, shares, numbers, elect=elect, fold=fold)
    total = tally(votes)
    zero = zero_sign(zero_sum, total, majority)
    election = decide(total, votes, zero)
    counts = _counts(trimmed, votes, election)
    if slack is not None:
        plain = election
        f = slack.favoured
        scale = abs(float(numbers[f])) if elect == "weighted" else 1.0
        verdict = slacks.apply(slack, votes, total, trimmed=trimmed[f], raw=deltas[f], scale=scale)
        election = decide(verdict.total, votes, zero, verdict.both)
        counts = _counts(trimmed, votes, election)
        counts |= _slack_counts(plain, election, votes[f], verdict.total)

    mixed = np.zeros_like(base)
    divisor = np.zeros_like(base)
    for number, share, member in zip(numbers, shares, election.members, strict=True):
        mixed += np.where(member, share, np.float32(0))
        if normalize == "weights":
            divisor += np.where(member, abs(number) if fold else number, np.float32(0))
        elif normalize == "count":
            divisor += member
    if normalize != "none":
        divisor[divisor == 0] = 1
        mixed /= divisor
    if lambda_ != 1:
        mixed *= np.float32(lambda_)
    return Merged(base + mixed, counts)


def _trim(delta: Array, cut: Threshold, rescale: bool) -> Array:
    if cut.ties >= delta.size:
        return delta
    short = keep(delta, cut)
    if not rescale:
        return short
    before, after = (
        ordered_sum(np.abs(values, dtype=np.float64).reshape(-1)) for values in (delta, short)
    )
    # Below this mergekit leaves the delta as it is; a quotient of near-zeros means nothing.
    return short if min(before, after) < 1e-7 else short * np.float32(before / after)


def ballots(
    trimmed: Sequence[Array],
    shares: Sequence[Array],
    numbers: Sequence[np.float32],
    *,
    elect: str,
    fold: bool,
) -> list[Array]:
    """The votes eᵢ: wᵢτ̂ᵢ, or τ̂ᵢ (−τ̂ᵢ where a negative weight is folded)."""
    if elect == "weighted":
        return list(shares)
    pairs = zip(trimmed, numbers, strict=True)
    return [-delta if fold and number < 0 else delta for delta, number in pairs]


def tally(votes: Sequence[Array]) -> Array:
    """S = Σ eᵢ in float32, in the order of the inputs."""
    total = np.zeros_like(votes[0])
    for vote in votes:
        total += vote
    return total


def zero_sign(zero_sum: str, total: Array, majority: int | None) -> int:
    """The sign for S = 0: 1, 0 (drop), or the majority's, negative where that has none either."""
    if zero_sum == "positive":
        return 1
    if zero_sum == "drop":
        return 0
    balance = sign_balance(total) if majority is None else majority
    return 1 if balance > 0 else -1


def sign_balance(total: Array) -> int:
    """Σ sgn S over a tensor: how many more entries are positive than negative."""
    return int(np.count_nonzero(total > 0)) - int(np.count_nonzero(total < 0))


def decide(
    total: Array, votes: Sequence[Array], zero: int, both: NDArray[np.bool_] | None = None
) -> Election:
    """γ and A from S; where ``both``, every nonzero vote is in A."""
    sign = np.sign(total).astype(np.int8)
    sign[total == 0] = zero
    members = []
    for vote in votes:
        member = (np.sign(vote) == sign) & (vote != 0)
        members.append(member if both is None else member | (both & (vote != 0)))
    return Election(sign, members)


def _counts(
    trimmed: Sequence[Array], votes: Sequence[Array], election: Election
) -> dict[str, float]:
    up = np.zeros(votes[0].shape, np.bool_)
    down = up.copy()
    counts: dict[str, float] = {"entries": votes[0].size}
    for i, (vote, member) in enumerate(zip(votes, election.members, strict=True)):
        up |= vote > 0
        down |= vote < 0
        size = np.abs(trimmed[i])
        lost = (vote != 0) & ~member
        counts[f"live.{i}"] = int(np.count_nonzero(vote))
        counts[f"lost.{i}"] = int(np.count_nonzero(lost))
        counts[f"mass.{i}"] = float(np.sum(size, where=vote != 0, dtype=np.float64))
        counts[f"mass_lost.{i}"] = float(np.sum(size, where=lost, dtype=np.float64))
    counts["conflicts"] = int(np.count_nonzero(up & down))
    counts["contested"] = int(np.count_nonzero(up | down))
    return counts


def _slack_counts(plain: Election, now: Election, mine: Array, total: Array) -> dict[str, float]:
    changed = np.zeros(mine.shape, np.bool_)
    for old, new in zip(plain.members, now.members, strict=True):
        changed |= old != new
    f, s = mine.astype(np.float64), total.astype(np.float64)
    return {
        "changed": int(np.count_nonzero(changed)),
        "slack.ff": float(np.sum(f * f)),
        "slack.ss": float(np.sum(s * s)),
        "slack.fs": float(np.sum(f * s)),
    }
