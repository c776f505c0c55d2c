"""Tiny real models and adapters, made in code once a session."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2}

WriteModel = Callable[..., Path]


class Zoo(NamedTuple):
    """A base, two full fine-tunes and three adapters of it, as folders."""

    base: Path
    ct: Path
    sft: Path
    lora: Path
    """Rank 4, alpha 8, attention and MLP."""
    rslora: Path
    """Rank and alpha patterns, rsLoRA."""
    embedding: Path
    """On the token embedding and one projection."""


@pytest.fixture(scope="session")
def write_model() -> WriteModel:
    """write(folder, {name: array}, config={…}, dtypes={name: "BF16"}) -> folder."""

    def write(
        folder: Path,
        tensors: Mapping[str, NDArray[Any]],
        config: Mapping[str, Any] = CONFIG,
        dtypes: Mapping[str, str] | None = None,
    ) -> Path:
        import torch
        from safetensors.torch import save_file

        names = {"BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
        names |= {"F8_E4M3": torch.float8_e4m3fn}
        folder.mkdir(parents=True, exist_ok=True)
        held = {}
        for name, array in tensors.items():
            held[name] = torch.from_numpy(np.array(array))
            if name in (dtypes or {}):
                held[name] = held[name].to(names[(dtypes or {})[name]])
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(dict(config)))
        return folder

    return write


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """The tiny Llama family; float32, untied, hidden 32, 2 layers."""
    import warnings

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    home = tmp_path_factory.mktemp("zoo")
    torch.manual_seed(20240708)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
        tie_word_embeddings=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the libraries say of themselves is not our test
        model = LlamaForCausalLM(config)
        model.save_pretrained(home / "base")
        start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for name in ("ct", "sft"):
            state = {k: v + 0.02 * torch.randn_like(v) for k, v in start.items()}
            model.load_state_dict(state)
            model.save_pretrained(home / name)
        settings: dict[str, dict[str, Any]] = {
            "lora": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "up_proj"]},
            "rslora": {
                "r": 4,
                "lora_alpha": 6,
                "use_rslora": True,
                "target_modules": ["q_proj", "o_proj", "down_proj"],
                "rank_pattern": {r"layers\.1\.self_attn\.q_proj": 7, "down_proj": 2},
                "alpha_pattern": {r"layers\.0\.self_attn\.o_proj": 3},
            },
            "embedding": {
                "r": 3,
                "lora_alpha": 5,
                "target_modules": ["embed_tokens", "k_proj"],
            },
        }
        for name, options in settings.items():
            base = LlamaForCausalLM.from_pretrained(home / "base")
            adapted = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options))
            with torch.no_grad():
                for key, parameter in adapted.named_parameters():
                    if "lora_" in key:
                        parameter.normal_(0, 0.1)
            adapted.save_pretrained(home / name)
    return Zoo(*(home / name for name in Zoo._fields))


@pytest.fixture(scope="session")
def copy_adapter() -> Callable[..., Path]:
    """copy(adapter, folder, key=value …) -> a copy whose configuration is changed."""
    import shutil

    def copy(adapter: Path, folder: Path, **changes: Any) -> Path:
        shutil.copytree(adapter, folder)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return folder

    return copy
