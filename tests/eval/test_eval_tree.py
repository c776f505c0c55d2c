"""Shared contexts: the layout by hand, and the scores of each architecture that may use it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from isogloss.eval.loading import Loaded
from isogloss.eval.requests import Request
from isogloss.eval.scoring import log_likelihoods
from isogloss.eval.tree import _SHARING, batches, can_share, lay_out, pad

TWO = [
    Request((1, 2, 3, 4), (4, 5), shared=3),
    Request((1, 2, 3, 6, 7), (6, 7, 8), shared=3),
    Request((1, 2, 3), (9,), shared=3),
]


def test_a_context_is_laid_out_once_with_its_branches_after_it() -> None:
    (row,) = lay_out(TWO, share=True)
    assert row.tokens == [1, 2, 3, 4, 6, 7]
    assert row.positions == [0, 1, 2, 3, 3, 4]
    assert row.segments == [0, 0, 0, 1, 2, 2]
    assert row.scored == [(2, 4, 0), (3, 5, 0), (2, 6, 1), (4, 7, 1), (5, 8, 1), (2, 9, 2)]
    assert row.branched


def test_without_sharing_equal_tokens_are_still_read_once() -> None:
    requests = [Request((1, 2), (3,), shared=2), Request((1, 2), (4,), shared=2), TWO[0]]
    rows = lay_out(requests, share=False)
    assert [r.tokens for r in rows] == [[1, 2, 3, 4], [1, 2]]
    assert rows[1].scored == [(1, 3, 0), (1, 4, 1)]
    assert not any(r.branched for r in rows)


def test_a_branch_sees_its_context_and_its_own_past_only() -> None:
    longer = Request((1, 2, 3, 4, 5, 6, 7, 8), (9,))
    padded = pad(lay_out([*TWO, longer], share=True), filler=0, dtype=torch.float32)
    assert padded.mask is not None
    sees = (padded.mask[1, 0] == 0).int().tolist()
    assert sees == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 1, 0, 0, 0],
        [1, 1, 1, 0, 1, 1, 0, 0],
        [1, 1, 1, 0, 0, 0, 1, 0],
        [1, 1, 1, 0, 0, 0, 1, 1],
    ]


def test_plain_rows_get_no_mask() -> None:
    padded = pad(lay_out([Request((1, 2), (3, 4))], share=True), filler=0, dtype=torch.float32)
    assert padded.mask is None
    assert padded.positions is None


def test_batches_keep_within_both_budgets() -> None:
    rows = lay_out([Request(tuple(range(n)), (n,)) for n in range(1, 20)], share=False)
    for tokens, logits in ((40, 10**9), (10**9, 30), (5, 10**9)):
        made = list(batches(rows, tokens=tokens, logits=logits, vocabulary=10))
        assert [r for batch in made for r in batch] == rows
        for batch in made:
            if len(batch) > 1:
                assert len(batch) * len(batch[0].tokens) <= tokens
                assert sum(len(r.scored) for r in batch) * 10 <= logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", sorted(_SHARING))
def test_every_architecture_that_may_share_gives_the_same_scores(kind: str, attention: str) -> None:
    torch.manual_seed(0)
    model = tiny(kind, attention)
    assert can_share(model)
    loaded = Loaded(model, None, 32, 0, ())
    requests = [*TWO, Request((5, 6), (7, 8)), Request((5, 6, 9, 11, 2), (9, 11, 2, 4), shared=2)]
    shared = log_likelihoods(loaded, requests)
    assert shared == pytest.approx(log_likelihoods(loaded, requests, share=False), abs=1e-4)


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_a_sliding_window_forbids_sharing(kind: str) -> None:
    extra = {"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {}
    assert not can_share(tiny(kind, "sdpa", sliding_window=2, **extra))


def test_an_unknown_architecture_reads_each_request_by_itself() -> None:
    assert not can_share(tiny("bloom", "eager"))


def tiny(kind: str, attention: str, **extra: Any) -> Any:
    """A random model of one architecture with scores far from flat."""
    shape: dict[str, Any] = {
        "vocab_size": 12,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 32,
        "initializer_range": 0.5,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "sliding_window": None,
    }
    if kind == "gpt2":
        shape = {"vocab_size": 12, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
        shape |= {"initializer_range": 0.5, "bos_token_id": 0, "eos_token_id": 1}
    if kind in ("gpt_neox", "bloom"):
        del shape["num_key_value_heads"], shape["head_dim"]
    config = AutoConfig.for_model(kind, **(shape | extra))
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
