"""Training: corpora to packed rows, LoRA continual pre-training, supervised fine-tuning.

Three verbs over paths, none of which knows a registry:

* :func:`train_base` makes a small model and its tokenizer from text alone;
* :func:`train_cpt` goes on with the language-model objective on a dialect (LoRA, or full weights);
* :func:`train_sft` teaches a task by prompt and answer (LoRA, or full weights).

Each writes a folder that transformers or PEFT loads, with ``isogloss.json`` and ``recipe.yaml``
beside the weights.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.train.recipe import TrainRecipe, load_recipe, presets
    from isogloss.train.verbs import Start, TrainResult, train_base, train_cpt, train_sft

__all__ = [
    "Start",
    "TrainRecipe",
    "TrainResult",
    "load_recipe",
    "presets",
    "train_base",
    "train_cpt",
    "train_sft",
]

_HOMES = {
    "TrainRecipe": "isogloss.train.recipe",
    "load_recipe": "isogloss.train.recipe",
    "presets": "isogloss.train.recipe",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = _HOMES.get(name, "isogloss.train.verbs")
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'isogloss.train' has no attribute {name!r}")
