"""What comes from outside and can't be merged: each one error of one line, before any weight."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from isogloss.errors import (
    AdapterError,
    BaseMismatch,
    CheckpointError,
    ConfigError,
    IsoglossError,
    UnsafeInput,
)
from isogloss.merge import engine, load_recipe, plan, run, sources_from_paths

Write = Callable[..., Path]
CopyAdapter = Callable[..., Path]
W = np.arange(6, dtype=np.float32).reshape(2, 3)


def planned(base: Path, other: Path | str, **more: Any) -> None:
    """Plan a merge of ``other`` into ``base``; weights are never read by it."""
    data = {
        "merge_method": "ties",
        "base_model": str(base),
        "models": [{"model": str(other)}],
        "parameters": {"weight": 1.0},
    }
    recipe = load_recipe(data | more)
    plan(recipe, sources_from_paths(recipe))


@pytest.fixture
def model(tmp_path: Path, write_model: Write) -> Path:
    return write_model(tmp_path / "base", {"w": W, "v": W[0]})


def refused(kind: type[IsoglossError], message: str, base: Path, other: Path, **more: Any) -> None:
    with pytest.raises(kind) as error:
        planned(base, other, **more)
    assert message in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


def raw(path: Path, header: Any, data: bytes = b"") -> None:
    """A safetensors file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def tensor(first: int, last: int, dtype: str = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


BROKEN: list[tuple[str, Any, bytes, str]] = [
    ("not JSON", b"{", b"", "a header that is not JSON"),
    ("not UTF-8", b'"\xff"', b"", "a header that is not JSON"),
    ("a list", [], b"", "a header without names"),
    ("no offsets", {"w": {"dtype": "F32", "shape": [1]}}, b"", "no dtype, shape and offsets"),
    ("a name for a shape", {"w": tensor(0, 4, shape="x")}, b"1234", "numbers that can't be"),
    ("text for a tensor", {"w": "x"}, b"", "no dtype, shape and offsets"),
    ("negative", {"w": tensor(-4, 0)}, b"", "numbers that can't be"),
    ("backwards", {"w": tensor(4, 0)}, b"1234", "numbers that can't be"),
    ("wrong size", {"w": tensor(0, 4, shape=[2])}, b"1234", "4 bytes for tensor w, F32 [2]"),
    ("overlap", {"v": tensor(0, 4), "w": tensor(2, 6)}, b"123456", "a gap or an overlap"),
    ("gap", {"v": tensor(0, 4), "w": tensor(8, 12)}, b"0" * 12, "a gap or an overlap"),
    ("too short", {"w": tensor(0, 4)}, b"12", "bytes where its header tells of"),
    ("too long", {"w": tensor(0, 4)}, b"123456", "bytes where its header tells of"),
]


@pytest.mark.parametrize(
    ("header", "data", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_broken_header(model: Path, header: Any, data: bytes, message: str) -> None:
    other = model.parent / "other"
    other.mkdir()
    raw(other / "model.safetensors", header, data)
    refused(CheckpointError, message, model, other)


@pytest.mark.parametrize("length", [b"", b"\x01", (1 << 40).to_bytes(8, "little")])
def test_a_lying_header_length(model: Path, length: bytes) -> None:
    other = shutil.copytree(model, model.parent / "other")
    (other / "model.safetensors").write_bytes(length)
    refused(CheckpointError, "broken safetensors file", model, other)


def test_a_truncated_file(model: Path) -> None:
    other = shutil.copytree(model, model.parent / "other")
    whole = (other / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(whole[:-5])
    refused(CheckpointError, "bytes where its header tells of", model, other)


def indexed(folder: Path, where: Any) -> Path:
    folder.mkdir()
    save_file({"w": W}, folder / "a.safetensors")
    save_file({"v": W[0]}, folder / "b.safetensors")
    index = {"weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


INDEXES: list[tuple[Any, type[IsoglossError], str]] = [
    ({"w": "a.safetensors", "v": "c.safetensors"}, CheckpointError, "lacks the shard c.saf"),
    ({"w": "a.safetensors"}, BaseMismatch, "lacks tensor v"),
    ({"w": "a.safetensors", "v": "../b.safetensors"}, UnsafeInput, "names '../b.safetensors'"),
    ({"w": "b.safetensors", "v": "b.safetensors"}, CheckpointError, "lacks tensor w"),
    ({"x": "a.safetensors", "v": "b.safetensors"}, CheckpointError, "puts in no file"),
    ([], CheckpointError, "has no weight_map"),
    ({}, CheckpointError, "has no weight_map"),
]


@pytest.mark.parametrize(("where", "kind", "message"), INDEXES)
def test_an_index_that_lies(
    model: Path, where: Any, kind: type[IsoglossError], message: str
) -> None:
    refused(kind, message, model, indexed(model.parent / "other", where))


def test_a_sound_index(model: Path) -> None:
    where = {"w": "a.safetensors", "v": "b.safetensors"}
    planned(model, indexed(model.parent / "other", where))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickles(model: Path, name: str) -> None:
    other = model.parent / "other"
    other.mkdir()
    (other / name).write_bytes(b"\x80\x04.")
    refused(UnsafeInput, "is a pickle, which can run code", model, other)


def test_a_folder_without_weights(model: Path) -> None:
    (model.parent / "other").mkdir()
    refused(CheckpointError, "has no model.safetensors", model, model.parent / "other")


def test_a_config_that_is_no_json(model: Path) -> None:
    other = shutil.copytree(model, model.parent / "other")
    (other / "config.json").write_text("{")
    refused(CheckpointError, "config.json is not JSON", model, other)


MODELS: list[tuple[str, dict[str, Any], dict[str, Any], type[IsoglossError], str]] = [
    ("missing", {"w": W}, {}, BaseMismatch, "lacks tensor v, which"),
    ("extra", {"w": W, "v": W[0], "x": W}, {}, BaseMismatch, "has tensor x, which"),
    (
        "untied",
        {"w": W, "v": W[0], "lm_head.weight": W},
        {},
        BaseMismatch,
        "has tensor lm_head.weight",
    ),
    ("shape", {"w": W.T.copy(), "v": W[0]}, {}, BaseMismatch, "tensor w is [3, 2] in"),
    ("kind", {"w": W, "v": np.arange(3)}, {}, BaseMismatch, "tensor v is I64 in"),
    ("float64", {"w": W, "v": W[0]}, {"dtypes": {"w": "F64"}}, CheckpointError, "w is F64"),
    ("fp8", {"w": W, "v": W[0]}, {"dtypes": {"w": "F8_E4M3"}}, CheckpointError, "w is F8_E4M3"),
    ("int8", {"w": W.astype(np.int8), "v": W[0]}, {}, CheckpointError, "quantised"),
    (
        "bitsandbytes",
        {"w": W, "v": W[0]},
        {"config": {"quantization_config": {"load_in_4bit": True}}},
        CheckpointError,
        "is quantised",
    ),
    ("nothing", {}, {}, CheckpointError, "holds no tensor"),
]


@pytest.mark.parametrize(
    ("tensors", "options", "kind", "message"),
    [row[1:] for row in MODELS],
    ids=[row[0] for row in MODELS],
)
def test_a_model_that_does_not_fit(
    model: Path,
    write_model: Write,
    tensors: Any,
    options: Any,
    kind: type[IsoglossError],
    message: str,
) -> None:
    other = write_model(model.parent / "other", tensors, **options)
    refused(kind, message, model, other)


def test_a_grown_vocabulary_is_guessed(tmp_path: Path, write_model: Write) -> None:
    base = write_model(tmp_path / "base", {"embed.weight": W})
    grown = np.concatenate([W, W])
    other = write_model(tmp_path / "other", {"embed.weight": grown})
    refused(BaseMismatch, "has a vocabulary grown?", base, other)


def test_buffers_that_differ(tmp_path: Path, write_model: Write) -> None:
    base = write_model(tmp_path / "base", {"w": W, "ids": np.arange(3)})
    other = write_model(tmp_path / "other", {"w": W, "ids": np.arange(3) + 1})
    data = {
        "merge_method": "linear",
        "models": [{"model": str(base)}, {"model": str(other)}],
        "parameters": {"weight": 1.0},
    }
    recipe = load_recipe(data)
    with pytest.raises(BaseMismatch, match=r"tensor ids \(I64\)"):
        run(recipe, tmp_path / "out", sources=sources_from_paths(recipe))
    assert not (tmp_path / "out").exists()


CONFIGS: list[tuple[dict[str, Any], type[IsoglossError], str]] = [
    ({"peft_type": "IA3"}, AdapterError, "is of type IA3; expected LORA"),
    ({"use_dora": True}, AdapterError, "has use_dora: DoRA's change depends"),
    ({"lora_bias": True}, AdapterError, "has lora_bias"),
    ({"bias": "lora_only"}, AdapterError, "has bias 'lora_only'"),
    ({"modules_to_save": ["lm_head"]}, AdapterError, "has modules_to_save"),
    ({"trainable_token_indices": [1]}, AdapterError, "has trainable_token_indices"),
    ({"target_parameters": ["experts.w"]}, AdapterError, "has target_parameters"),
    ({"layer_replication": [[0, 2]]}, AdapterError, "has layer_replication"),
    ({"kasa_config": {"beta": 1}}, AdapterError, "has kasa_config"),
    ({"init_lora_weights": "pissa"}, AdapterError, "initialised with PiSSA"),
    ({"init_lora_weights": "pissa_niter_4"}, AdapterError, "initialised with PiSSA"),
    ({"init_lora_weights": "olora"}, AdapterError, "initialised with OLoRA"),
    ({"init_lora_weights": "corda"}, AdapterError, "initialised with CorDA"),
    ({"init_lora_weights": "lora_ga"}, AdapterError, "initialised with LoRA-GA"),
    ({"init_lora_weights": "loftq"}, AdapterError, "initialised with LoftQ"),
    ({"init_lora_weights": "brand_new"}, AdapterError, "initialised by 'brand_new'"),
    ({"r": 8}, AdapterError, "has rank 4, its configuration says 8"),
    ({"rank_pattern": {"q_proj": 2}}, AdapterError, "q_proj has rank 4, its configuration says 2"),
    ({"rank_pattern": {"q_proj(": 4}}, AdapterError, "is no regular expression"),
    ({"lora_alpha": "much"}, AdapterError, "lora_alpha of"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), CONFIGS)
def test_an_adapter_that_is_no_plain_delta(
    zoo: Any,
    copy_adapter: CopyAdapter,
    tmp_path: Path,
    changes: dict[str, Any],
    kind: type[IsoglossError],
    message: str,
) -> None:
    refused(kind, message, zoo.base, copy_adapter(zoo.lora, tmp_path / "lora", **changes))


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", "orthogonal", "mica"])
def test_inits_that_leave_the_base_alone(
    zoo: Any, copy_adapter: CopyAdapter, tmp_path: Path, init: Any
) -> None:
    planned(zoo.base, copy_adapter(zoo.lora, tmp_path / "lora", init_lora_weights=init))


FIRST = "base_model.model.model.layers.0.self_attn.q_proj"
KEYS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("no B", lambda t: t.pop(f"{FIRST}.lora_B.weight"), "q_proj has only ['lora_A']"),
    (
        "magnitude",
        lambda t: t.update({f"{FIRST}.lora_magnitude_vector": W[0]}),
        "which is no LoRA factor",
    ),
    (
        "a bias",
        lambda t: t.update({f"{FIRST}.lora_B.bias": W[0]}),
        "lora_B.bias, which is no LoRA factor",
    ),
    (
        "int factors",
        lambda t: t.update({f"{FIRST}.lora_A.weight": np.ones((4, 32), np.int64)}),
        "q_proj.lora_A.weight is I64",
    ),
    (
        "convolution",
        lambda t: t.update({f"{FIRST}.lora_A.weight": np.ones((4, 32, 1), np.float32)}),
        "expected A of (r, in) and B of (out, r)",
    ),
    (
        "two ranks",
        lambda t: t.update({f"{FIRST}.lora_A.weight": np.ones((5, 32), np.float32)}),
        "has A [5, 32] and B [32, 4]",
    ),
    ("nothing", lambda t: t.clear(), "holds no LoRA factor"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in KEYS], ids=[r[0] for r in KEYS])
def test_an_adapter_with_other_tensors(
    zoo: Any, copy_adapter: CopyAdapter, tmp_path: Path, change: Any, message: str
) -> None:
    lora = copy_adapter(zoo.lora, tmp_path / "lora")
    held = load_file(lora / "adapter_model.safetensors")
    change(held)
    save_file(held, lora / "adapter_model.safetensors")
    refused(AdapterError, message, zoo.base, lora)


def test_an_adapter_in_a_pickle(zoo: Any, copy_adapter: CopyAdapter, tmp_path: Path) -> None:
    lora = copy_adapter(zoo.lora, tmp_path / "lora")
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    refused(UnsafeInput, "is a pickle", zoo.base, lora)


def test_an_adapter_of_another_base(
    zoo: Any, copy_adapter: CopyAdapter, tmp_path: Path, write_model: Write
) -> None:
    lora = copy_adapter(zoo.lora, tmp_path / "lora", base_model_name_or_path="org/elsewhere")
    base = load_file(zoo.base / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    config = json.loads((zoo.base / "config.json").read_text())
    other = base | {name: np.zeros((40, 32), np.float32)}
    smaller = write_model(tmp_path / "smaller", other, config)
    message = "model.layers.1.mlp.up_proj of shape [48, 32], which is [40, 32]"
    refused(BaseMismatch, message, smaller, lora)
    refused(BaseMismatch, f"in {smaller}", smaller, lora)
    refused(BaseMismatch, "(made for org/elsewhere)", smaller, lora)
    del other[name]
    shorter = write_model(tmp_path / "shorter", other, config)
    refused(BaseMismatch, f"mlp.up_proj, which {shorter} does not have", shorter, lora)


def test_an_adapter_on_a_tied_embedding(zoo: Any, tmp_path: Path, write_model: Write) -> None:
    config = json.loads((zoo.base / "config.json").read_text()) | {"tie_word_embeddings": True}
    held = load_file(zoo.base / "model.safetensors")
    del held["lm_head.weight"]
    tied = write_model(tmp_path / "tied", held, config)
    refused(BaseMismatch, "to which the output layer of", tied, zoo.embedding)
    planned(tied, zoo.lora)


def test_an_adapter_with_an_embedding_of_its_own(
    zoo: Any, copy_adapter: CopyAdapter, tmp_path: Path
) -> None:
    lora = copy_adapter(zoo.lora, tmp_path / "lora")
    held = load_file(lora / "adapter_model.safetensors")
    key, name = "base_model.model.model.embed_tokens.weight", "model.embed_tokens.weight"
    base = load_file(zoo.base / "model.safetensors")[name]
    data = {
        "merge_method": "task_arithmetic",
        "base_model": str(zoo.base),
        "models": [{"model": str(lora)}],
        "parameters": {"weight": 1.0},
    }
    recipe = load_recipe(data)
    sources = sources_from_paths(recipe)
    save_file(held | {key: base}, lora / "adapter_model.safetensors")
    run(recipe, tmp_path / "same", sources=sources)
    save_file(held | {key: base + 1}, lora / "adapter_model.safetensors")
    with pytest.raises(BaseMismatch, match=r"brings its own model\.embed_tokens\.weight"):
        run(recipe, tmp_path / "changed", sources=sources)
    save_file(held | {key: base[:-1].copy()}, lora / "adapter_model.safetensors")
    with pytest.raises(BaseMismatch, match="with its vocabulary"):
        plan(recipe, sources)


def test_an_adapter_without_a_base(zoo: Any) -> None:
    data = {"merge_method": "linear", "models": [{"model": str(zoo.lora)}], "weight": 1.0}
    recipe = load_recipe(data)
    with pytest.raises(ConfigError, match="is an adapter, and the recipe has no base_model"):
        plan(recipe, sources_from_paths(recipe))
    data = {
        "merge_method": "ties",
        "base_model": str(zoo.lora),
        "models": [{"model": str(zoo.sft)}],
        "weight": 1.0,
    }
    recipe = load_recipe(data)
    with pytest.raises(ConfigError, match=r"base_model .* is an adapter"):
        plan(recipe, sources_from_paths(recipe))


PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"parameters": {}}, "has no weight for tensor"),
    ({"parameters": {"weight": [{"filter": "mlp", "value": 1}]}}, "has no weight for tensor"),
    ({"parameters": {"weight": -0.5}}, "the negative weight -0.5"),
    ({"merge_method": "linear", "parameters": {"weight": 0}}, "sum to 0, which linear divides by"),
    ({"density": [0.1, 0.9], "trim": "model"}, "densities that vary by tensor, with trim: model"),
    ({"rescale": True, "trim": "model"}, "rescale: true with trim: model"),
]


@pytest.mark.parametrize(("more", "message"), PARAMETERS, ids=[row[1] for row in PARAMETERS])
def test_parameters_that_can_not_be(zoo: Any, more: dict[str, Any], message: str) -> None:
    refused(ConfigError, message, zoo.base, zoo.sft, **more)


def test_the_paper_has_no_weights(zoo: Any) -> None:
    models = [
        {"model": str(zoo.ct), "parameters": {"weight": 1}},
        {"model": str(zoo.sft), "parameters": {"weight": 2}},
    ]
    more = {"models": models, "semantics": "paper"}
    refused(ConfigError, "expected equal weights", zoo.base, zoo.sft, **more)


def test_a_gradient_needs_to_know_the_layers(tmp_path: Path, write_model: Write) -> None:
    base = write_model(tmp_path / "base", {"w": W}, {})
    other = write_model(tmp_path / "other", {"w": W}, {})
    planned(base, other)
    more = {"parameters": {"weight": [0, 1]}}
    refused(ConfigError, "doesn't tell how many", base, other, **more)


@pytest.mark.parametrize("layers", [[0, 1], [1, 2]])
def test_a_slice_of_some_layers(zoo: Any, layers: list[int]) -> None:
    sources = [
        {"model": str(zoo.base), "layer_range": layers},
        {"model": str(zoo.sft), "layer_range": layers},
    ]
    more = {"models": None, "slices": [{"sources": sources}]}
    refused(ConfigError, "expected layer_range: [0, 2]", zoo.base, zoo.sft, **more)


def test_no_weight_is_read_before_all_is_checked(
    zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_model: Write
) -> None:
    held = load_file(zoo.base / "model.safetensors")
    held["model.norm.weight"] = held["model.norm.weight"][:-1].copy()  # the last in file order
    other = write_model(tmp_path / "other", held)

    def never(*_: Any) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(engine, "read_float32", never)
    data = {
        "merge_method": "ties",
        "base_model": str(zoo.base),
        "models": [{"model": str(other)}],
        "parameters": {"weight": 1.0},
    }
    recipe = load_recipe(data)
    with pytest.raises(BaseMismatch, match=r"tensor model\.norm\.weight is"):
        run(recipe, tmp_path / "out", sources=sources_from_paths(recipe))
    assert not (tmp_path / "out").exists()
