"""A small family in a registry: corpora, base, dialect adapter, task model, and their merge.

Weights are a few numbers in real safetensors files; measurements are made up item by item, so
that a test can say what was gained and lost. Nothing is trained.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from isogloss.eval import items_to_jsonl
from isogloss.files import digest_of
from isogloss.registry import CorpusFacts, Draft, Evaluation, Language, Registry, Version

ITEMS = 60
PCM = Language(tag="pcm", glottocode="nige1257", prestige="en")
ENGLISH = Language(tag="en")
TASKS: dict[str, tuple[str, str, str]] = {
    "pcm-bpb": ("dialect", "perplexity", "bits_per_byte"),
    "en-bpb": ("prestige", "perplexity", "bits_per_byte"),
    "en-mood": ("task", "classification", "accuracy"),
}
"""Task -> side, kind, metric."""
WINS = {"pcm-bpb": 2.5, "en-bpb": 2.705, "en-mood": 0.7}
"""Bits per byte and accuracy of a merge that is a winner over :data:`BASE`."""
BASE = {"pcm-bpb": 3.2, "en-bpb": 2.7, "en-mood": 0.5}
ADAPTER = {"pcm-bpb": 2.6, "en-bpb": 2.9, "en-mood": 0.5}
TASK = {"pcm-bpb": 3.3, "en-bpb": 2.8, "en-mood": 0.72}


def made_by(verb: str, recipe: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """A ``made_by`` that is the same on every machine."""
    return {
        "verb": verb,
        "recipe": dict(recipe),
        "seed": seed,
        "method_version": 1,
        "determinism": "A",
        "started": "2026-01-01T00:00:00.000000+00:00",
        "ended": "2026-01-01T00:01:00.000000+00:00",
        "code": {"version": "0.1.0", "commit": "a" * 40, "dirty": False},
        "packages": {"python": "3.12.0", "torch": "2.13.0"},
        "hardware": {"machine": "x86_64", "system": "Linux", "cpus": 2, "gpu": None},
        "extra": {},
    }


def model_folder(folder: Path, value: float) -> Path:
    """A model folder in the form that transformers writes, with two tensors."""
    folder.mkdir(parents=True)
    tensors = {
        "lm_head.weight": np.full((16, 8), value, dtype=np.float32),
        "model.embed_tokens.weight": np.full((16, 8), value / 2, dtype=np.float32),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 16}
    config |= {"hidden_size": 8, "num_hidden_layers": 1, "_name_or_path": "/home/ada/models/base"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    return folder


def adapter_folder(folder: Path, base: str) -> Path:
    """An adapter folder in the form that PEFT writes; ``base`` is what its config names."""
    folder.mkdir(parents=True)
    where = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{where}.lora_A.weight": np.ones((2, 8), dtype=np.float32),
        f"{where}.lora_B.weight": np.ones((8, 2), dtype=np.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    config |= {"base_model_name_or_path": base, "task_type": "CAUSAL_LM", "revision": None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


class Family:
    """The family in a registry below ``folder``; every member is an attribute."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "registry"
        self.suite, self.clock = "naija", 0
        """The suite and the hour of the next measurements."""
        self.registry = Registry.init(self.home)
        self.pcm_text = self.corpus("pcm-text", PCM, "cc-by-sa-4.0", "How you dey?\nI dey fine.\n")
        self.en_text = self.corpus("en-text", ENGLISH, "cc-by-4.0", "How are you?\nI am fine.\n")
        self.base = self.model(
            "en-base", 1.0, "base", [(self.en_text, "corpus", None)], "train base"
        )
        source = adapter_folder(folder / "adapter", "/home/ada/models/base")
        self.adapter = self.registry.add(
            source,
            Draft(
                name="pcm-cpt",
                kind="adapter",
                role="dialect",
                languages=(PCM,),
                parents=(
                    self.registry.parent_edge(self.base, "base"),
                    self.registry.parent_edge(self.pcm_text, "corpus"),
                ),
                made_by=made_by("train cpt", {"rank": 2, "learning_rate": 0.005}),
            ),
        )
        edges = [(self.base, "base", None), (self.en_text, "data", None)]
        self.task = self.model("en-mood", 2.0, "task", edges, "train sft")
        self.merge = self.merged("pcm-mood", 3.0)

    def corpus(self, name: str, language: Language, licence: str | None, text: str) -> Version:
        path = self.folder / f"{name}.txt"
        path.write_text(text)
        facts = CorpusFacts(
            documents=0,
            bytes=0,
            source="Collected | for <this> test",
            consent="speakers agreed to open release",
            contact="corpus@example.org",
        )
        return self.registry.add(
            path,
            Draft(name=name, kind="corpus", languages=(language,), licence=licence, corpus=facts),
        )

    def model(
        self,
        name: str,
        value: float,
        role: Any,
        edges: Sequence[tuple[Version, Any, float | None]],
        verb: str,
        *,
        languages: tuple[Language, ...] = (ENGLISH,),
        licence: str | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> Version:
        """A model folder registered with its parents."""
        number = len(list(self.folder.glob(f"{name}-*")))
        source = model_folder(self.folder / f"{name}-{number}", value)
        parents = tuple(self.registry.parent_edge(v, edge, weight) for v, edge, weight in edges)
        return self.registry.add(
            source,
            Draft(
                name=name,
                kind="model",
                role=role,
                languages=languages,
                licence=licence,
                parents=parents,
                made_by=made_by(verb, recipe or {"steps": 10}),
            ),
        )

    def merged(self, name: str, value: float) -> Version:
        """A merge of adapter and task model on the base."""
        edges = [
            (self.base, "base", None),
            (self.adapter, "merge_input", 0.7),
            (self.task, "merge_input", 0.3),
        ]
        recipe = {"merge_method": "ties", "slack": 0.5, "note": "```\nfence"}
        return self.model(
            name, value, "merged", edges, "merge run", languages=(PCM,), recipe=recipe
        )

    def measure_all(self, merge: Mapping[str, float] = WINS) -> None:
        """Base, adapter, task model and merge on the test split."""
        for version, scores in (
            (self.base, BASE),
            (self.adapter, ADAPTER),
            (self.task, TASK),
            (self.merge, merge),
        ):
            self.measure(version, scores)

    def measure(
        self,
        version: Version,
        scores: Mapping[str, float],
        *,
        split: str = "test",
        flags: Mapping[str, tuple[str, ...]] | None = None,
        texts: str = "a",
    ) -> None:
        """Store a measurement for each task; ``texts`` names the items, so others can't compare."""
        for order, (task, value) in enumerate(scores.items()):
            side, kind, metric = TASKS[task]
            items = items_of(kind, task, value, texts)
            exact = sum(i["correct"] for i in items) / ITEMS if kind == "classification" else value
            self.registry.record_evaluation(
                Evaluation(
                    version=version.record,
                    ref=version.ref,
                    suite=self.suite,
                    task=task,
                    task_digest=digest_of(task),
                    side=side,
                    split=split,
                    protocol="test-1",
                    kind=kind,
                    metric=metric,
                    error=1 - exact if kind == "classification" else value,
                    n=ITEMS,
                    metrics={metric: exact},
                    flags=(flags or {}).get(task, ()),
                    items=self.registry.put_blob(items_to_jsonl(items)),
                    step=digest_of([version.record, self.suite, task, split, value, texts]),
                    created_at=f"2026-01-02T{self.clock:02d}:00:{order:02d}.000000+00:00",
                )
            )


def items_of(kind: str, task: str, value: float, texts: str) -> list[dict[str, Any]]:
    """Scored items whose corpus-level score is ``value``; noise is common to all variants."""
    noise = random.Random(task)
    items: list[dict[str, Any]] = []
    for i in range(ITEMS):
        sha = digest_of([task, texts, i])[:12]
        if kind == "perplexity":
            size = 20 + i % 7
            nats = size * math.log(2) * value * (1 + 0.02 * (-1) ** i)
            items.append({"id": str(i), "sha": sha, "nats": nats, "bytes": size, "tokens": 9})
        else:
            correct = noise.random() < value
            gold = "good" if i % 2 else "bad"
            pred = gold if correct else "bad" if gold == "good" else "good"
            ll = {"good": -1.0 if pred == "good" else -2.0, "bad": -1.5}
            items.append(
                {"id": str(i), "sha": sha, "gold": gold, "pred": pred, "ll": ll, "correct": correct}
            )
    return items
