"""Run a plan: read, compute in float32, round once, write by offset, digest on the way.

One tensor at a time is in memory. The output stands in a temporary sibling folder until it is
whole; a run that fails at any line leaves nothing behind.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isogloss.errors import BaseMismatch, MergeError, NonFinite
from isogloss.files import FileEntry, fresh_folder, sha256_bytes, sha256_file
from isogloss.madeby import made_by, now, write_sidecars
from isogloss.merge.checkpoint import INDEX, read_float32, read_raw
from isogloss.merge.delta import read_delta
from isogloss.merge.donor import copy_files
from isogloss.merge.inputs import Input
from isogloss.merge.kernels import Array, is_finite, narrow, widen
from isogloss.merge.methods import Merged
from isogloss.merge.planning import Job, Plan, plan, shared_trim
from isogloss.merge.recipe import Recipe
from isogloss.merge.slack import Slack
from isogloss.merge.sources import Source
from isogloss.merge.statistics import summary, totals_only
from isogloss.merge.trim import Survey, survey
from isogloss.progress import Report, silent

Bytes = NDArray[np.uint8]


class MergeResult(NamedTuple):
    """A finished merge."""

    folder: Path
    files: tuple[FileEntry, ...]
    """Sorted by path; the sidecars are not among them."""
    made_by: dict[str, Any]
    """As written to ``isogloss.json``."""
    statistics: dict[str, Any]
    """:func:`isogloss.merge.statistics.summary`."""


def run(
    recipe: Recipe, out: Path, *, sources: Mapping[str, Source], report: Report = silent
) -> MergeResult:
    """Merge, and write a transformers model folder with its sidecars.

    Args:
        out: a new or empty folder.
        sources: one for each of ``recipe.names()``.
        report: called after each tensor; the unit is bytes written.

    Raises:
        ConfigError, CheckpointError, AdapterError, UnsafeInput, BaseMismatch: from :func:`plan`.
        NonFinite: a weight is NaN or infinite, or the result doesn't fit its dtype.
        UsageError: ``out`` isn't free.
        MergeError: the disk is full.
    """
    started = now()
    todo = plan(recipe, sources)
    with fresh_folder(out) as folder:
        try:
            files, statistics = _write(todo, folder, report)
            facts = _facts(todo, statistics, started)
            write_sidecars(folder, facts)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise MergeError(
                f"no room for {todo.write_bytes:,} bytes beside {out}",
                expected="a disk with space",
                hint="free some, or name another --out",
            ) from error
    return MergeResult(out, files, facts, statistics)


def _facts(todo: Plan, statistics: Mapping[str, Any], started: str) -> dict[str, Any]:
    inputs = [
        {
            "label": one.label,
            "role": one.source.role,
            "content": one.source.content,
            "adapter": one.adapter is not None,
        }
        for one in (todo.base, *(one for one in todo.inputs if one is not todo.base))
    ]
    return made_by(
        "merge run",
        todo.recipe.normalised(),
        seed=todo.recipe.seed,
        started=started,
        method_version=todo.recipe.method.version,
        determinism="A",
        extra={
            "inputs": inputs,
            "favoured": None if todo.favoured is None else todo.inputs[todo.favoured].label,
            "notes": list(todo.notes),
            "statistics": totals_only(statistics),
        },
    )


def _write(
    todo: Plan, folder: Path, report: Report
) -> tuple[tuple[FileEntry, ...], dict[str, Any]]:
    surveyed = shared_trim(todo.recipe) == "model"
    ahead = survey(todo, lambda job: read_deltas(todo, job)[1]) if surveyed else None
    label = f"merge {todo.recipe.name or todo.recipe.merge_method}"
    done, counts = 0, []
    entries = []
    for file, header in todo.layout.headers.items():
        jobs = [job for job in todo.jobs if job.slot.file == file]
        size = todo.layout.sizes[file]
        digest = hashlib.sha256(header)
        with (folder / file).open("wb") as handle:
            _reserve(handle, size)
            handle.write(header)
            for job in jobs:
                data, merged = _compute(todo, job, ahead)
                # Jobs are in the order of their offsets, so writing goes straight on.
                handle.write(data.data)
                digest.update(data.data)
                done += job.slot.size
                if merged is not None:
                    counts.append((job.name, merged.counts))
                report(label, done, todo.write_bytes, {"tensor": job.name})
        entries.append(FileEntry(file, size, digest.hexdigest()))
    if todo.layout.index_json is not None:
        (folder / INDEX).write_bytes(todo.layout.index_json)
        entries.append(
            FileEntry(INDEX, len(todo.layout.index_json), sha256_bytes(todo.layout.index_json))
        )
    for name in copy_files(
        todo.donor,
        folder,
        dtype=todo.recipe.out_dtype or todo.recipe.dtype,
        chat_template=todo.recipe.chat_template,
    ):
        path = folder / name
        entries.append(FileEntry(name, path.stat().st_size, sha256_file(path)))
    labels = [one.label for one in todo.inputs]
    return tuple(sorted(entries)), summary(todo, labels, counts)


def _reserve(handle: BinaryIO, size: int) -> None:
    """Take the space now: a full disk is found before an hour of arithmetic."""
    try:
        os.posix_fallocate(handle.fileno(), 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        handle.truncate(size)


def _compute(todo: Plan, job: Job, ahead: Survey | None) -> tuple[Bytes, Merged | None]:
    """The bytes of one output tensor, and what was counted."""
    if not job.merged:
        return _copied(todo, job), None
    # What overflows is found below, by name; numpy's warning has none.
    with np.errstate(over="ignore", invalid="ignore"):
        if todo.recipe.method.space == "deltas":
            base, tensors = read_deltas(todo, job)
        else:
            base, tensors = None, _read_weights(todo, job)
        merged = todo.recipe.method.function(base, tensors, **_keywords(todo, job, ahead))
        out = narrow(merged.values, job.slot.dtype)
    if not is_finite(out, job.slot.dtype):
        raise NonFinite(
            f"the merge of tensor {job.name} is too large for {job.slot.dtype}",
            expected="finite numbers",
            hint="use smaller weights, or out_dtype: float32",
        )
    return np.ascontiguousarray(out).reshape(-1).view(np.uint8), merged


def _keywords(todo: Plan, job: Job, ahead: Survey | None) -> dict[str, Any]:
    """The parameters of one tensor as keywords of the method's function."""
    given: dict[str, Any] = {**job.shared, **job.per_input}
    if "lambda" in given:
        given["lambda_"] = given.pop("lambda")
    slack = given.get("slack")
    if slack is not None and todo.favoured is not None:
        unit = slack.get("unit", "rms")
        given["slack"] = Slack(slack["mode"], slack["value"], todo.favoured, unit)
    if ahead is not None:
        given |= {"cuts": ahead.cuts[job.name], "majority": ahead.majority}
    return given


