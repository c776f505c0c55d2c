"""The peers' own results: mergekit on recipes, PEFT on adapters, transformers on reloading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from isogloss.merge import load_recipe, run, sources_from_paths
from isogloss.merge.methods.ties import PRESETS, ties

pytestmark = pytest.mark.filterwarnings("ignore")  # mergekit, PEFT and transformers talk a lot


def ours(recipe: Mapping[str, Any], out: Path) -> dict[str, torch.Tensor]:
    loaded = load_recipe(recipe)
    run(loaded, out, sources=sources_from_paths(loaded))
    return dict(load_file(out / "model.safetensors"))


def theirs(recipe: Mapping[str, Any], out: Path) -> dict[str, torch.Tensor]:
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    options = MergeOptions(
        quiet=True,
        copy_tokenizer=False,
        write_model_card=False,
        lora_merge_cache=str(out.parent / "cache"),
    )
    run_merge(
        MergeConfiguration.model_validate(yaml.safe_load(yaml.safe_dump(recipe))), str(out), options
    )
    files = sorted(out.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


FILTERED = [
    {"filter": "mlp", "value": [0.2, 1.0]},
    {"filter": "self_attn", "value": 0.4},
    {"value": 0.9},
]

RECIPES: dict[str, dict[str, Any]] = {
    "linear": {"merge_method": "linear", "ct": {"weight": 1.0}, "sft": {"weight": 0.3}},
    "linear, not normalised": {
        "merge_method": "linear",
        "ct": {"weight": 1.0},
        "sft": {"weight": 0.3},
        "parameters": {"normalize": False},
    },
    "linear with a base that takes part": {
        "merge_method": "linear",
        "base": True,
        "ct": {"weight": 0.5},
        "sft": {},
        "parameters": {"weight": 0.25},
    },
    "task arithmetic": {
        "merge_method": "task_arithmetic",
        "base": True,
        "ct": {"weight": 0.7},
        "sft": {"weight": -0.4},
        "parameters": {"lambda": 0.8},
    },
    "task arithmetic, normalised": {
        "merge_method": "task_arithmetic",
        "base": True,
        "ct": {"weight": 0.7},
        "sft": {"weight": 0.4},
        "parameters": {"normalize": True},
    },
    "task arithmetic, weights that cancel": {
        "merge_method": "task_arithmetic",
        "base": True,
        "ct": {"weight": 0.5},
        "sft": {"weight": -0.5},
        "parameters": {"normalize": True},
    },
    "ties": {
        "merge_method": "ties",
        "base": True,
        "ct": {"weight": 1.0, "density": 0.5},
        "sft": {"weight": 0.6, "density": 0.3},
    },
    "ties, not normalised, scaled": {
        "merge_method": "ties",
        "base": True,
        "ct": {"weight": 1.0},
        "sft": {"weight": -0.6, "density": 0.7},
        "parameters": {"normalize": False, "lambda": 1.3, "density": 0.4, "int8_mask": True},
    },
    "ties, rescaled": {
        "merge_method": "ties",
        "base": True,
        "ct": {"weight": 1.0},
        "sft": {"weight": 0.5},
        "parameters": {"density": 0.4, "rescale": True},
    },
    "gradients": {
        "merge_method": "ties",
        "base": True,
        "ct": {"weight": [0.0, 0.5, 1.0], "density": [1.0, 0.3]},
        "sft": {"weight": ["1e-1", 0.7]},
        "parameters": {"normalize": [True, False], "density": 0.9},
    },
    "filters": {
        "merge_method": "task_arithmetic",
        "base": True,
        "ct": {"weight": FILTERED},
        "sft": {"weight": [{"filter": "q_proj", "value": 2.0}]},
        "parameters": {"weight": [{"filter": "*", "value": [0.1, 0.6]}]},
    },
}


def written_out(short: dict[str, Any], base: Path, ct: Path, sft: Path) -> dict[str, Any]:
    """mergekit's YAML for a row of the table."""
    recipe = {
        "merge_method": short["merge_method"],
        "models": [
            {"model": str(ct), "parameters": short["ct"]},
            {"model": str(sft), "parameters": short["sft"]},
        ],
        "dtype": "float32",
    }
    if short.get("base"):
        recipe["base_model"] = str(base)
    if "parameters" in short:
        recipe["parameters"] = short["parameters"]
    return recipe


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_means_what_it_means_in_mergekit(name: str, zoo: Any, tmp_path: Path) -> None:
    recipe = written_out(RECIPES[name], zoo.base, zoo.ct, zoo.sft)
    mine, wanted = ours(recipe, tmp_path / "ours"), theirs(recipe, tmp_path / "theirs")
    assert mine.keys() == wanted.keys()
    for key, tensor in wanted.items():
        torch.testing.assert_close(mine[key], tensor, rtol=1e-6, atol=1e-7, msg=key)


def test_a_slice_over_all_layers_is_mergekits(zoo: Any, tmp_path: Path) -> None:
    recipe = {
        "merge_method": "ties",
        "base_model": str(zoo.base),
        "slices": [
            {
                "sources": [
                    {"model": str(zoo.base), "layer_range": [0, 2]},
                    {
                        "model": str(zoo.ct),
                        "layer_range": [0, 2],
                        "parameters": {"weight": [0.2, 0.9]},
                    },
                    {"model": str(zoo.sft), "layer_range": [0, 2]},
                ],
                "parameters": {"weight": 0.5},
            }
        ],
        "parameters": {"density": 0.6, "weight": 3.0},
        "dtype": "float32",
    }
    mine, wanted = ours(recipe, tmp_path / "ours"), theirs(recipe, tmp_path / "theirs")
    for key, tensor in wanted.items():
        torch.testing.assert_close(mine[key], tensor, rtol=1e-6, atol=1e-7, msg=key)


