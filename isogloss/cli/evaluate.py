"""``isogloss eval``: what the dialect gained and the prestige variety lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.cli import out
from isogloss.cli.registry import opened

if TYPE_CHECKING:
    from isogloss.eval import Suite

app = out.group("Measure variants on a suite, and compare them on the same items.")

SuiteName = Annotated[
    str, typer.Option(help="A built-in suite (isogloss eval suites) or a YAML file.")
]
Split = Annotated[str, typer.Option(help="dev to choose, test to report.")]
Fill = Annotated[
    list[str] | None,
    typer.Option(help="BLANK=FILE for a suite with blanks, such as dialect-gap; may be repeated."),
]


@app.command()
def run(
    refs: Annotated[list[str], typer.Argument(help="Models, adapters, model+lora; paths too.")],
    suite: SuiteName,
    split: Split = "dev",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    batch_tokens: Annotated[int, typer.Option(help="Tokens in one forward pass.")] = 8192,
    fill: Fill = None,
    json: out.Json = False,
) -> None:
    """Measure; every item's score is stored, and what was measured before is not measured again.

    \b
    isogloss eval run base pcm-cpt pcm-sentiment --suite naija
    isogloss eval run pcm-cpt:3 --suite my-suite.yaml --split test --json
    isogloss eval run base pcm-cpt --suite dialect-gap --split test \\
        --fill dialect=naija.txt --fill prestige=english.txt
    """
    from isogloss.steps import EvaluateSpec, evaluate_step, resolve

    spec = EvaluateSpec(
        suite=_suite(suite, fill), split=split, dtype=dtype, batch_tokens=batch_tokens
    )
    with opened() as registry, out.bars() as report:
        targets = [resolve(registry, ref, report=report) for ref in refs]
        found = evaluate_step(registry, targets, spec, report=report)
    header = ("ref", "task", "side", "metric", "value", "n", "flags")
    rows = [
        (
            e.ref,
            e.task,
            e.side,
            e.metric,
            f"{e.metrics.get(e.metric, e.error):.4f}",
            str(e.n),
            " ".join(e.flags),
        )
        for e in found
    ]
    data = [e.model_dump(mode="json") for e in found]
    out.show(data, lambda: out.table(header, rows, title=f"{suite}, {split}"), json=json)


def _suite(name: str, fill: list[str] | None) -> Suite:
    from isogloss.errors import UsageError
    from isogloss.eval import load_suite

    files: dict[str, list[str | Path]] = {}
    for pair in fill or []:
        blank, equals, file = pair.partition("=")
        if not equals or not file:
            raise UsageError(f"--fill {pair!r}", expected="BLANK=FILE, as dialect=naija.txt")
        files.setdefault(blank, []).append(file)
    return load_suite(name, fill=files)


@app.command()
def compare(
    refs: Annotated[list[str], typer.Argument(help="The reference first, then its rivals.")],
    suite: SuiteName,
    split: Split = "dev",
    margin: Annotated[float, typer.Option(help="Largest prestige loss of a winner.")] = 0.02,
    rival: Annotated[
        list[str] | None, typer.Option(help="Compared too, but can't win; may be repeated.")
    ] = None,
    fill: Fill = None,
    json: out.Json = False,
) -> None:
    """Compare variants with the first one: gain, loss, intervals, and the winner if there is one.

    \b
    isogloss eval compare base merge-a merge-b --rival pcm-cpt --rival sentiment --suite naija
    """
    from isogloss.errors import UsageError
    from isogloss.eval import judge
    from isogloss.steps import EvaluateSpec, evaluate_step, resolve
    from isogloss.steps.evaluate import results

    if len(refs) < 2:
        raise UsageError("one variant", expected="a reference and at least one to compare with it")
    spec = EvaluateSpec(suite=_suite(suite, fill), split=split)
    rivals = rival or []
    with opened() as registry, out.bars() as report:
        targets = [resolve(registry, ref, report=report) for ref in [*refs, *rivals]]
        if all(target.ref == targets[0].ref for target in targets[: len(refs)]):
            raise UsageError(
                f"{targets[0].ref} compared with itself", expected="another variant to compare"
            )
        found = evaluate_step(registry, targets, spec, report=report)
        names = [t.ref for t in targets]
        scores = results(registry, found, names)
    verdict = judge(
        scores,
        reference=names[0],
        candidates=names[1 : len(refs)],
        rivals=names[len(refs) :],
        margin=margin,
    )
    tasks = list(verdict.rows[0].tasks)
    rows = [
        (
            row.variant,
            *(str(row.tasks[task]) for task in tasks),
            "–" if row.role == "reference" else str(row.dialect_gain),
            "–" if row.role == "reference" else str(row.prestige_loss),
            "wins" if row.variant == verdict.winner else row.role,
        )
        for row in verdict.rows
    ]

    def text() -> Any:
        from rich.console import Group

        header = ("variant", *tasks, "dialect gain", "prestige loss", "verdict")
        flags = [f"note: {r.variant}: {', '.join(r.flags)}" for r in verdict.rows if r.flags]
        return Group(out.table(header, rows), *flags, verdict.why)

    data = {
        "winner": verdict.winner,
        "why": verdict.why,
        "margin": verdict.margin,
        "rows": [
            {
                **row._asdict(),
                "dialect_gain": row.dialect_gain._asdict(),
                "prestige_loss": row.prestige_loss._asdict(),
                "task_gain": row.task_gain._asdict() if row.task_gain else None,
                "tasks": {name: i._asdict() for name, i in row.tasks.items()},
            }
            for row in verdict.rows
        ],
    }
    out.show(data, text, json=json)


@app.command()
def suites(json: out.Json = False) -> None:
    """List the suites that come with isogloss, and what is in them."""
    from isogloss.eval import load_suite
    from isogloss.eval import suites as names

    found = [load_suite(name) for name in names()]
    rows = [
        (suite.name, task.name, task.side, task.kind, task.language or "–", " ".join(task.data))
        for suite in found
        for task in suite.tasks
    ]
    header = ("suite", "task", "side", "kind", "language", "splits")
    data = [suite.model_dump(mode="json", exclude_none=True) for suite in found]
    out.show(data, lambda: out.table(header, rows), json=json)
