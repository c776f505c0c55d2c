"""Log-likelihoods of requests, in batches, with log_softmax in float32 whatever the model's dtype.

Requests are sorted by length and batched to a budget of tokens, so that little is padded;
contexts in common are read once (``tree.py``); and the head is applied to the rows that are
scored, never to a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from isogloss.errors import EvalError
from isogloss.eval.loading import Loaded
from isogloss.eval.requests import Request
from isogloss.eval.tree import Padded, batches, can_share, lay_out, pad
from isogloss.progress import Report, silent

LOGITS_BUDGET = 1 << 26
"""The most logits computed at once (256 MiB in float32), a single long request excepted."""

CPU_TOKENS = 2048
"""The most tokens in a batch on a CPU, where bigger ones leave its caches: 8,192 took 1.3 times
the time of 2,048 on a Llama of 1.3 million parameters."""


def log_likelihoods(
    loaded: Loaded,
    requests: Sequence[Request],
    *,
    batch_tokens: int = 8192,
    share: bool = True,
    report: Report = silent,
    label: str = "score",
) -> list[float]:
    """Σ log p(target) of each request, in nats, in the order given.

    Args:
        batch_tokens: tokens in a batch, padding counted; fewer where the vocabulary is large,
            and at most ``CPU_TOKENS`` on a CPU.
        share: read contexts in common once, where the architecture allows it.

    Raises:
        EvalError: a log-likelihood that isn't finite, or a token that the model doesn't have.
    """
    vocabulary = int(loaded.model.get_input_embeddings().weight.shape[0])
    _check_vocabulary(requests, vocabulary)
    rows = lay_out(requests, share=share and can_share(loaded.model))
    if loaded.model.device.type == "cpu":
        batch_tokens = min(batch_tokens, CPU_TOKENS)
    total = sum(len(row.tokens) for row in rows)
    sums = torch.zeros(len(requests), dtype=torch.float64)
    done = 0
    report(label, done, total)
    with torch.inference_mode():
        for batch in batches(
            rows, tokens=batch_tokens, logits=LOGITS_BUDGET, vocabulary=vocabulary
        ):
            padded = pad(batch, filler=loaded.prefix, dtype=loaded.model.dtype)
            sums.index_add_(0, padded.owners, _log_probabilities(loaded.model, padded))
            done += sum(len(row.tokens) for row in batch)
            report(label, done, total)
    values: list[float] = sums.tolist()
    for i, value in enumerate(values):
        if not math.isfinite(value):
            raise EvalError(
                f"the model gives {value} as a log-likelihood (request {i})",
                expected="finite numbers; its weights hold NaN, or overflow in this dtype",
            )
    return values


def _log_probabilities(model: Any, batch: Padded) -> torch.Tensor:
    """log p of each scored place: (N,), float64, on the CPU."""
    logits = rows_of_logits(model, batch).float()
    targets = batch.targets.to(logits.device).unsqueeze(1)
    return (logits.gather(1, targets).squeeze(1) - logits.logsumexp(1)).double().cpu()


def rows_of_logits(model: Any, batch: Padded) -> torch.Tensor:
    """Logits of the scored places of a batch: (N, vocabulary), in the model's dtype.

    A hook hands the head those places only, so whatever a model does after its head (soft caps,
    scales) still happens. A model whose head isn't met that way gives all logits.
    """
    device = model.device
    rows, columns = batch.rows.to(device), batch.columns.to(device)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = inner.get_output_embeddings()

    def pick(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0][rows, columns].unsqueeze(0), *given[1:])

    hook = head.register_forward_pre_hook(pick) if head is not None else None
    try:
        logits: torch.Tensor = model(
            input_ids=batch.ids.to(device),
            attention_mask=None if batch.mask is None else batch.mask.to(device),
            position_ids=None if batch.positions is None else batch.positions.to(device),
            use_cache=False,
        ).logits
    finally:
        if hook is not None:
            hook.remove()
    return logits[0] if logits.shape[:2] == (1, len(rows)) else logits[rows, columns]


def _check_vocabulary(requests: Sequence[Request], size: int) -> None:
    highest = max((max(*r.tokens, *r.targets) for r in requests), default=0)
    if highest >= size:
        raise EvalError(
            f"the tokenizer gives token {highest}, and the model has {size}",
            expected="the model's own tokenizer",
        )
