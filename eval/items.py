"""The items of a task: rows of its files, checked, rendered, in the files' order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from isogloss.errors import CorpusError, EvalError
from isogloss.eval.task import Task
from isogloss.files import sha256_bytes
from isogloss.text import Row, fields_of, fill, read_rows


class Question(NamedTuple):
    """An item before it is scored."""

    id: str
    """Its place in the data, from 0, items that were left out not counted."""
    text: str
    """The text itself (perplexity), or the rendered prompt (classification)."""
    sha: str
    """First 12 hex digits of the sha256 of ``text``."""
    gold: str | None = None


class Questions(NamedTuple):
    """What a task asks on one split."""

    items: list[Question]
    left_out: int
    """Items whose gold label is not among those that the task keeps."""


def read_questions(task: Task, split: str) -> Questions:
    """The items of ``task`` on ``split``; texts are stripped and empty ones skipped.

    Raises:
        CorpusError: a file is missing, empty, not UTF-8, or lacks a field.
        EvalError: a label that the task doesn't know, or no items at all.
    """
    kept: list[Question] = []
    left_out = 0
    for where, row in _rows(task, split):
        if len(kept) == task.limit:
            break
        text = _field(row, task.text, where).strip()
        if not text:
            continue
        gold = None
        if task.label is not None:
            gold = _field(row, task.label, where)
            if task.keep is not None and gold not in task.keep:
                left_out += 1
                continue
            _check_label(task, gold, where)
        if task.prompt is not None:
            names = set(fields_of(task.prompt)) - {"text"}
            text = fill(task.prompt, {"text": text, **{n: _field(row, n, where) for n in names}})
        kept.append(Question(str(len(kept)), text, sha256_bytes(text.encode())[:12], gold))
    if not kept:
        why = f": all {left_out} have labels outside `keep`" if left_out else ""
        raise EvalError(f"task {task.name} has no items on {split!r}{why}")
    return Questions(kept, left_out)


def _rows(task: Task, split: str) -> Iterator[tuple[str, Row]]:
    for path in task.files(split):
        for number, row in enumerate(read_rows(path), 1):
            yield f"{path}, row {number},", row


def _field(row: Row, name: str, where: str) -> str:
    value = row.get(name)
    # Labels may be numbers in JSON and Parquet; True is a number to Python and a mistake here.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        fields = ", ".join(map(str, islice(row, 12)))
        raise CorpusError(f"{where} has no text in {name!r}", expected=f"one of: {fields}")
    return value


def _check_label(task: Task, gold: str, where: str) -> None:
    labels = task.labels or {}
    if gold not in labels:
        raise EvalError(
            f"{where} has the label {gold!r}",
            expected=f"one of {', '.join(labels)} (task {task.name})",
            hint="name it in `labels`, or leave such items out with `keep`",
        )
