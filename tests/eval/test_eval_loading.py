"""Models and adapters as they come in: the same as PEFT's own loading, or a clear refusal."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from isogloss.errors import (
    AdapterError,
    CheckpointError,
    EvalError,
    IsoglossError,
    UnsafeInput,
    UsageError,
)
from isogloss.eval.loading import open_model, with_adapter

IDS = torch.tensor([[0, 20, 30, 40, 50]])


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


@torch.no_grad()
def by_peft(folders: Any, adapter: Path) -> torch.Tensor:
    """Base and adapter loaded afresh, by PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModelForCausalLM.from_pretrained(folders.base)
        return logits(PeftModel.from_pretrained(base, adapter).eval())


def test_swapped_adapters_equal_separate_loads(folders: Any) -> None:
    """One base carries both adapters in turn, and is itself between and after them."""
    loaded = open_model(folders.base)
    plain = logits(loaded.model)
    for adapter in (folders.adapter, folders.other, folders.adapter):
        with with_adapter(loaded, adapter) as adapted:
            found = logits(adapted.model)
        assert torch.equal(found, by_peft(folders, adapter))
        assert (found - plain).abs().max() > 0.1
        assert torch.equal(logits(loaded.model), plain)


def test_biases_that_an_adapter_overwrites_come_back(tokenizer: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 300}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=2, attention_bias=True))
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"], bias="all"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if name.endswith("bias"):
                weight += 1
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = open_model(tmp_path / "base")
    plain = logits(loaded.model)
    with with_adapter(loaded, tmp_path / "adapter") as found:
        assert torch.equal(logits(found.model), logits(adapted.eval()))
        assert not torch.allclose(logits(found.model), plain, atol=1e-3)
    assert torch.equal(logits(loaded.model), plain)


def test_an_adapter_comes_off_when_the_block_fails(folders: Any) -> None:
    loaded = open_model(folders.base)
    plain = logits(loaded.model)
    with pytest.raises(KeyError), with_adapter(loaded, folders.adapter):
        raise KeyError
    assert torch.equal(logits(loaded.model), plain)


def test_what_a_model_says_of_itself(folders: Any) -> None:
    loaded = open_model(folders.base, dtype="bfloat16")
    assert (loaded.length, loaded.prefix, loaded.opening) == (64, 0, ())
    assert loaded.model.dtype == torch.bfloat16
    assert not loaded.model.training


def test_a_bos_that_the_tokenizer_adds_is_found(folders: Any, tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    folder = tmp_path / "m"
    shutil.copytree(folders.base, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.save_pretrained(folder)
    assert open_model(folder).opening == (0,)


def _drop(name: str) -> Any:
    def change(folder: Path) -> None:
        for path in folder.glob(name):
            path.unlink()

    return change


def _to_pickle(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))


def _edit(file: str, **keys: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))

    return change


def _without_first_tensor(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    del tensors[sorted(tensors)[0]]
    save_file(tensors, path, metadata={"format": "pt"})


def _with_a_tensor_too_many(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    tensors |= {k.replace("layers.1.", "layers.7."): v.clone() for k, v in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def _no_bos_no_eos(folder: Path) -> None:
    _edit("tokenizer_config.json", bos_token=None, eos_token=None)(folder)
    for name in ("config.json", "generation_config.json"):
        _edit(name, bos_token_id=None, eos_token_id=None)(folder)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_drop("config.json"), CheckpointError, "holds no config.json"),
        (_drop("*.safetensors"), CheckpointError, "holds no weights"),
        (_to_pickle, UnsafeInput, "in a pickle"),
        (_drop("tokenizer*"), EvalError, "has no tokenizer"),
        (_no_bos_no_eos, EvalError, "neither a BOS nor an EOS"),
        (_without_first_tensor, CheckpointError, "lacks 1 weights, lm_head.weight"),
        (_edit("config.json", model_type="nonesuch"), CheckpointError, "can't be loaded"),
        (_edit("config.json", hidden_size=48), CheckpointError, "can't be loaded"),
    ],
)
def test_models_that_cannot_be_used(
    folders: Any, tmp_path: Path, change: Any, error: type[IsoglossError], message: str
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(folders.base, folder)
    change(folder)
    with pytest.raises(error) as caught:
        open_model(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_drop("adapter_config.json"), AdapterError, "holds no adapter_config.json"),
        (_drop("*.safetensors"), AdapterError, "holds no weights"),
        (_to_pickle, UnsafeInput, "in a pickle"),
        (_without_first_tensor, AdapterError, "lacks base_model"),
        (_with_a_tensor_too_many, AdapterError, "layers.7."),
        (_edit("adapter_config.json", r=6), AdapterError, "doesn't fit the model"),
        (_edit("adapter_config.json", target_modules=["c_attn"]), AdapterError, "c_attn"),
        (_edit("adapter_config.json", peft_type="NONESUCH"), AdapterError, "can't be put on"),
    ],
)
def test_adapters_that_cannot_be_used(
    folders: Any, tmp_path: Path, change: Any, error: type[IsoglossError], message: str
) -> None:
    folder = tmp_path / "a"
    shutil.copytree(folders.adapter, folder)
    change(folder)
    loaded = open_model(folders.base)
    plain = logits(loaded.model)
    with pytest.raises(error) as caught, with_adapter(loaded, folder):
        pass
    assert message in str(caught.value)
    assert torch.equal(logits(loaded.model), plain)


def test_a_prompt_learning_adapter_is_refused(folders: Any, tmp_path: Path) -> None:
    from peft import PromptTuningConfig

    shutil.copytree(folders.adapter, tmp_path / "a")
    PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2).save_pretrained(tmp_path / "a")
    with (
        pytest.raises(AdapterError, match="PROMPT_TUNING"),
        with_adapter(open_model(folders.base), tmp_path / "a"),
    ):
        pass


def test_an_unknown_dtype(folders: Any) -> None:
    with pytest.raises(UsageError, match="float32, bfloat16, float16"):
        open_model(folders.base, dtype="int4")
