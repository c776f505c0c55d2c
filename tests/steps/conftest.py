"""A registry with a tiny base, a second base and text; made once, copied for each test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isogloss.registry import Registry
from isogloss.steps import TrainSpec, train_step
from isogloss.train import TrainRecipe, load_recipe

SETTINGS = {
    "sequence_length": 32,
    "batch_tokens": 128,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "dtype": "float32",
    "rank": 2,
}


def recipe(**overrides: Any) -> TrainRecipe:
    """A recipe of two steps."""
    return load_recipe(overrides={**SETTINGS, **overrides})


def spec(verb: str = "cpt", name: str = "cpt", **more: Any) -> TrainSpec:
    """A training step on the corpus ``text``."""
    given: dict[str, Any] = {"corpora": ("text",), "recipe": recipe(), **more}
    if verb != "base":
        given.setdefault("base", "base")
    return TrainSpec.model_validate({"verb": verb, "name": name, **given})


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    lines = [f"we dey go market buy rice number {i}" for i in range(40)]
    (folder / "text.txt").write_text("\n".join(lines))
    (folder / "english.txt").write_text("\n".join(f"the rain falls on road {i}" for i in range(40)))
    rows = [json.dumps({"question": line, "answer": "fine"}) for line in lines]
    (folder / "qa.jsonl").write_text("\n".join(rows))
    with Registry.init(folder / ".isogloss") as registry:
        for name, seed in (("base", 0), ("other", 1)):
            made = spec(
                "base",
                name,
                corpora=(str(folder / "text.txt"),),
                shape="llama:32x1",
                vocab=300,
                recipe=recipe(seed=seed),
            )
            train_step(registry, made, device="cpu")
        train_step(registry, spec(), device="cpu")
    return folder


@pytest.fixture
def place(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test."""
    folder = tmp_path / "place"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def registry(place: Path) -> Iterator[Registry]:
    """Its registry: ``text:1``, ``base:1``, ``other:1`` and the adapter ``cpt:1`` on ``base``."""
    with Registry.open(place / ".isogloss") as opened:
        yield opened
