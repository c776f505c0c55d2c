"""Which tokens are scored in which context.

Definitions are those of lm-evaluation-harness 0.4 (Gao et al., *A framework for few-shot
language model evaluation*), without counting a BOS that a tokenizer adds by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from isogloss.errors import EvalError
from isogloss.eval.loading import Loaded


class Request(NamedTuple):
    """Tokens to read, and the next tokens whose log-probabilities are summed.

    ``targets[i]`` is predicted from position ``len(tokens) - len(targets) + i``: the targets
    follow the last ``len(targets)`` tokens read.
    """

    tokens: tuple[int, ...]
    targets: tuple[int, ...]
    shared: int = 0
    """The first so many tokens are a context that other requests have too: read it once."""
    cut: bool = False
    """Tokens were left out on the left, since the whole is longer than the model reads."""


def encode(loaded: Loaded, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each text, without special tokens."""
    if not texts:
        return []
    encoded = loaded.tokenizer(list(texts), add_special_tokens=False, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def rolling(tokens: Sequence[int], prefix: int, length: int) -> list[Request]:
    """The windows that predict every token of a document once.

    The first window is conditioned on ``prefix``, each full one on the one token before it, and
    the last, shorter one on as much earlier text as ``length`` still holds.

    >>> [(r.tokens, r.targets) for r in rolling([1, 2, 3, 4, 5], prefix=0, length=3)]
    [((0, 1, 2), (1, 2, 3)), ((2, 3, 4), (4, 5))]
    """
    requests = []
    done = 0
    while done < len(tokens):
        take = min(length, len(tokens) - done)
        end = done + take
        start = 0 if done == 0 else max(0, end - 1 - length)
        read = tuple(tokens[start : end - 1])
        requests.append(Request((prefix, *read) if done == 0 else read, tuple(tokens[done:end])))
        done = end
    return requests


def continuations(
    loaded: Loaded, contexts: Sequence[str], choices: Sequence[str]
) -> list[list[Request]]:
    """For each context, one request per choice (a continuation, its delimiter included).

    Whitespace at the end of a context moves to its continuations; context + continuation are
    encoded together, and the continuation is what follows the tokens of the context alone. An
    empty context becomes the prefix token, and one that a continuation begins with already is
    not doubled. What is too long is cut from the left.

    Raises:
        EvalError: a continuation without tokens of its own, or longer than the model reads.
    """
    bare = [context.rstrip() for context in contexts]
    moved = [context[len(b) :] for context, b in zip(contexts, bare, strict=True)]
    heads = encode(loaded, bare)
    wholes = encode(loaded, [b + m + c for b, m in zip(bare, moved, strict=True) for c in choices])
    requests: list[list[Request]] = []
    for i, head in enumerate(heads):
        # The prefix token takes the place of a context that is empty.
        before = (*loaded.opening, *head) if head else (loaded.prefix,)
        row = []
        for j, choice in enumerate(choices):
            tail = wholes[i * len(choices) + j][len(head) :]
            if not head and tail[:1] == [loaded.prefix]:
                tail = tail[1:]
            if not tail or len(tail) > loaded.length:
                raise EvalError(
                    f"{choice!r} after item {i} has {len(tail)} tokens of its own",
                    expected=f"1 to {loaded.length}",
                )
            whole = (*before, *tail)
            kept = whole[-(loaded.length + 1) :]
            shared = len(kept) - len(tail)
            row.append(Request(kept[:-1], tuple(tail), shared, cut=len(kept) < len(whole)))
        requests.append(row)
    return requests
