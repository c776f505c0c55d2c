"""An outcome as data, as a table, as Markdown: the same numbers three times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from isogloss.eval import Verdict, VerdictRow
from isogloss.eval.bootstrap import Interval
from isogloss.experiment.run import Outcome, SeedOutcome


class Table(NamedTuple):
    """Rows of text under a header; the first column names variants."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def tables(outcome: Outcome) -> list[Table]:
    """For each seed the test split and, where fewer merges are shown there, the dev split."""
    found = []
    for seed in outcome.seeds:
        if seed.test is not None:
            found.append(_table(outcome, seed, seed.test, outcome.experiment.measure.report_on))
        if seed.dev is not None and (seed.test is None or len(seed.test.rows) < len(seed.dev.rows)):
            found.append(_table(outcome, seed, seed.dev, outcome.experiment.measure.choose_on))
    return found


def _table(outcome: Outcome, seed: SeedOutcome, verdict: Verdict, split: str) -> Table:
    sides = {task.name: task.side for task in outcome.suite.tasks}
    kinds = {task.name: task.kind for task in outcome.suite.tasks}
    names = list(verdict.rows[0].tasks)
    header = (
        "variant",
        *(f"{n} ({sides[n]}, {_unit(kinds[n])})" for n in names),
        "dialect gain %",
        "prestige loss %",
    )
    order = [*seed.versions]
    rows = []
    for row in sorted(verdict.rows, key=lambda r: order.index(r.variant)):
        mark = (
            " *"
            if row.variant == seed.winner and split == outcome.experiment.measure.report_on
            else ""
        )
        cells = [_interval(row.tasks[n]) for n in names]
        gain, loss = row.dialect_gain, row.prestige_loss
        rows.append(
            (
                row.variant + mark,
                *cells,
                "–" if row.role == "reference" else _interval(gain, 100, 1),
                "–" if row.role == "reference" else _interval(loss, 100, 1),
            )
        )
    title = f"seed {seed.seed}, {split} split"
    return Table(title, header, rows, _flags(verdict.rows))


def _unit(kind: str) -> str:
    return "bits per byte ↓" if kind == "perplexity" else "score ↑"


def _interval(interval: Interval, scale: float = 1, digits: int = 3) -> str:
    value, low, high = (f"{scale * x:.{digits}f}" for x in interval)
    return f"{value} [{low}, {high}]"


def _flags(rows: Sequence[VerdictRow]) -> list[str]:
    return [f"{row.variant}: {', '.join(row.flags)}" for row in rows if row.flags]


def verdicts(outcome: Outcome) -> list[str]:
    """A few sentences for each seed."""
    many = len(outcome.seeds) > 1
    return [(f"Seed {s.seed}: " if many else "") + s.why for s in outcome.seeds]


def over_seeds(outcome: Outcome) -> Table | None:
    """Mean and standard deviation over seeds on the reporting split; None for a single seed.

    The chosen merge may be another one for each seed; its row says ``chosen merge``.
    """
    judged = [s for s in outcome.seeds if s.test is not None]
    if len(judged) < 2:
        return None
    figures: dict[str, dict[str, list[float]]] = {}
    for seed in judged:
        assert seed.test is not None
        order = list(seed.versions)
        for row in sorted(seed.test.rows, key=lambda r: order.index(r.variant)):
            names = ["chosen merge"] if row.variant == seed.chosen else []
            if not names or outcome.experiment.measure.table == "all":
                names.append(row.variant)
            for name in names:
                own = figures.setdefault(name, {})
                for task, interval in row.tasks.items():
                    own.setdefault(task, []).append(interval.value)
                own.setdefault("dialect gain %", []).append(100 * row.dialect_gain.value)
                own.setdefault("prestige loss %", []).append(100 * row.prestige_loss.value)
    columns = list(next(iter(figures.values())))
    rows = [
        (name, *(_mean(own.get(column, [])) for column in columns))
        for name, own in figures.items()
        if len(own[columns[0]]) == len(judged)
    ]
    chosen = ", ".join(f"seed {s.seed}: {s.chosen}" for s in judged)
    title = f"{outcome.experiment.measure.report_on} split, mean ± sd over {len(judged)} seeds"
    return Table(title, ("variant", *columns), rows, [f"chosen on dev: {chosen}"])


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"


def as_markdown(outcome: Outcome) -> str:
    """Tables and verdicts as Markdown, for ``docs/results`` and for papers."""
    experiment = outcome.experiment
    parts = [
        f"## {experiment.title or experiment.name}",
        "",
        *(f"- {v}" for v in verdicts(outcome)),
        "",
    ]
    every = tables(outcome)
    overall = over_seeds(outcome)
    for table in ([overall] if overall else []) + every:
        parts += [f"### {table.title[0].upper()}{table.title[1:]}", ""]
        parts.append("| " + " | ".join(table.header) + " |")
        parts.append("|" + " --- |" * len(table.header))
        parts += ["| " + " | ".join(row) + " |" for row in table.rows]
        parts += ["", *(f"Note: {note}." for note in table.notes), ""]
    parts.append(
        f"Intervals are 95 %, paired bootstrap over items, {experiment.choose.draws} draws; gain "
        f"and loss are relative to {experiment.measure.reference}; margin "
        f"{experiment.choose.margin:g}; * marks the winner."
    )
    return "\n".join(parts) + "\n"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The whole outcome as JSON data."""
    return {
        "experiment": outcome.experiment.name,
        "suite": outcome.suite.name,
        "margin": outcome.experiment.choose.margin,
        "seeds": [
            {
                "seed": seed.seed,
                "versions": {name: version.ref for name, version in seed.versions.items()},
                "chosen": seed.chosen,
                "winner": seed.winner,
                "why": seed.why,
                "dev": _rows(seed.dev),
                "test": _rows(seed.test),
            }
            for seed in outcome.seeds
        ],
    }


def _rows(verdict: Verdict | None) -> list[dict[str, Any]]:
    if verdict is None:
        return []
    return [
        {
            "variant": row.variant,
            "role": row.role,
            "dialect_gain": row.dialect_gain._asdict(),
            "prestige_loss": row.prestige_loss._asdict(),
            "task_gain": row.task_gain._asdict() if row.task_gain else None,
            "tasks": {name: interval._asdict() for name, interval in row.tasks.items()},
            "p": row.p,
            "holm_p": row.holm_p,
            "eligible": row.eligible,
            "reasons": row.reasons,
            "dominated_by": row.dominated_by,
            "flags": row.flags,
        }
        for row in verdict.rows
    ]
