"""``isogloss demo``: the whole story on a small built-in corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isogloss.cli import out


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the demo lives; the user's own registry is never touched.")
    ] = Path("isogloss-demo"),
    json: out.Json = False,
) -> None:
    """Train, merge and measure on a small built-in corpus of French and Québec French.

    Needs no network; some minutes on two cores. Run again, it skips what is done.

    \b
    isogloss demo
    """
    from isogloss.cli.experiment import present
    from isogloss.experiment.demo import run_demo

    out.note(f"the demo lives in {folder}")
    with out.bars() as report:
        outcome = run_demo(folder, report=report, note=out.note)
    present(outcome, None, json=json)
    if not json:
        first = outcome.seeds[0]
        ref = first.versions[first.chosen or "base"].name
        out.line("")
        out.line(f"Next, in {folder}:")
        program = out.command()
        out.line(f"  {program} registry ls")
        out.line(f"  {program} registry log {ref}")
        out.line(f"  {program} publish run {ref} --repo me/quebec-demo --dry-run")
