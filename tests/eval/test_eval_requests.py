"""Windows and continuations: golden ones by hand, laws, and the traps of the definitions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import EvalError
from isogloss.eval.loading import Loaded
from isogloss.eval.requests import continuations, encode, rolling


@pytest.fixture(scope="session")
def loaded(tokenizer: Any) -> Loaded:
    """No model: encoding asks none."""
    return Loaded(None, tokenizer, length=64, prefix=0, opening=())


@pytest.mark.parametrize(
    ("tokens", "length", "windows"),
    [
        ([], 3, []),
        ([5], 3, [((0,), (5,))]),
        ([1, 2, 3], 3, [((0, 1, 2), (1, 2, 3))]),
        # The last window reaches back as far as it can: three tokens read, one predicted.
        ([1, 2, 3, 4], 3, [((0, 1, 2), (1, 2, 3)), ((1, 2, 3), (4,))]),
        ([1, 2, 3, 4, 5, 6], 3, [((0, 1, 2), (1, 2, 3)), ((3, 4, 5), (4, 5, 6))]),
        ([1, 2, 3], 1, [((0,), (1,)), ((1,), (2,)), ((2,), (3,))]),
    ],
)
def test_rolling_windows_by_hand(
    tokens: list[int], length: int, windows: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    assert [(r.tokens, r.targets) for r in rolling(tokens, 0, length)] == windows


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 12))
def test_rolling_predicts_every_token_once_and_reads_at_most_length(
    tokens: list[int], length: int
) -> None:
    requests = rolling(tokens, 0, length)
    assert [t for r in requests for t in r.targets] == tokens
    done = 0
    for request in requests:
        assert len(request.targets) <= len(request.tokens) <= length
        done += len(request.targets)
        # What is read ends where the targets end, one token earlier.
        assert list(request.tokens) == [0, *tokens][done - len(request.tokens) : done]


def test_whitespace_after_a_context_moves_to_the_continuation(loaded: Loaded) -> None:
    (moved,) = continuations(loaded, ["good \n"], ["dey"])
    (plain,) = continuations(loaded, ["good"], [" \ndey"])
    assert moved == plain


def test_context_and_continuation_are_encoded_together(loaded: Loaded) -> None:
    (row,) = continuations(loaded, ["good market"], [" rice", " fish"])
    head, rice = encode(loaded, ["good market", "good market rice"])
    assert row[0].tokens == tuple(rice[:-1])
    assert row[0].targets == tuple(rice[len(head) :])
    assert row[0].shared == row[1].shared == len(head)


def test_an_empty_context_is_the_prefix_token_and_never_doubled(loaded: Loaded) -> None:
    ((plain, marked),) = continuations(loaded, [""], [" rice", "<s> rice"])
    (rice,) = encode(loaded, [" rice"])
    assert plain == marked
    assert plain.tokens == (0, *rice[:-1])
    assert plain.targets == tuple(rice)


def test_what_the_tokenizer_puts_first_is_read_and_not_scored(loaded: Loaded) -> None:
    (bare,) = continuations(loaded, ["good"], [" rice"])
    (opened,) = continuations(loaded._replace(opening=(0,)), ["good"], [" rice"])
    assert opened[0].tokens == (0, *bare[0].tokens)
    assert opened[0].targets == bare[0].targets


def test_what_is_too_long_is_cut_on_the_left_and_says_so(loaded: Loaded) -> None:
    short = loaded._replace(length=6)
    ((long,), (fits,)) = continuations(short, ["good bad " * 20 + "rice", "a"], [" fish"])
    (whole,) = encode(loaded, ["good bad " * 20 + "rice fish"])
    assert long.cut
    assert not fits.cut
    assert long.tokens == tuple(whole[-7:-1])
    assert long.targets == tuple(whole[-len(long.targets) :])


@pytest.mark.parametrize(("choice", "length"), [("", 64), (" positive negative fish", 2)])
def test_a_continuation_needs_tokens_and_room(loaded: Loaded, choice: str, length: int) -> None:
    with pytest.raises(EvalError, match="tokens of its own"):
        continuations(loaded._replace(length=length), ["good"], [choice])


def test_nothing_to_encode_is_nothing(loaded: Loaded) -> None:
    assert encode(loaded, []) == []
    assert continuations(loaded, [], [" a"]) == []
