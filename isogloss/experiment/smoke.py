"""An experiment shrunk to seconds: the same steps, corpora cut short, bases tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isogloss.experiment.spec import BaseItem, Experiment, expand_merges
from isogloss.files import sha256_bytes, write_atomic
from isogloss.settings import expand
from isogloss.text import read_rows

ROWS = 300
"""Rows of each corpus file that are kept, evenly spread."""
ITEMS = 40
"""Items of each task's file that are measured, evenly spread: files may be sorted by label."""
_TINY = {"max_steps": 6, "sequence_length": 64, "batch_tokens": 512, "micro_tokens": None}


def shrink(experiment: Experiment, root: Path, folder: Path) -> Experiment:
    """A copy of ``experiment`` named ``<name>-smoke`` whose corpora are cut copies in ``folder``.

    One seed, three merges at most, six training steps each; a base from scratch becomes a Llama
    of hidden size 32 and 2 layers.
    """
    corpora = {
        name: item.model_copy(
            update={"files": [_cut(f, root, folder / "corpora", ROWS) for f in item.files]}
        )
        for name, item in experiment.corpora.items()
    }
    base = experiment.base
    if isinstance(base, BaseItem):
        base = base.model_copy(
            update={"shape": "llama:32x2", "vocab": 400, "recipe": {**base.recipe, **_TINY}}
        )
    suite: dict[str, Any] = experiment.suite(root).model_dump(mode="json", exclude_none=True)
    for task in suite["tasks"]:
        for split, files in task["data"].items():
            named = [files] if isinstance(files, str) else files
            task["data"][split] = [_cut(file, root, folder / "suite", ITEMS) for file in named]
    return experiment.model_copy(
        update={
            "name": f"{experiment.name}-smoke",
            "base": base,
            "corpora": corpora,
            "train": [
                item.model_copy(update={"recipe": {**item.recipe, **_TINY}})
                for item in experiment.train
            ],
            "merges": expand_merges(experiment.merges)[:3],
            "measure": experiment.measure.model_copy(update={"suite": suite}),
            "choose": experiment.choose.model_copy(update={"draws": 200}),
            "seeds": experiment.seeds[:1],
        }
    )


def _cut(file: str, root: Path, folder: Path, count: int) -> str:
    source = root / expand(file)
    place = sha256_bytes(str(source.absolute()).encode())[:8]
    target = folder / f"{source.parent.name}-{source.stem}-{place}.jsonl"
    rows = list(read_rows(source))
    rows = rows[:: max(1, len(rows) // count)][:count]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(target, lines.encode())
    return str(target)
