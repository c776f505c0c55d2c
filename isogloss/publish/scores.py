"""Stored measurements of a version, beside those of what it has to be compared with.

A :class:`Board` is one suite on one split: the version, its reference (the base at the bottom of
its chain of bases), its ancestors, and every other version of the same base that was measured on
the very same items. Judgements are made by ``isogloss.eval`` from the scores of single items;
no model is run here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from isogloss.errors import UsageError
from isogloss.eval import (
    TaskResult,
    Verdict,
    VerdictRow,
    compare,
    items_from_jsonl,
    judge,
)
from isogloss.eval.bootstrap import Interval
from isogloss.eval.comparison import Comparison
from isogloss.publish.lineage import base_chain, sources
from isogloss.registry import Registry
from isogloss.registry.records import Evaluation, Version

MARGIN = 0.02
"""The prestige loss whose upper bound a publication stays below (``docs/architecture.md``)."""
TEST = "test"
"""The split that gates are computed on."""

Results = dict[str, TaskResult]
"""Task name -> result."""


class Board(NamedTuple):
    """One suite on one split."""

    suite: str
    split: str
    version: str
    """``name:number`` of what is published."""
    reference: str | None
    """None where it has no base, or the base was not measured on these items."""
    results: dict[str, Results]
    """The version first, then its reference, its ancestors, and the others that can be compared;
    each by ``name:number``."""
    kin: tuple[str, ...]
    """Of ``results``: the version's ancestors that are not its reference."""
    baselines: tuple[str, ...]
    """Of ``results``: neither kin nor merges, so trained another way on the same base."""
    heirs: tuple[str, ...]
    """Of ``results``: made from the version itself, so nothing that it has to beat."""
    aside: tuple[str, ...]
    """Ancestors that were measured on other items, or by another protocol."""
    verdict: Verdict | None = None
    """The version against all others; None where there is no reference or a side is missing:
    that is a refusal, not an error."""
    beside: Comparison | None = None
    """The version beside its reference, task by task; None where there is no reference."""

    @property
    def own(self) -> Results:
        """The version's results."""
        return self.results[self.version]

    @property
    def shown(self) -> tuple[str, ...]:
        """What a table for readers holds: reference, ancestors, baselines, the version last."""
        first = (self.reference,) if self.reference else ()
        return (*first, *self.kin, *self.baselines, self.version)

    def has_both_sides(self) -> bool:
        """Whether a dialect and a prestige task were measured."""
        return {"dialect", "prestige"} <= {result.side for result in self.own.values()}


def boards(registry: Registry, version: Version) -> list[Board]:
    """One board for each suite and split that ``version`` was measured on; test splits first."""
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in registry.evaluations(version):
        groups.setdefault((evaluation.suite, evaluation.split), []).append(evaluation)
    order = sorted(groups, key=lambda key: (key[1] != TEST, key))
    return [_board(registry, version, suite, split) for suite, split in order]


def _board(registry: Registry, version: Version, suite: str, split: str) -> Board:
    measured = _measured(registry, registry.evaluations(suite=suite, split=split))
    versions = {record: registry.by_record(record) for record in measured}
    own = measured[version.record]
    chain = base_chain(registry, version)
    ancestors = [s.version for s in sources(registry, version) if s.version is not None]
    ancestors = [a for a in ancestors if a.record in measured]
    fit = {record: _same_items(own, results) for record, results in measured.items()}
    bases = [base for base in reversed(chain) if base.record in measured and fit[base.record]]
    reference = bases[0] if bases else None
    kin = [a for a in ancestors if fit[a.record] and a != reference]
    taken = {version.record, *(v.record for v in ancestors)}
    root = chain[-1].record if chain else None
    others = [
        other
        for record, other in versions.items()
        if other is not None and record not in taken and fit[record]
        if root is not None and root in {v.record for v in base_chain(registry, other)}
    ]
    listed = [version, *([reference] if reference else []), *kin, *others]
    board = Board(
        suite=suite,
        split=split,
        version=version.ref,
        reference=reference.ref if reference else None,
        results={v.ref: {t: measured[v.record][t] for t in own} for v in listed},
        kin=tuple(v.ref for v in kin),
        baselines=tuple(v.ref for v in others if v.role not in ("merged", "dialect")),
        heirs=tuple(
            v.ref for v in others if version.record in {a.record for a in registry.ancestors(v)}
        ),
        aside=tuple(a.ref for a in ancestors if not fit[a.record]),
    )
    return board._replace(verdict=_judged(board), beside=_beside(board))


def _measured(registry: Registry, evaluations: Iterable[Evaluation]) -> dict[str, Results]:
    """Record digest -> task -> result, the newest of each."""
    newest: dict[tuple[str, str], Evaluation] = {}
    for evaluation in sorted(evaluations, key=lambda e: e.created_at):
        newest[evaluation.version, evaluation.task] = evaluation
    found: dict[str, Results] = {}
    for (version, task), evaluation in newest.items():
        found.setdefault(version, {})[task] = result_of(registry, evaluation)
    return found


def result_of(registry: Registry, evaluation: Evaluation) -> TaskResult:
    """A stored evaluation with its items, as the eval wing made it.

    Raises:
        IntegrityError: the blob of items is missing or isn't what its digest says.
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
        metrics=dict(evaluation.metrics),
        flags=evaluation.flags,
        items=items_from_jsonl(registry.read_blob(evaluation.items)),
    )


def _same_items(own: Results, other: Results) -> bool:
    """Whether ``other`` holds every task of ``own``, measured so that the two can be compared."""
    return all(task in other and _key(own[task]) == _key(other[task]) for task in own)


def _key(result: TaskResult) -> tuple[object, ...]:
    items = tuple((item.get("id"), item.get("sha"), item.get("gold")) for item in result.items)
    return (result.protocol, result.task_digest, result.metric, items)


def _judged(board: Board) -> Verdict | None:
    if board.reference is None or not board.has_both_sides():
        return None
    rivals = [name for name in board.results if name not in (board.version, board.reference)]
    return judge(
        board.results,
        reference=board.reference,
        candidates=[board.version],
        rivals=rivals,
        margin=MARGIN,
    )


def dominators(board: Board, row: VerdictRow) -> list[str]:
    """What is no worse than the version on both counts and better on one, its heirs left out.

    A merge may well be better than its parents; that doesn't take anything from them.
    """
    return [name for name in row.dominated_by if name not in board.heirs]


def _beside(board: Board) -> Comparison | None:
    if board.reference is None:
        return None
    reference = board.results[board.reference]
    return compare(reference, board.own, names=(board.reference, board.version))


def intervals(board: Board, names: Sequence[str]) -> Mapping[str, dict[str, Interval | None]]:
    """The metric of each task with its interval, for each of ``names``; None where it can't be."""
    judged = {row.variant: row.tasks for row in board.verdict.rows} if board.verdict else {}
    found: dict[str, dict[str, Interval | None]] = {}
    for name in names:
        results = board.results[name]
        found[name] = dict.fromkeys(results)
        with contextlib.suppress(UsageError):  # no bootstrap of this metric; its value is shown
            own = judged.get(name)
            rows = compare(results, results, names=(name, name)).rows if own is None else []
            found[name].update(own or {row.task: row.a for row in rows})
    return found
