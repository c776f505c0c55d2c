"""A whole experiment on a few lines of text, run once a session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from isogloss.experiment import Outcome, load_experiment, run_experiment
from isogloss.registry import Registry

TINY = (
    "{sequence_length: 32, batch_tokens: 128, max_steps: 4, learning_rate: 3.0e-3, dtype: float32"
)

YAML = f"""
name: tiny
base: {{shape: "llama:32x1", vocab: 300, corpus: [english], recipe: {TINY}}}}}
corpora:
  english: {{files: [english.txt], language: en, licence: cc0-1.0}}
  naija: {{files: [naija.txt], language: pcm, glottocode: nige1257, prestige: en, consent: given}}
  reviews: {{files: [reviews.jsonl], language: en}}
train:
  - name: dialect
    kind: cpt
    data: [naija]
    replay: [english]
    recipe: {TINY}, rank: 2, replay_share: 0.2}}
  - {{name: task, kind: sft, data: [reviews], full: true, recipe: {TINY}}}}}
  - {{name: ct-then-sft, kind: sft, base: dialect, data: [reviews], full: true, recipe: {TINY}}}}}
merges:
  - name: ta-{{d}}
    grid: {{d: [0.5, 1.0]}}
    recipe:
      merge_method: task_arithmetic
      base_model: base
      models:
        - {{model: dialect, parameters: {{weight: "{{d}}"}}}}
        - {{model: task, parameters: {{weight: 1.0}}}}
  - name: ties-slack
    recipe:
      merge_method: ties
      base_model: base
      models:
        - {{model: dialect, parameters: {{weight: 1.0, density: 0.5}}}}
        - {{model: task, parameters: {{weight: 1.0, density: 0.5}}}}
      slack: 0.5
measure:
  suite:
    name: tiny
    tasks:
      - name: naija-bpb
        kind: perplexity
        side: dialect
        data: {{dev: naija.txt, test: naija.txt}}
      - name: english-bpb
        kind: perplexity
        side: prestige
        data: {{dev: english.txt, test: english.txt}}
      - name: mood
        kind: classification
        side: task
        data: {{dev: reviews.jsonl, test: reviews.jsonl}}
        label: label
        labels: {{positive: positive, negative: negative}}
        prompt: "{{text}}\\nSentiment:"
choose: {{margin: 0.02, draws: 200}}
seeds: [0, 1]
"""


class Story(NamedTuple):
    """A finished experiment."""

    folder: Path
    registry: Registry
    outcome: Outcome
    notes: list[str]


def write_story(folder: Path) -> Path:
    """The experiment file and its corpora."""
    english = ["the house is near the river", "nobody wants to leave it", "rain falls on the road"]
    naija = ["how you dey today", "we dey go market buy rice", "di rain don start fall for road"]
    (folder / "english.txt").write_text("\n".join(f"{t} {i}" for i in range(12) for t in english))
    (folder / "naija.txt").write_text("\n".join(f"{t} {i}" for i in range(12) for t in naija))
    rows = [
        json.dumps({"text": f"{t} {i}", "label": ("positive", "negative")[i % 2]})
        for i in range(8)
        for t in english
    ]
    (folder / "reviews.jsonl").write_text("\n".join(rows))
    (folder / "tiny.yaml").write_text(YAML)
    return folder / "tiny.yaml"


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    file = write_story(folder)
    notes: list[str] = []
    with Registry.init(folder / ".isogloss") as registry:
        outcome = run_experiment(
            load_experiment(file), registry, root=folder, device="cpu", note=notes.append
        )
        yield Story(folder, registry, outcome, notes)
