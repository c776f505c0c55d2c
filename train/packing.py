"""Token ids of documents to rows of one length, with what each position must predict.

Layout of a document: ``prefix t1 … tn end``. Where the tokenizer has one token for both (GPT-2's
``<|endoftext|>``), it is written once, in front: the next document's prefix is this one's end.
Documents follow one another, and the stream is cut into rows.

``apart``: ``positions`` restart at each document, which transformers reads as separate sequences
where no attention mask is given; ``joined``: one sequence. Labels are *already shifted*:
``labels[i]`` is what position ``i`` predicts, ``-100`` where nothing is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IGNORE = -100

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Rows(NamedTuple):
    """Packed rows; every array has shape (rows, length)."""

    ids: Ints
    positions: Ints
    labels: Ints
    """Already shifted; ``-100`` asks nothing."""
    weights: Floats
    """Weight of each label in the loss; the mean over all labels that count is 1."""

    @property
    def tokens(self) -> int:
        """Positions that hold a token of the data, padding left out."""
        return int((self.positions >= 0).sum())


class Piece(NamedTuple):
    """One sequence to be packed: token ids and, for each, whether predicting it is asked."""

    ids: Sequence[int]
    asked: Sequence[bool]


def document(ids: Sequence[int], prefix: int | None, end: int) -> Piece:
    """A text as one sequence: every token of it asked, a prefix other than ``end`` not.

    >>> document([5, 6], prefix=0, end=0)
    Piece(ids=[0, 5, 6], asked=[True, True, True])
    """
    if prefix == end:
        return Piece([end, *ids], [True] * (len(ids) + 1))
    head = [] if prefix is None else [prefix]
    # Without a prefix the first token has nothing of its own document to be predicted from.
    asked = [False] + [True] * (len(head) + len(ids))
    return Piece([*head, *ids, end], asked)


def pack_stream(
    pieces: Iterable[Piece], length: int, *, end: int, apart: bool, overlap: int = 0
) -> Rows:
    """Documents one after the other, cut into rows of ``length``; the last, shorter row is padded.

    A document that crosses a cut goes on in the next row, where its positions start at 0 again:
    long documents are split, never truncated. With ``overlap`` a row starts ``length - overlap``
    after the one before, and only its new tokens are asked again in the loss.
    """
    ids: list[int] = []
    asked: list[bool] = []
    starts: list[bool] = []
    for piece in pieces:
        ids += piece.ids
        asked += piece.asked
        starts += [True] + [False] * (len(piece.ids) - 1)
    # The last document's end, unless it has one of its own, which then predicts nothing.
    asked.append(not ids or ids[-1] != end)
    ids.append(end)
    starts.append(True)

    step = length - overlap
    count = max(1, -(-max(len(ids) - 1 - overlap, 1) // step))
    rows = _empty(count, length, end)
    targets = np.where(asked, ids, IGNORE)[1:]
    for row in range(count):
        begin = row * step
        stop = min(begin + length, len(ids) - 1)
        size = stop - begin
        rows.ids[row, :size] = ids[begin:stop]
        rows.labels[row, :size] = targets[begin:stop]
        if row and overlap:
            rows.labels[row, :overlap] = IGNORE
        marks = np.array(starts[begin:stop]) if apart else np.zeros(size, dtype=bool)
        rows.positions[row, :size] = _restarting(marks)
    rows.weights[rows.labels == IGNORE] = 0
    return rows


def pack_bins(pieces: Sequence[Piece], length: int, *, end: int) -> Rows:
    """Short sequences (prompt and answer) whole into rows, first-fit in order, never cut.

    A sequence longer than ``length`` loses tokens from its left, where a prompt's oldest text is.
    """
    bins: list[list[Piece]] = []
    room: list[int] = []
    open_from = 0
    for piece in pieces:
        cut = Piece(piece.ids[-length:], piece.asked[-length:])
        size = len(cut.ids)
        for index in range(open_from, len(bins)):
            if room[index] >= size:
                break
        else:
            index = len(bins)
            bins.append([])
            room.append(length)
        bins[index].append(cut)
        room[index] -= size
        # Only the newest few bins stay open: linear time, and the order stays near the caller's.
        open_from = max(0, len(bins) - 16)
    rows = _empty(len(bins), length, end)
    for row, members in enumerate(bins):
        at = 0
        for ids, asked in members:
            size = len(ids)
            rows.ids[row, at : at + size] = ids
            rows.positions[row, at : at + size] = np.arange(size)
            rows.labels[row, at : at + size - 1] = np.where(asked, ids, IGNORE)[1:]
            at += size
    rows.weights[rows.labels == IGNORE] = 0
    return rows


def mix(main: Rows, other: Rows, other_loss: float | None) -> Rows:
    """Both sets of rows together, ``other`` carrying the share ``other_loss`` of the loss.

    With N labels in all and n in ``other``, each of these weighs ``other_loss·N/n`` and each of
    the rest ``(1 - other_loss)·N/(N - n)``, so that the mean weight stays 1.
    """
    parts = [main, other]
    counts = [int((part.labels != IGNORE).sum()) for part in parts]
    weights = [part.weights.copy() for part in parts]
    if other_loss is not None and all(counts):
        for weight, count, share in zip(weights, counts, (1 - other_loss, other_loss), strict=True):
            weight *= share * sum(counts) / count
    return Rows(
        np.concatenate([p.ids for p in parts]),
        np.concatenate([p.positions for p in parts]),
        np.concatenate([p.labels for p in parts]),
        np.concatenate(weights),
    )


def _empty(count: int, length: int, end: int) -> Rows:
    return Rows(
        np.full((count, length), end, dtype=np.int64),
        np.full((count, length), -1, dtype=np.int64),
        np.full((count, length), IGNORE, dtype=np.int64),
        np.ones((count, length), dtype=np.float32),
    )


def _restarting(marks: NDArray[np.bool_]) -> Ints:
    """0, 1, 2 … restarting at 0 wherever ``marks`` is set."""
    index = np.arange(len(marks), dtype=np.int64)
    return index - np.maximum.accumulate(np.where(marks, index, 0))
