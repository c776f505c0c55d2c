"""Variants on tasks: a base is loaded once for all variants that stand on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from isogloss.errors import EvalError, UsageError, did_you_mean
from isogloss.eval.items import Questions, read_questions
from isogloss.eval.loading import Loaded, open_model, with_adapter
from isogloss.eval.metrics import (
    classification_flags,
    classification_metrics,
    perplexity_metrics,
)
from isogloss.eval.requests import continuations, encode, rolling
from isogloss.eval.result import Item, TaskResult
from isogloss.eval.scoring import log_likelihoods
from isogloss.eval.task import Task, Variant
from isogloss.progress import Report, silent


class Measured(NamedTuple):
    """One result, as :func:`evaluate` yields it."""

    variant: str
    """The variant's name."""
    result: TaskResult


def evaluate(
    variants: Sequence[Variant],
    tasks: Sequence[Task],
    split: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    batch_tokens: int = 8192,
    report: Report = silent,
) -> Iterator[Measured]:
    """Score every variant on every task that has ``split``.

    Results come as they are ready: models in the order in which they are first named, the
    variants of a model in the order given, the tasks of a variant in the order given. A model
    that several variants share is loaded once, and each adapter is put on it and taken off.

    Args:
        split: tasks without it are left out.
        dtype: of the model; log-probabilities are in float32 always.
        batch_tokens: the most tokens in a batch, padding counted; a CPU takes fewer.

    Raises:
        EvalError: no task has the split, no tokenizer, an unknown label, NaN.
        CorpusError, CheckpointError, AdapterError: an input that can't be used.
        UsageError: two variants of one name, or none at all.

    >>> results = evaluate([Variant("base", folder)], suite.tasks, "dev")  # doctest: +SKIP
    >>> {r.result.task: r.result.error for r in results}                    # doctest: +SKIP
    {'naija-bpb': 3.2598, 'english-novels-bpb': 2.6912}
    """
    chosen = [task for task in tasks if split in task.data]
    _check_call(variants, tasks, chosen, split, batch_tokens)
    # Read before a model is loaded: data that can't be used shows at once.
    questions = {task.name: read_questions(task, split) for task in chosen}
    suffix = "" if dtype == "float32" else f"+{dtype}"
    for model in dict.fromkeys(v.model for v in variants):
        loaded = open_model(model, device=device, dtype=dtype)
        for variant in (v for v in variants if v.model == model):
            with contextlib.ExitStack() as stack:
                ready = loaded
                if variant.adapter is not None:
                    ready = stack.enter_context(with_adapter(loaded, variant.adapter))
                for task in chosen:
                    result = _measure(
                        ready,
                        task,
                        questions[task.name],
                        split=split,
                        batch_tokens=batch_tokens,
                        report=report,
                        name=variant.name,
                    )
                    yield Measured(variant.name, result._replace(protocol=result.protocol + suffix))
        # Else the next model would be loaded beside this one.
        del loaded, ready


def _check_call(
    variants: Sequence[Variant],
    tasks: Sequence[Task],
    chosen: Sequence[Task],
    split: str,
    batch_tokens: int,
) -> None:
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        found = f"two variants are called {twice[0]!r}" if twice else "there is no variant"
        raise UsageError(found, expected="one or more, each with a name of its own")
    if batch_tokens < 1:
        raise UsageError(f"batch_tokens is {batch_tokens}", expected="1 or more")
    if not chosen:
        known = sorted({name for task in tasks for name in task.data})
        raise EvalError(f"no task has the split {split!r}", hint=did_you_mean(split, known))


def _measure(
    loaded: Loaded,
    task: Task,
    questions: Questions,
    *,
    split: str,
    batch_tokens: int,
    report: Report,
    name: str,
) -> TaskResult:
    label = f"measure {name} on {task.name}"
    try:
        if task.kind == "perplexity":
            items, metrics = _perplexity(loaded, questions, batch_tokens, report, label)
            flags: tuple[str, ...] = ()
        else:
            items, metrics = _classification(loaded, task, questions, batch_tokens, report, label)
            flags = classification_flags(metrics)
    except EvalError as error:
        raise EvalError(
            f"variant {name}, task {task.name}: {error.found}",
            expected=error.expected,
            hint=error.hint,
        ) from error
    score = metrics[task.score]
    return TaskResult(
        task=task.name,
        side=task.side,
        kind=task.kind,
        split=split,
        protocol=task.protocol,
        task_digest=task.digest,
        metric=task.score,
        error=score if task.score == "bits_per_byte" else 1 - score,
        n=len(items),
        metrics=metrics,
        flags=flags,
        items=items,
    )


def _perplexity(
    loaded: Loaded, questions: Questions, batch_tokens: int, report: Report, label: str
) -> tuple[list[Item], dict[str, float]]:
    texts = encode(loaded, [q.text for q in questions.items])
    windows = [rolling(tokens, loaded.prefix, loaded.length) for tokens in texts]
    flat = [request for of in windows for request in of]
    found = iter(
        log_likelihoods(loaded, flat, batch_tokens=batch_tokens, report=report, label=label)
    )
    items: list[Item] = []
    for question, tokens, of in zip(questions.items, texts, windows, strict=True):
        nats = -sum(next(found) for _ in of)
        size = len(question.text.encode())
        items.append(
            {
                "id": question.id,
                "sha": question.sha,
                "nats": nats,
                "bytes": size,
                "tokens": len(tokens),
            }
        )
    return items, perplexity_metrics(items)


def _classification(
    loaded: Loaded,
    task: Task,
    questions: Questions,
    batch_tokens: int,
    report: Report,
    label: str,
) -> tuple[list[Item], dict[str, float]]:
    labels: Mapping[str, str] = task.labels or {}
    choices = [task.delimiter + words for words in labels.values()]
    requests = continuations(loaded, [q.text for q in questions.items], choices)
    flat = [request for of in requests for request in of]
    found = iter(
        log_likelihoods(loaded, flat, batch_tokens=batch_tokens, report=report, label=label)
    )
    items: list[Item] = []
    for question in questions.items:
        ll = {name: next(found) for name in labels}
        # max takes the first of equals: ties go to the label that is named first.
        answer = max(labels, key=ll.__getitem__)
        items.append(
            {
                "id": question.id,
                "sha": question.sha,
                "gold": question.gold,
                "pred": answer,
                "ll": ll,
                "correct": answer == question.gold,
            }
        )
    metrics = classification_metrics(items)
    metrics["cut"] = float(sum(any(request.cut for request in of) for of in requests))
    metrics["left_out"] = float(questions.left_out)
    return items, metrics
