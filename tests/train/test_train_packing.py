"""Packing: golden rows by hand, and laws on random documents."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isogloss.train.packing import (
    IGNORE,
    Piece,
    Rows,
    document,
    mix,
    pack_bins,
    pack_stream,
)


def test_one_token_for_prefix_and_end_is_written_once() -> None:
    rows = pack_stream([document([5, 6], 0, 0), document([7], 0, 0)], 4, end=0, apart=True)
    assert rows.ids.tolist() == [[0, 5, 6, 0], [7, 0, 0, 0]]
    assert rows.positions.tolist() == [[0, 1, 2, 0], [0, -1, -1, -1]]
    assert rows.labels.tolist() == [[5, 6, 0, 7], [0, IGNORE, IGNORE, IGNORE]]


def test_a_prefix_of_its_own_is_never_asked_and_the_end_always() -> None:
    pieces = [document([5, 6], prefix=1, end=2), document([7], prefix=1, end=2)]
    rows = pack_stream(pieces, 8, end=2, apart=True)
    assert rows.ids.tolist() == [[1, 5, 6, 2, 1, 7, 2, 2]]
    assert rows.labels.tolist()[0][:6] == [5, 6, 2, IGNORE, 7, 2]
    assert rows.positions.tolist()[0][:7] == [0, 1, 2, 3, 0, 1, 2]


def test_the_end_of_the_last_document_predicts_nothing_as_that_of_any_other() -> None:
    rows = pack_stream([document([5], prefix=1, end=2)] * 2, 8, end=2, apart=True)
    assert rows.labels.tolist() == [[5, 2, IGNORE, 5, 2, IGNORE, IGNORE, IGNORE]]


def test_joined_is_one_sequence() -> None:
    rows = pack_stream([document([5], 0, 0), document([6], 0, 0)], 8, end=0, apart=False)
    assert rows.positions.tolist() == [[0, 1, 2, 3, -1, -1, -1, -1]]


def test_windows_start_at_every_step_and_repeat_the_overlap_unasked() -> None:
    # Length 1024 and overlap 128 give windows at 0, 896, 1792 for 2,816 tokens.
    piece = Piece(list(range(1, 2817)), [True] * 2816)
    rows = pack_stream([piece], 1024, end=0, apart=False, overlap=128)
    assert rows.ids[:, 0].tolist() == [1, 897, 1793]
    assert (rows.labels[1, :128] == IGNORE).all()
    assert rows.labels[1, 128] == rows.ids[1, 129]


def test_answers_are_asked_and_prompts_are_not() -> None:
    rows = pack_bins([Piece([3, 4, 9, 0], [False, False, True, True])], 6, end=0)
    assert rows.labels.tolist() == [[IGNORE, 9, 0, IGNORE, IGNORE, IGNORE]]
    assert rows.weights.tolist() == [[0, 1, 1, 0, 0, 0]]


def test_a_long_example_is_cut_on_its_left() -> None:
    rows = pack_bins([Piece([1, 2, 3, 4, 9, 0], [False] * 4 + [True] * 2)], 4, end=0)
    assert rows.ids.tolist() == [[3, 4, 9, 0]]


_documents = st.lists(
    st.lists(st.integers(3, 50), min_size=1, max_size=12), min_size=1, max_size=20
)


@given(_documents, st.integers(4, 16), st.sampled_from([(0, 0), (1, 0), (None, 0)]))
def test_every_token_is_there_once_and_predicted_once(
    texts: list[list[int]], length: int, edges: tuple[int | None, int]
) -> None:
    prefix, end = edges
    rows = pack_stream([document(t, prefix, end) for t in texts], length, end=end, apart=True)
    kept = rows.ids[rows.positions >= 0].tolist()
    words = [token for token in kept if token >= 3]
    assert words == [token for text in texts for token in text]
    asked = sorted(t for t in rows.labels[rows.labels != IGNORE].tolist() if t >= 3)
    lost = [] if prefix is not None else [text[0] for text in texts]
    assert sorted(asked + lost) == sorted(words)
    # The end of every document is learned.
    assert (rows.labels == end).sum() >= len(texts)


@given(_documents, st.integers(4, 16))
def test_positions_restart_at_documents_and_rows_only(texts: list[list[int]], length: int) -> None:
    rows = pack_stream([document(t, 0, 0) for t in texts], length, end=0, apart=True)
    for ids, positions in zip(rows.ids, rows.positions, strict=True):
        for index, (token, position) in enumerate(zip(ids, positions, strict=True)):
            if position >= 0:
                assert (position == 0) == (index == 0 or token == 0)


@given(_documents, st.floats(0.05, 0.95))
def test_mixed_weights_have_mean_one_and_the_share_asked_for(
    texts: list[list[int]], share: float
) -> None:
    answers = pack_bins([Piece([*t, 0], [False] * len(t) + [True]) for t in texts], 16, end=0)
    replay = pack_stream([document(t, 0, 0) for t in texts], 16, end=0, apart=True)
    rows: Rows = mix(answers, replay, share)
    asked = rows.labels != IGNORE
    np.testing.assert_allclose(rows.weights[asked].mean(), 1, rtol=1e-5)
    theirs = rows.weights[len(answers.ids) :].sum() / rows.weights.sum()
    np.testing.assert_allclose(theirs, share, rtol=1e-5)
