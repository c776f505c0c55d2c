"""An evaluation step: measure versions on the tasks of a suite, store every item, record."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from isogloss.config import Strict
from isogloss.errors import EvalError
from isogloss.eval import Suite, Task, TaskResult, Variant, evaluate
from isogloss.eval.result import items_from_jsonl, items_to_jsonl
from isogloss.files import sha256_file
from isogloss.madeby import made_by, now
from isogloss.progress import Report, silent
from isogloss.registry import Evaluation, Registry, step_digest
from isogloss.settings import device as default_device
from isogloss.steps.references import Resolved, contents, locate

METHOD_VERSION = 1
"""Raised when the same model on the same items would get other numbers."""


class EvaluateSpec(Strict):
    """What is measured on what, and how."""

    suite: Suite
    split: str = "test"
    dtype: str = "float32"
    batch_tokens: int = 8192


def evaluate_step(
    registry: Registry,
    targets: Sequence[Resolved],
    spec: EvaluateSpec,
    *,
    device: str | None = None,
    report: Report = silent,
) -> list[Evaluation]:
    """An evaluation for each target and each task that has the split, in that order.

    What was measured before is taken from the records. Targets that share a base are measured
    together, so that it is loaded once.

    Raises:
        EvalError: no task has the split; data or model can't be used.
    """
    tasks = [task for task in spec.suite.tasks if spec.split in task.data]
    if not tasks:
        splits = sorted({split for task in spec.suite.tasks for split in task.data})
        raise EvalError(
            f"no task of suite {spec.suite.name} has the split {spec.split!r}",
            expected=f"one of {', '.join(splits)}",
        )
    steps = {
        (index, task.name): _step(registry, target, task, spec)
        for index, target in enumerate(targets)
        for task in tasks
    }
    missing: dict[tuple[str, ...], list[int]] = {}
    claimed: set[str] = set()
    for index in range(len(targets)):
        open_tasks = tuple(
            task.name
            for task in tasks
            if steps[index, task.name] not in claimed
            and registry.evaluation_by_step(steps[index, task.name]) is None
        )
        if open_tasks:
            missing.setdefault(open_tasks, []).append(index)
            claimed |= {steps[index, name] for name in open_tasks}
    for names, indices in missing.items():
        wanted = [task for task in tasks if task.name in names]
        _measure(registry, targets, indices, wanted, spec, steps, device, report)
    found = []
    for index in range(len(targets)):
        for task in tasks:
            evaluation = _recorded(registry, targets[index], spec, steps[index, task.name])
            if evaluation is None:
                raise EvalError(f"{targets[index].ref} on {task.name} was not recorded")
            found.append(evaluation)
    return found


def _recorded(
    registry: Registry, target: Resolved, spec: EvaluateSpec, step: str
) -> Evaluation | None:
    """The target's own record of a step; where another version of the same content was measured,
    or under another suite's name, its scores are recorded for this one too."""
    version = target.lora or target.version
    suite = spec.suite.name
    newest = registry.evaluation_by_step(step)
    if newest is None or (newest.version, newest.suite) == (version.record, suite):
        return newest
    own = [e for e in registry.evaluations(version, suite=suite) if e.step == step]
    if own:
        return own[-1]
    about = {"version": version.record, "ref": target.ref, "suite": suite, "created_at": now()}
    return registry.record_evaluation(newest.model_copy(update=about))


def _measure(
    registry: Registry,
    targets: Sequence[Resolved],
    indices: Sequence[int],
    tasks: Sequence[Task],
    spec: EvaluateSpec,
    steps: dict[tuple[int, str], str],
    device: str | None,
    report: Report,
) -> None:
    variants = []
    by_ref = {targets[index].ref: index for index in indices}
    for ref, index in by_ref.items():
        located = locate(registry, targets[index], report)
        variants.append(Variant(ref, located.model, located.adapter))
    started = now()
    for measured in evaluate(
        variants,
        tasks,
        spec.split,
        device=device or default_device(),
        dtype=spec.dtype,
        batch_tokens=spec.batch_tokens,
        report=report,
    ):
        index, result = by_ref[measured.variant], measured.result
        step = steps[index, result.task]
        _record(registry, targets[index], spec, result, step, started)


def _record(
    registry: Registry,
    target: Resolved,
    spec: EvaluateSpec,
    result: TaskResult,
    step: str,
    started: str,
) -> None:
    version = target.lora or target.version
    recipe = {"suite": spec.suite.name, "dtype": spec.dtype, "batch_tokens": spec.batch_tokens}
    registry.record_evaluation(
        Evaluation(
            version=version.record,
            ref=target.ref,
            suite=spec.suite.name,
            task=result.task,
            task_digest=result.task_digest,
            side=result.side,
            split=result.split,
            protocol=result.protocol,
            kind=result.kind,
            metric=result.metric,
            error=result.error,
            n=result.n,
            metrics=result.metrics,
            flags=result.flags,
            items=registry.put_blob(items_to_jsonl(result.items)),
            step=step,
            made_by=made_by("eval run", recipe, seed=None, started=started),
            created_at=now(),
        )
    )


def _step(registry: Registry, target: Resolved, task: Task, spec: EvaluateSpec) -> str:
    data = [
        _sha256(path, path.stat().st_mtime_ns if path.is_file() else 0)
        for path in task.files(spec.split)
    ]
    recipe = {
        "task": task.digest,
        "protocol": task.protocol,
        "split": spec.split,
        "dtype": spec.dtype,
        "data": data,
    }
    return step_digest(
        "eval run", recipe, contents(registry, target.versions), None, METHOD_VERSION
    )


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, changed: int) -> str | None:
    # A missing file is left for the task's own reader to complain about.
    return sha256_file(path) if changed else None


def stored_result(registry: Registry, evaluation: Evaluation) -> TaskResult:
    """The result that an evaluation records, with the score of every item.

    Raises:
        IntegrityError: the stored items are not what the record says.
    """
    return TaskResult(
        task=evaluation.task,
        side=evaluation.side,
        kind=evaluation.kind,
        split=evaluation.split,
        protocol=evaluation.protocol,
        task_digest=evaluation.task_digest,
        metric=evaluation.metric,
        error=evaluation.error,
        n=evaluation.n,
        metrics=evaluation.metrics,
        flags=evaluation.flags,
        items=items_from_jsonl(registry.read_blob(evaluation.items)),
    )


def results(
    registry: Registry, evaluations: Sequence[Evaluation], names: Sequence[str]
) -> dict[str, dict[str, TaskResult]]:
    """Evaluations as ``isogloss.eval.judge`` takes them: name -> task -> result.

    Args:
        evaluations: as :func:`evaluate_step` gives them, the same tasks for each target.
        names: what to call each target, in the order of the targets.
    """
    tasks = len(evaluations) // len(names)
    return {
        name: {e.task: stored_result(registry, e) for e in evaluations[at * tasks :][:tasks]}
        for at, name in enumerate(names)
    }
