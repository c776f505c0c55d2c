"""Requests laid out for one forward pass: a shared context is read once, then its branches.

A row of a batch is ``context, branch 1, branch 2, …``. The positions of each branch go on from
the context, and a branch sees the context and its own past; its first target is predicted from
the context's last token. Requests without a context in common are rows of their own, and need
no mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from isogloss.eval.requests import Request

_SHARING = frozenset(
    [
        "gemma",
        "gpt2",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
    ]
)
"""Architectures that were seen to honour a mask of rows and explicit positions (the tests hold
each). Others read every request by itself: a mask that is silently ignored gives wrong scores."""


class Row(NamedTuple):
    """One row of a batch."""

    tokens: list[int]
    positions: list[int]
    segments: list[int]
    """0 for the context, k for the k-th branch."""
    scored: list[tuple[int, int, int]]
    """(column, target, number of the request): the target is predicted from the column."""

    @property
    def branched(self) -> bool:
        """Whether the row needs a mask and positions of its own."""
        return self.segments[-1] > 1


def can_share(model: Any) -> bool:
    """Whether ``model`` takes a mask over branches: a known one, with full attention throughout."""
    config = model.config.get_text_config()
    if config.model_type not in _SHARING:
        return False
    if getattr(config, "_attn_implementation", None) not in ("sdpa", "eager"):
        return False
    layers = getattr(config, "layer_types", None)
    if layers is not None:
        return set(layers) == {"full_attention"}
    return getattr(config, "sliding_window", None) is None


def lay_out(requests: Sequence[Request], *, share: bool) -> list[Row]:
    """Rows that score all requests, longest first; ties in the order given.

    Requests that read the same tokens are always read once; with ``share`` so are contexts.
    """
    groups: dict[tuple[int, ...], dict[tuple[int, ...], list[int]]] = {}
    for i, request in enumerate(requests):
        cut = request.shared if share else len(request.tokens)
        trunk, branch = request.tokens[:cut], request.tokens[cut:]
        # A request without a context in common is a trunk without branches.
        if share and request.shared == 0:
            trunk, branch = request.tokens, ()
        groups.setdefault(trunk, {}).setdefault(branch, []).append(i)
    rows = [_row(trunk, branches, requests) for trunk, branches in groups.items()]
    return sorted(rows, key=lambda row: -len(row.tokens))


def _row(
    trunk: tuple[int, ...],
    branches: dict[tuple[int, ...], list[int]],
    requests: Sequence[Request],
) -> Row:
    row = Row(list(trunk), list(range(len(trunk))), [0] * len(trunk), [])
    filled = 0
    for branch, owners in branches.items():
        start = len(row.tokens)
        filled += bool(branch)
        row.tokens.extend(branch)
        row.positions.extend(range(len(trunk), len(trunk) + len(branch)))
        row.segments.extend([filled] * len(branch))
        columns = [*range(len(trunk)), *range(start, len(row.tokens))]
        for owner in owners:
            targets = requests[owner].targets
            ends = columns[len(columns) - len(targets) :]
            row.scored.extend((c, t, owner) for c, t in zip(ends, targets, strict=True))
    return row


def batches(
    rows: Sequence[Row], *, tokens: int, logits: int, vocabulary: int
) -> Iterator[list[Row]]:
    """``rows`` in order, cut where a batch would pass ``tokens`` (padding counted) or ``logits``.

    A row that alone is more than either is a batch of its own.
    """
    batch: list[Row] = []
    scored = 0
    for row in rows:
        width = len(batch[0].tokens) if batch else 0
        full = width * (len(batch) + 1) > tokens
        full = full or (scored + len(row.scored)) * vocabulary > logits
        if batch and full:
            yield batch
            batch, scored = [], 0
        batch.append(row)
        scored += len(row.scored)
    if batch:
        yield batch


class Padded(NamedTuple):
    """A batch as tensors; B rows of T columns, N scored places."""

    ids: torch.Tensor
    """(B, T)"""
    positions: torch.Tensor | None
    """(B, T), None where they are 0, 1, 2 … in every row."""
    mask: torch.Tensor | None
    """(B, 1, T, T), added to attention scores: 0 or the least number of the dtype."""
    rows: torch.Tensor
    """(N,)"""
    columns: torch.Tensor
    """(N,)"""
    targets: torch.Tensor
    """(N,)"""
    owners: torch.Tensor
    """(N,)"""


def pad(batch: Sequence[Row], *, filler: int, dtype: torch.dtype) -> Padded:
    """``batch`` as tensors on the CPU, padded on the right with the token ``filler``.

    A causal model can't see what stands on the right, so without branches no mask is needed,
    and the attention kernels without one are the fast ones.
    """
    width = len(batch[0].tokens)
    ids = torch.full((len(batch), width), filler, dtype=torch.long)
    for i, row in enumerate(batch):
        ids[i, : len(row.tokens)] = torch.tensor(row.tokens)
    places = torch.tensor([(i, *place) for i, row in enumerate(batch) for place in row.scored])
    positions = mask = None
    if any(row.branched for row in batch):
        positions = torch.arange(width).repeat(len(batch), 1)
        segments = torch.full((len(batch), width), -1)
        for i, row in enumerate(batch):
            positions[i, : len(row.tokens)] = torch.tensor(row.positions)
            segments[i, : len(row.tokens)] = torch.tensor(row.segments)
        # Padding keeps its own segment, so that each of its rows sees something: softmax over
        # nothing would be NaN.
        same = segments.unsqueeze(2) == segments.unsqueeze(1)
        sees = (same | (segments == 0).unsqueeze(1)) & torch.ones(width, width).tril().bool()
        # Additive, since a boolean mask is silently misread by eager attention.
        mask = torch.zeros(sees.shape, dtype=dtype)
        mask = mask.masked_fill(~sees, torch.finfo(dtype).min).unsqueeze(1)
    return Padded(ids, positions, mask, *places.unbind(1))