def test_lora_inputs_are_mergekits_folded_ones(zoo: Any, tmp_path: Path) -> None:
    recipe = {
        "merge_method": "ties",
        "base_model": str(zoo.base),
        "models": [
            {"model": f"{zoo.base}+{zoo.lora}", "parameters": {"weight": 1.0}},
            {"model": f"{zoo.base}+{zoo.rslora}", "parameters": {"weight": 0.7}},
        ],
        "dtype": "float32",
    }
    mine, wanted = ours(recipe, tmp_path / "ours"), theirs(recipe, tmp_path / "theirs")
    for key, tensor in wanted.items():
        # Folding rounds W + sBA before W is taken off again; we never add W.
        torch.testing.assert_close(mine[key], tensor, rtol=1e-5, atol=2e-6, msg=key)


@pytest.mark.parametrize("normalize", [True, False])
def test_random_deltas_against_merge_tensors(normalize: bool) -> None:
    from mergekit.merge_methods.api import merge_tensors

    random = np.random.default_rng(5)
    base = random.standard_normal((33, 17), np.float32)
    others = [base + random.standard_normal(base.shape, np.float32) for _ in range(4)]
    weight, density = [0.3, 1.0, 0.7, 0.1], [0.29, 0.5, 1.0, 0.001]
    wanted = merge_tensors(
        [torch.from_numpy(x) for x in (base, *others)],
        "ties",
        parameters={"weight": weight, "density": density, "normalize": normalize},
        base_index=0,
    )
    got = ties(
        base,
        [other - base for other in others],
        weight=weight,
        density=density,
        normalize="weights" if normalize else "none",
    ).values
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["lora", "rslora", "embedding"])
def test_an_adapter_alone_is_pefts_merge_and_unload(name: str, zoo: Any, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    adapter = getattr(zoo, name)
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(zoo.base),
        "models": [{"model": str(adapter), "parameters": {"weight": 1.0}}],
    }
    mine = ours(recipe, tmp_path / "ours")
    model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(zoo.base), adapter)
    wanted = model.merge_and_unload().state_dict()
    changed = load_file(zoo.base / "model.safetensors")
    for key, tensor in wanted.items():
        torch.testing.assert_close(mine[key], tensor, rtol=1e-5, atol=1e-6, msg=key)
    assert (
        sum(not torch.equal(mine[key], changed[key]) for key in changed)
        == {
            "lora": 6,
            "rslora": 6,
            "embedding": 3,
        }[name]
    )


def test_gpt2_layers_that_store_their_transpose(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=8)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    lora = LoraConfig(r=2, lora_alpha=3, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    adapted = get_peft_model(GPT2LMHeadModel.from_pretrained(tmp_path / "base"), lora)
    for key, parameter in adapted.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(parameter, 0, 0.3)
    adapted.save_pretrained(tmp_path / "lora")
    recipe = {
        "merge_method": "ties",
        "base_model": str(tmp_path / "base"),
        "models": [{"model": str(tmp_path / "lora"), "parameters": {"weight": 1.0}}],
    }
    ours(recipe, tmp_path / "out")
    fresh = GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    wanted = PeftModel.from_pretrained(fresh, tmp_path / "lora").merge_and_unload().state_dict()
    got = GPT2LMHeadModel.from_pretrained(tmp_path / "out").state_dict()
    for key, tensor in wanted.items():
        torch.testing.assert_close(got[key], tensor, rtol=1e-5, atol=1e-6, msg=key)


def test_peft_semantics_are_pefts_on_the_true_delta() -> None:
    from peft.utils.merge_utils import ties as peft_ties

    random = np.random.default_rng(3)
    taus = [random.standard_normal((9, 7), np.float32) for _ in range(3)]
    weight = [1.0, 0.5, 2.0]
    wanted = peft_ties([torch.from_numpy(t) for t in taus], torch.tensor(weight), 0.4, "total")
    got = ties(
        np.zeros((9, 7), np.float32),
        taus,
        weight=weight,
        density=[0.4] * 3,
        semantics="peft",
        **PRESETS["peft"],
    ).values
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-6, atol=1e-6)


def test_the_output_loads_and_answers(zoo: Any, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    recipe = {
        "merge_method": "linear",
        "models": [
            {"model": str(zoo.ct), "parameters": {"weight": 0.5}},
            {"model": str(zoo.sft), "parameters": {"weight": 0.5}},
        ],
        "out_dtype": "bfloat16",
    }
    mine = ours(recipe, tmp_path / "out")
    model, info = LlamaForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.dtype == torch.bfloat16
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, mine[key]), key
    ct, sft = (load_file(f / "model.safetensors") for f in (zoo.ct, zoo.sft))
    for key, tensor in mine.items():
        wanted = ((ct[key].double() + sft[key].double()) / 2).float().bfloat16()
        torch.testing.assert_close(tensor, wanted, rtol=2**-8, atol=1e-9)