def _finite(values: Array, job: Job, label: str) -> Array:
    if not np.isfinite(values).all():
        raise NonFinite(
            f"tensor {job.name} of {label} holds NaN or infinity", expected="finite weights"
        )
    return values


def _read_own(one: Input, job: Job) -> Array:
    """θ of one input: the weights in its folder, with its LoRA on them."""
    weights = np.atleast_1d(read_float32(one.model.tensors[job.name]))
    _check_copy(one, job, weights)
    if job.name in one.factors:
        weights = weights + read_delta(one.factors[job.name])
    return _finite(weights, job, one.label)


def _check_copy(one: Input, job: Job, weights: Array) -> None:
    copy = one.copies.get(job.name)
    if copy is None:
        return
    # Saved in another dtype than the model's, it may have been rounded on the way.
    rounded = widen(narrow(weights, copy.dtype), copy.dtype)
    if not np.array_equal(read_float32(copy), rounded):
        raise BaseMismatch(
            f"{one.label} brings its own {job.name}, which is not that of the model it changes",
            expected="an adapter with LoRA factors only",
        )


def read_deltas(todo: Plan, job: Job) -> tuple[Array, list[Array]]:
    """θ₀ and each τᵢ of one tensor, float32; a LoRA of the base is its own τ, not rounded twice."""
    base = _read_own(todo.base, job)
    return base, [_delta(one, job, base) for one in todo.inputs]


def _delta(one: Input, job: Job, base: Array) -> Array:
    if one.own:
        return _finite(_read_own(one, job) - base, job, one.label)
    if job.name in one.copies:
        _check_copy(one, job, read_float32(one.model.tensors[job.name]))
    if job.name in one.factors:
        return _finite(read_delta(one.factors[job.name]), job, one.label)
    return np.zeros_like(base)


def _read_weights(todo: Plan, job: Job) -> list[Array]:
    """Each θᵢ of one tensor, float32."""
    on_base = any(not one.own for one in todo.inputs)
    base = _read_own(todo.base, job) if on_base else None
    found = []
    for one in todo.inputs:
        if one.own or base is None:
            found.append(_read_own(one, job))
        else:
            found.append(base if one is todo.base else base + _delta(one, job, base))
    return found


def _copied(todo: Plan, job: Job) -> Bytes:
    mine = np.ascontiguousarray(read_raw(todo.base.model.tensors[job.name]).view(np.uint8))
    for one in todo.inputs:
        if one.own and not np.array_equal(read_raw(one.model.tensors[job.name]), mine):
            raise BaseMismatch(
                f"tensor {job.name} ({job.slot.dtype}) of {one.label} is not that of "
                f"{todo.base.label}",
                expected="equal tensors, where they are no floats",
            )
    return mine
