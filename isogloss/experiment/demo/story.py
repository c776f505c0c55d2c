"""The demo: corpus and experiment file into a folder with a registry of its own, then the run."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from isogloss.experiment.demo.corpus import write_corpus
from isogloss.experiment.run import Outcome, run_experiment
from isogloss.experiment.spec import load_experiment
from isogloss.files import write_atomic
from isogloss.progress import Report, silent
from isogloss.registry import Registry

FILE = "demo.yaml"


def run_demo(
    folder: Path, *, report: Report = silent, note: Callable[[str], None] = lambda text: None
) -> Outcome:
    """Write the demo's corpus and experiment file into ``folder`` and run it there.

    The experiment file is written once: what a person changed in it stays. Everything that was
    done before is skipped.

    Raises:
        IsoglossError: ``folder`` can't be used, or the changed file is wrong.
    """
    write_corpus(folder / "corpus")
    file = folder / FILE
    if not file.exists():
        text = (resources.files("isogloss.experiment.demo") / FILE).read_bytes()
        write_atomic(file, text)
    with Registry.init(folder.absolute() / ".isogloss") as registry:
        return run_experiment(
            load_experiment(file), registry, root=folder.absolute(), report=report, note=note
        )
