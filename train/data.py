"""Text files to packed rows: encoding, replay by tokens, prompts with their answers."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from isogloss.errors import CorpusError
from isogloss.text import fill, read_rows, read_texts
from isogloss.train.packing import IGNORE, Piece, Rows, document, mix, pack_bins, pack_stream
from isogloss.train.recipe import TrainRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 1000


class Mixture(NamedTuple):
    """Rows ready for the trainer, and what went into them."""

    rows: Rows
    facts: dict[str, int | float]
    """documents, bytes, tokens, replay_documents, replay_tokens, rows, cut (examples shortened)."""


def encode(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Iterator[list[int]]:
    """Token ids of each text without special tokens, in order."""
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == _CHUNK:
            yield from _encode(tokenizer, chunk)
            chunk = []
    if chunk:
        yield from _encode(tokenizer, chunk)


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    out = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    ids: list[list[int]] = out["input_ids"]
    return ids


def language_rows(
    tokenizer: PreTrainedTokenizerBase,
    files: Sequence[Path],
    recipe: TrainRecipe,
    *,
    replay: Sequence[Path] = (),
    field: str = "text",
) -> Mixture:
    """Corpora as language-model rows, with replay documents drawn by seed up to their share.

    Raises:
        CorpusError: a file is missing, empty or not text; replay is asked for without a corpus.
    """
    texts = list(read_texts(files, field))
    if not texts:
        raise CorpusError(f"{', '.join(map(str, files))}: no text", expected="one document a line")
    pieces = _documents(tokenizer, texts)
    facts: dict[str, int | float] = {
        "documents": len(pieces),
        "bytes": sum(len(t.encode()) for t in texts),
        "tokens": sum(len(p.ids) for p in pieces),
    }
    rows = _stream(pieces, tokenizer, recipe)
    return _with_replay(rows, facts, tokenizer, replay, recipe, field)


def answer_rows(
    tokenizer: PreTrainedTokenizerBase,
    files: Sequence[Path],
    recipe: TrainRecipe,
    *,
    replay: Sequence[Path] = (),
    field: str = "text",
) -> Mixture:
    """Prompts with answers as rows that ask for the answer and the end only, with replay text.

    Prompt and answer are encoded together, and what follows the tokens of the prompt alone is the
    answer: the same rule by which ``isogloss.eval`` scores it.

    Raises:
        CorpusError: as :func:`language_rows`; a row lacks a field of the prompt; no answer fits.
    """
    pieces, cut, size = [], 0, 0
    end = end_token(tokenizer)
    for path in files:
        for found in read_rows(path):
            # Stripped, as evaluation reads its items.
            row = {k: v.strip() if isinstance(v, str) else v for k, v in found.items()}
            context, answer = fill(recipe.prompt, row), fill(recipe.answer, row)
            size += len((context + answer).encode())
            # Space before an answer belongs to its first token, so to the answer.
            whole = _opened(tokenizer, context + answer, end)
            asked_from = min(len(whole), len(_opened(tokenizer, context.rstrip(), end)))
            if len(whole) - asked_from + 1 >= recipe.sequence_length:
                raise CorpusError(
                    f"{path}: an answer of {len(whole) - asked_from} tokens",
                    expected="less than sequence_length with a token of the prompt and the end "
                    f"({recipe.sequence_length})",
                )
            cut += len(whole) + 1 > recipe.sequence_length
            asked = [False] * asked_from + [True] * (len(whole) - asked_from + 1)
            pieces.append(Piece([*whole, end], asked))
    facts: dict[str, int | float] = {
        "documents": len(pieces),
        "bytes": size,
        "tokens": sum(len(p.ids) for p in pieces),
        "cut": cut,
    }
    # First-fit leaves like-sized neighbours together; shuffle first so that a row mixes labels.
    random.Random(recipe.seed).shuffle(pieces)
    rows = pack_bins(pieces, recipe.sequence_length, end=end)
    return _with_replay(rows, facts, tokenizer, replay, recipe, field)


def _opened(tokenizer: PreTrainedTokenizerBase, text: str, end: int) -> list[int]:
    """Ids of a text with what the tokenizer puts in front, without an end that it adds itself."""
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    return ids[:-1] if len(ids) > 1 and ids[-1] == end else ids


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token that ends a document.

    Raises:
        CorpusError: the tokenizer has none.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise CorpusError("the base's tokenizer has no end token", expected="an eos_token")
    return int(end)


def _documents(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[Piece]:
    prefix, end = tokenizer.bos_token_id, end_token(tokenizer)
    return [document(ids, prefix, end) for ids in encode(tokenizer, texts)]


def _stream(
    pieces: Sequence[Piece], tokenizer: PreTrainedTokenizerBase, recipe: TrainRecipe
) -> Rows:
    return pack_stream(
        pieces,
        recipe.sequence_length,
        end=end_token(tokenizer),
        apart=recipe.documents == "apart",
        overlap=recipe.overlap,
    )


def _with_replay(
    rows: Rows,
    facts: dict[str, int | float],
    tokenizer: PreTrainedTokenizerBase,
    replay: Sequence[Path],
    recipe: TrainRecipe,
    field: str,
) -> Mixture:
    if replay and not recipe.replay_share:
        raise CorpusError(
            "a replay corpus with a replay_share of 0", expected="a share of the tokens"
        )
    if recipe.replay_share and not replay:
        raise CorpusError(
            f"replay_share is {recipe.replay_share} but no replay corpus is given",
            hint="name one with --replay FILE, or set replay_share=0",
        )
    if recipe.replay_share:
        wanted = facts["tokens"] * recipe.replay_share / (1 - recipe.replay_share)
        chosen, tokens = _draw(tokenizer, list(read_texts(replay, field)), wanted, recipe.seed)
        facts |= {"replay_documents": len(chosen), "replay_tokens": tokens}
        rows = mix(rows, _stream(chosen, tokenizer, recipe), recipe.replay_loss)
    facts["rows"] = len(rows.ids)
    facts["labels"] = int((rows.labels != IGNORE).sum())
    return Mixture(rows, facts)


def _draw(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], wanted: float, seed: int
) -> tuple[list[Piece], int]:
    """Documents in a seeded order until ``wanted`` tokens are reached or the corpus is used up."""
    random.Random(seed).shuffle(texts)
    chosen: list[Piece] = []
    tokens = 0
    for start in range(0, len(texts), _CHUNK):
        for piece in _documents(tokenizer, texts[start : start + _CHUNK]):
            if tokens >= wanted:
                return chosen, tokens
            chosen.append(piece)
            tokens += len(piece.ids)
    return chosen, tokens
