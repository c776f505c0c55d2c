"""Scores against a slow oracle: one sequence at a time, all logits, float64 softmax."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.errors import EvalError
from isogloss.eval.loading import Loaded, open_model, with_adapter
from isogloss.eval.requests import Request, continuations, encode, rolling
from isogloss.eval.scoring import log_likelihoods
from isogloss.eval.tree import can_share


@pytest.fixture(scope="module", params=["base", "adapter", "other"])
def loaded(request: pytest.FixtureRequest, folders: Any) -> Iterator[Loaded]:
    opened = open_model(folders.base)
    if request.param == "base":
        yield opened
    else:
        with with_adapter(opened, getattr(folders, request.param)) as adapted:
            yield adapted


@torch.no_grad()
def oracle_continuation(loaded: Loaded, context: str, continuation: str) -> float:
    """The log-likelihood by its definition, for a context that ends in no whitespace."""
    tok, limit = loaded.tokenizer, loaded.length
    head = tok(context)["input_ids"]
    whole = tok(context + continuation)["input_ids"]
    tail = whole[len(head) :]
    read = (head + tail)[-(limit + 1) :][:-1]
    logits = loaded.model(input_ids=torch.tensor([read])).logits[0].double()
    table = logits.log_softmax(-1)[-len(tail) :]
    return float(sum(table[i, t] for i, t in enumerate(tail)))


@torch.no_grad()
def oracle_rolling(loaded: Loaded, text: str) -> float:
    """Each token by itself from what its window shows of the past."""
    tokens = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    stream = [loaded.tokenizer.bos_token_id, *tokens]
    total, limit = 0.0, loaded.length
    for start in range(0, len(tokens), limit):
        end = min(start + limit, len(tokens))
        # A window predicts tokens start … end; the last one is filled up on the left.
        read = stream[max(0, end - limit) : end]
        table = loaded.model(input_ids=torch.tensor([read])).logits[0].double().log_softmax(-1)
        for i in range(start, end):
            total += float(table[i - end, tokens[i]])
    return total


def test_rolling_sums_equal_the_oracle(loaded: Loaded, texts: list[str]) -> None:
    documents = encode(loaded, texts)
    assert max(map(len, documents)) > loaded.length > min(map(len, documents))
    for text, tokens in zip(texts, documents, strict=True):
        found = log_likelihoods(loaded, rolling(tokens, loaded.prefix, loaded.length))
        assert sum(found) == pytest.approx(oracle_rolling(loaded, text), abs=1e-4)


def test_label_scores_equal_the_oracle(loaded: Loaded, texts: list[str]) -> None:
    contexts = [f"{text}\nSentiment:" for text in texts]
    choices = [" positive", " negative", " ça fish"]
    rows = continuations(loaded, contexts, choices)
    assert any(r.cut for row in rows for r in row)
    assert {len(r.targets) for r in rows[0]} != {1}
    found = iter(log_likelihoods(loaded, [r for row in rows for r in row]))
    for context in contexts:
        for choice in choices:
            expected = oracle_continuation(loaded, context, choice)
            assert next(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("batch_tokens", [1, 100, 700])
def test_batches_and_sharing_change_nothing(
    loaded: Loaded, texts: list[str], batch_tokens: int
) -> None:
    rows = continuations(loaded, texts, [" positive", " negative", " a"])
    requests = [r for row in rows for r in row]
    requests += [r for t in encode(loaded, texts) for r in rolling(t, 0, loaded.length)]
    plain = log_likelihoods(loaded, requests, share=False)
    other = log_likelihoods(loaded, requests, batch_tokens=batch_tokens)
    assert other == pytest.approx(plain, abs=1e-4)


def test_order_is_the_callers(loaded: Loaded, texts: list[str]) -> None:
    requests = [r for row in continuations(loaded, texts, [" a", " bad"]) for r in row]
    forward = log_likelihoods(loaded, requests)
    backward = log_likelihoods(loaded, requests[::-1])
    assert forward == pytest.approx(backward[::-1], abs=1e-4)
    assert len(set(forward)) > len(texts)


def test_no_requests_no_scores(loaded: Loaded) -> None:
    assert log_likelihoods(loaded, []) == []


def test_progress_is_told_in_tokens_to_the_end(loaded: Loaded, texts: list[str]) -> None:
    seen: list[tuple[str, float, float | None]] = []
    requests = [r for t in encode(loaded, texts) for r in rolling(t, 0, loaded.length)]
    log_likelihoods(
        loaded,
        requests,
        batch_tokens=64,
        label="here",
        report=lambda label, done, total=None, facts=None: seen.append((label, done, total)),
    )
    total = sum(len(r.tokens) for r in requests)
    assert seen[0] == ("here", 0, total)
    assert seen[-1] == ("here", total, total)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_nan_is_an_error(folders: Any) -> None:
    opened = open_model(folders.base)
    with torch.no_grad():
        opened.model.model.norm.weight[0] = float("nan")
    assert can_share(opened.model)
    with pytest.raises(EvalError, match="nan as a log-likelihood"):
        log_likelihoods(opened, [Request((0, 1), (2,))])


def test_a_tokenizer_larger_than_the_model_is_an_error(folders: Any) -> None:
    with pytest.raises(EvalError, match="token 300, and the model has 300"):
        log_likelihoods(open_model(folders.base), [Request((0, 1), (300,))])


def test_soft_caps_after_the_head_still_happen(tmp_path: Path, tokenizer: Any) -> None:
    """Granite divides its logits: a head applied from outside would miss that."""
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(1)
    model = GraniteForCausalLM(
        GraniteConfig(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            logits_scaling=5.0,
            initializer_range=0.5,
        )
    ).eval()
    loaded = Loaded(model, tokenizer, 64, 0, ())
    with torch.no_grad():
        table = model(input_ids=torch.tensor([[0, 5, 6]])).logits[0].log_softmax(-1)
    (found,) = log_likelihoods(loaded, [Request((0, 5, 6), (7, 8))])
    assert found == pytest.approx(float(table[1, 7] + table[2, 8]), abs=1e-5)
