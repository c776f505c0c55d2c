"""What a reader of a card types: to load the thing, and to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.publish.front import is_causal
from isogloss.publish.lineage import Source
from isogloss.publish.payload import Payload
from isogloss.registry import Version
from isogloss.registry.records import HubSource


def loading(
    version: Version,
    lineage: Sequence[Source],
    repo: str,
    base: HubSource | None,
    files: Payload,
) -> str:
    """Python that loads it; an adapter's base is pinned to the commit it was trained on."""
    auto = "AutoModelForCausalLM" if is_causal(version, lineage) else "AutoModel"
    if version.kind == "model":
        return (
            f"from transformers import {auto}, AutoTokenizer\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained("{repo}")\n'
            f'model = {auto}.from_pretrained("{repo}")'
        )
    own_tokenizer = any("tokenizer" in upload.entry.path for upload in files.files)
    where = f'"{base.repo}", revision="{base.commit}"' if base else '"BASE"'
    tokenizer = f'"{repo}"' if own_tokenizer else where
    return (
        f"from peft import PeftModel\n"
        f"from transformers import {auto}, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({tokenizer})\n"
        f"base = {auto}.from_pretrained({where})\n"
        f'model = PeftModel.from_pretrained(base, "{repo}")'
    )


def reproduction(version: Version, lineage: Sequence[Source]) -> str:
    """The command that makes it again, in a registry that holds its parents."""
    verb = str(version.made_by.get("verb", ""))
    if verb.startswith("merge"):
        return f"isogloss merge run recipe.yaml --name {version.name}"
    if verb.startswith("train"):
        recipe = version.made_by.get("recipe", {})
        words = ["isogloss", *verb.split(), *_inputs(lineage), "--name", version.name]
        if verb == "train base":
            words += [
                w
                for key in ("shape", "vocab")
                if key in recipe
                for w in (f"--{key}", str(recipe[key]))
            ]
        settings = training_settings(recipe)
        return " \\\n    ".join([shlex.join(words), *(f"--set {shlex.quote(s)}" for s in settings)])
    return f"isogloss registry log {version.ref}"


def _inputs(lineage: Sequence[Source]) -> list[str]:
    direct = [source for source in lineage if source.direct]
    base = [source.name for source in direct if source.edge in ("base", "start")]
    words = ["--base", "+".join(base)] if base else []
    for edge in ("corpus", "data", "replay"):
        option = {"corpus": "--corpus", "data": "--data", "replay": "--replay"}[edge]
        words += [w for s in direct if s.edge == edge for w in (option, s.name)]
    return words


def training_settings(recipe: Mapping[str, Any]) -> list[str]:
    """``key=value`` of each setting of a training recipe that isn't the default.

    >>> training_settings({"rank": 8, "corpora": 1})
    ['rank=8']
    """
    from isogloss.train import TrainRecipe

    default = TrainRecipe().normalised()
    return [
        f"{key}={_value(key, recipe[key])}"
        for key in default
        if key in recipe and recipe[key] != default[key]
    ]


def _value(key: str, value: Any) -> str:
    # The command line takes prompts as they stand, with \\n for a line break, and all else as YAML.
    if key in ("prompt", "answer") and isinstance(value, str):
        return value.replace("\n", "\\n")
    return json.dumps(value, ensure_ascii=False)
