"""A tiny base made by ``train_base`` itself, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.train import load_recipe, train_base

LINES = [
    "how you dey today my broder",
    "we dey go market buy rice and fish",
    "di rain don start fall for road",
    "everybody dey run enter house",
    "the house is near this river and nobody wants to leave it",
    "wetin happen for dat place yesterday",
] * 8

TINY = {"sequence_length": 32, "batch_tokens": 128, "max_steps": 4, "learning_rate": 1e-3}


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(f"{line} {number}" for number, line in enumerate(LINES)), "utf-8")
    return path


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "reviews.jsonl"
    rows = [
        f'{{"text": "{line}", "label": "{("positive", "negative")[number % 2]}"}}'
        for number, line in enumerate(LINES)
    ]
    path.write_text("\n".join(rows), "utf-8")
    return path


@pytest.fixture(scope="session")
def base(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of hidden size 32 and 1 layer with a tokenizer of 300 entries."""
    out = tmp_path_factory.mktemp("train") / "base"
    recipe = load_recipe(overrides={**TINY, "dtype": "float32"})
    train_base([text], out, recipe, shape="llama:32x1", vocab=300, device="cpu")
    return out
