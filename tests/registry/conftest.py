"""Small real artifacts, made without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from isogloss.registry import Registry

Maker = Callable[..., Path]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.init(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def make_adapter(tmp_path: Path) -> Maker:
    """A PEFT LoRA adapter folder on two modules of a 4 → 6 layer."""

    def make(name: str = "adapter", *, rank: int = 2, fill: float = 1.0, **config: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        tensors = {}
        for module in ("q_proj", "v_proj"):
            at = f"base_model.model.model.layers.0.self_attn.{module}"
            tensors[f"{at}.lora_A.weight"] = np.full((rank, 4), fill, np.float32)
            tensors[f"{at}.lora_B.weight"] = np.full((6, rank), fill, np.float32)
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        said = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": 16,
            "use_rslora": True,
            "target_modules": ["v_proj", "q_proj"],
            "init_lora_weights": True,
            "base_model_name_or_path": "org/base",
        }
        (folder / "adapter_config.json").write_text(json.dumps(said | config))
        return folder

    return make


@pytest.fixture
def make_model(tmp_path: Path) -> Maker:
    """A model folder of two tensors, 4·3 + 3 = 15 entries."""

    def make(name: str = "model", *, fill: float = 1.0, **config: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        tensors = {
            "model.embed_tokens.weight": np.full((4, 3), fill, np.float32),
            "model.norm.weight": np.full((3,), fill, np.float16),
        }
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        said = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 3,
            "num_hidden_layers": 1,
            "vocab_size": 4,
        }
        (folder / "config.json").write_text(json.dumps(said | config))
        return folder

    return make


@pytest.fixture
def make_corpus(tmp_path: Path) -> Maker:
    def make(name: str = "pidgin.txt", text: str = "How you dey?\n\nI dey fine.\n") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return make
