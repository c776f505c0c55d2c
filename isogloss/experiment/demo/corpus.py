"""Write the demo's corpus: sentences drawn by seed, cut into splits that share nothing.

::

    folder/
      french/{train,dev,test}.txt           4,000 / 300 / 300 sentences, one a line
      quebec/{train,dev,test}.txt           the same in the dialect
      task_french/{train,dev,test}.jsonl    2,400 / 300 / 600 of {"text": …, "label": …}
      task_quebec/{train,dev,test}.jsonl    1,200 / 300 / 600

The labels are ``positif`` and ``négatif``, half of each in every file, and known by construction:
a text is drawn from the frames of its label. The plain corpora hold opinions too, unlabelled:
that is where a model can learn which words of the dialect keep company with which. No text stands
in two files, nor twice in one, whatever its capitals.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from isogloss.errors import UsageError
from isogloss.experiment.demo.grammar import Grammar, draw, parse_grammar
from isogloss.files import write_atomic

SPLITS = ("train", "dev", "test")
LABELS = ("positif", "négatif")
SIDES = ("french", "quebec")
TEXT_SIZES = {"french": (4000, 300, 300), "quebec": (4000, 300, 300)}
"""Sentences of train, dev and test."""
TASK_SIZES = {"french": (2400, 300, 600), "quebec": (1200, 300, 600)}
"""Labelled texts of train, dev and test; even, so that labels balance."""
OPINION_SHARE = 0.3
"""Share of the drawn sentences of a plain corpus that come from the grammar of opinions."""


class Splits(NamedTuple):
    """The files of one corpus."""

    train: Path
    dev: Path
    test: Path


class DemoFiles(NamedTuple):
    """Where the demo's corpus lies: two plain corpora and two labelled ones."""

    french: Splits
    quebec: Splits
    task_french: Splits
    task_quebec: Splits


def write_corpus(folder: Path, *, seed: int = 0) -> DemoFiles:
    """Write the corpus below ``folder`` (about a megabyte); files that are right already stay.

    The same seed gives the same bytes, whatever the hash seed or the machine.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as d:
    ...     files = write_corpus(Path(d))
    ...     len(files.quebec.dev.read_text("utf-8").splitlines())
    300

    Raises:
        UsageError: ``folder`` is there and isn't a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", expected="a folder to write the corpus to")
    rng = random.Random(seed)
    seen = {text.casefold() for side in SIDES for text in hand_written(side)}
    tasks = {side: _task(side, rng, seen) for side in SIDES}
    texts = {side: _plain(side, rng, seen) for side in SIDES}
    written = []
    for side in SIDES:
        parts = _cut(texts[side], TEXT_SIZES[side])
        written.append(_write(folder / side, parts, ".txt"))
    for side in SIDES:
        lines = [
            [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in part]
            for part in tasks[side]
        ]
        written.append(_write(folder / f"task_{side}", lines, ".jsonl"))
    return DemoFiles(*written)


def read_grammar(name: str) -> Grammar:
    """One of the grammars beside this module: ``french``, ``quebec_opinions``, …"""
    return parse_grammar(*_lines(f"{name}.txt"))


def hand_written(side: str) -> list[str]:
    """The hand-written texts of one side, one to three sentences each."""
    return [line for line in _lines(f"{side}_texts.txt") if line and not line.startswith("#")]


def _lines(name: str) -> list[str]:
    text = resources.files("isogloss.experiment.demo").joinpath(name).read_text("utf-8")
    return text.splitlines()


def _task(side: str, rng: random.Random, seen: set[str]) -> list[list[tuple[str, str]]]:
    """Train, dev and test of (text, label), as many of each label, in drawn order."""
    grammar = read_grammar(f"{side}_opinions")
    halves = [size // 2 for size in TASK_SIZES[side]]
    parts: list[list[tuple[str, str]]] = [[] for _ in halves]
    for label in LABELS:
        drawn = draw_distinct(grammar, grammar.themes[label], sum(halves), rng, seen)
        for part, texts in zip(parts, _cut(drawn, halves), strict=True):
            part += [(text, label) for text in texts]
    for part in parts:
        rng.shuffle(part)
    return parts


def _plain(side: str, rng: random.Random, seen: set[str]) -> list[str]:
    """Hand-written, everyday and opinion sentences of one side, mixed."""
    texts = hand_written(side)
    missing = sum(TEXT_SIZES[side]) - len(texts)
    opinions = int(missing * OPINION_SHARE)
    for name, count in ((side, missing - opinions), (f"{side}_opinions", opinions)):
        grammar = read_grammar(name)
        texts += draw_distinct(grammar, grammar.frames(), count, rng, seen)
    rng.shuffle(texts)
    return texts


def draw_distinct(
    grammar: Grammar, frames: Sequence[str], count: int, rng: random.Random, seen: set[str]
) -> list[str]:
    """``count`` sentences, none of them in ``seen``, which grows by them; mixed.

    Frames take turns, so that a frame that can say much doesn't drown the others; one that has
    nothing new to say is passed over for the round.
    """
    texts: list[str] = []
    while len(texts) < count:
        before = len(texts)
        for frame in rng.sample(frames, len(frames)):
            text = draw(grammar, frame, rng)
            if len(texts) < count and text.casefold() not in seen:
                seen.add(text.casefold())
                texts.append(text)
        if len(texts) == before:
            raise UsageError(
                f"the grammar says no more than {before} sentences", expected=f"{count} of them"
            )
    rng.shuffle(texts)
    return texts


def _cut(items: Sequence[str], sizes: Sequence[int]) -> list[list[str]]:
    """``items`` in consecutive parts of the given sizes."""
    parts, at = [], 0
    for size in sizes:
        parts.append(list(items[at : at + size]))
        at += size
    return parts


def _write(folder: Path, parts: Sequence[Sequence[str]], suffix: str) -> Splits:
    """One line an item, one file a split; a file that holds these bytes already is left alone."""
    paths = [folder / f"{split}{suffix}" for split in SPLITS]
    for path, lines in zip(paths, parts, strict=True):
        data = "".join(f"{line}\n" for line in lines).encode()
        if not (path.is_file() and path.read_bytes() == data):
            write_atomic(path, data)
    return Splits(*paths)
