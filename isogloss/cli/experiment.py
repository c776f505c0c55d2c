"""``isogloss experiment``: one YAML file from corpora to a chosen merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.cli import out

if TYPE_CHECKING:
    from isogloss.experiment import Outcome

app = out.group("One YAML file from corpora to a chosen, measured merge.")


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The experiment file.")],
    base: Annotated[
        str | None, typer.Option(help="Use this model in place of the file's base.")
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, max=2**32 - 1, help="Only these seeds; may be repeated."),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="The same steps at a size of seconds.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--out", help="Also write the report as Markdown to this file.")
    ] = None,
    json: out.Json = False,
) -> None:
    """Train, merge, measure, choose on dev, report on test. Finished steps are skipped.

    The registry is the one that every command finds; without one, ./.isogloss is made.

    \b
    export ISOGLOSS_DATA=~/corpora
    isogloss experiment run experiments/naija.yaml --out naija.md
    isogloss experiment run experiments/naija.yaml --smoke
    isogloss experiment run mine.yaml --base org/model --seed 0
    """
    from isogloss.errors import UsageError
    from isogloss.experiment import load_experiment, run_experiment
    from isogloss.registry import Registry
    from isogloss.settings import home_here

    experiment = load_experiment(file)
    root = file.absolute().parent
    if to is not None and to.is_dir():
        raise UsageError(f"{to} is a folder", expected="--out FILE")
    place = home_here()
    if not place.exists():
        out.note(f"registry in {place}")
    with Registry.init(place) as registry, out.bars() as report:
        if smoke:
            from isogloss.experiment.smoke import shrink

            experiment = shrink(experiment, root, registry.root / "smoke" / experiment.name)
        outcome = run_experiment(
            experiment, registry, root=root, base=base, seeds=seed, report=report, note=out.note
        )
    present(outcome, to, json=json)


def present(outcome: Outcome, to: Path | None, *, json: bool) -> None:
    """Print an outcome, and write its Markdown where that is asked."""
    from isogloss.experiment import as_json, as_markdown
    from isogloss.files import write_atomic

    if to is not None:
        write_atomic(to, as_markdown(outcome).encode())
    out.show(as_json(outcome), lambda: page(outcome), json=json)


def page(outcome: Outcome) -> Any:
    """Tables, their notes, and the verdicts."""
    from rich.console import Group

    from isogloss.experiment.report import over_seeds, tables, verdicts

    parts: list[Any] = []
    overall = over_seeds(outcome)
    for table in [*tables(outcome), *([overall] if overall else [])]:
        parts.append(out.table(table.header, table.rows, title=table.title))
        parts += [f"note: {note}" for note in table.notes]
    return Group(*parts, "", *verdicts(outcome))
