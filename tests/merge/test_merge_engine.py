"""Whole merges: what is written, that it is the same bytes every time, and nothing by halves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from isogloss.errors import ConfigError, MergeError, NonFinite, UsageError
from isogloss.files import content_digest, list_files
from isogloss.merge import MergeResult, Source, load_recipe, plan, run, sources_from_paths
from isogloss.merge import planning as planning_module
from isogloss.merge.checkpoint import lay_out, open_model, read_float32
from isogloss.merge.methods.ties import PRESETS, ties
from isogloss.merge.slack import LABEL

Write = Callable[..., Path]
RANDOM = np.random.default_rng(11)


def f32(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def array(*shape: int) -> NDArray[np.float32]:
    return RANDOM.standard_normal(shape, np.float32)


def tensors() -> dict[str, NDArray[Any]]:
    return {
        "model.embed_tokens.weight": array(6, 4),
        "model.layers.0.mlp.up_proj.weight": array(5, 4),
        "model.layers.1.mlp.up_proj.weight": array(5, 4),
        "model.norm.weight": array(4),
    }


@pytest.fixture
def trio(tmp_path: Path, write_model: Write) -> tuple[Path, Path, Path]:
    """A base and two others, written from arrays."""
    base = tensors()
    write_model(tmp_path / "base", base)
    for name in ("one", "two"):
        write_model(tmp_path / name, {k: v + 0.1 * array(*v.shape) for k, v in base.items()})
    return tmp_path / "base", tmp_path / "one", tmp_path / "two"


def recipe_of(trio: tuple[Path, ...], method: str = "ties", **more: Any) -> dict[str, Any]:
    base, *others = trio
    models = [{"model": str(folder)} for folder in others]
    whole = {"merge_method": method, "base_model": str(base), "models": models}
    return whole | {"parameters": {"weight": 1.0}} | more


def merge(data: Mapping[str, Any], out: Path) -> MergeResult:
    recipe = load_recipe(data)
    return run(recipe, out, sources=sources_from_paths(recipe))


def read(folder: Path) -> dict[str, NDArray[np.float32]]:
    return {name: read_float32(info) for name, info in open_model(folder).tensors.items()}


def test_files_digests_and_sidecars(trio: tuple[Path, Path, Path], tmp_path: Path) -> None:
    done = merge(recipe_of(trio, slack={"value": 0.5, "favoured": str(trio[2])}), tmp_path / "out")
    assert done.folder == tmp_path / "out"
    assert list(done.files) == list_files(done.folder)
    facts = json.loads((done.folder / "isogloss.json").read_text())
    assert facts == done.made_by
    assert facts["determinism"] == "A"
    assert facts["extra"]["notes"] == [LABEL]
    assert "by_tensor" not in facts["extra"]["statistics"]
    assert load_recipe(done.folder / "recipe.yaml").normalised() == facts["recipe"]
    assert done.statistics["notes"] == [LABEL]
    assert done.statistics["tensors"] == 4
    total = done.statistics["total"]
    assert total["slack"]["favoured"] == str(trio[2])
    assert 0 < total["slack"]["changed"] < total["conflict_rate"] < 1


def test_statistics_count_what_was_outvoted(tmp_path: Path, write_model: Write) -> None:
    zero = {"w": np.zeros(4, np.float32)}
    folders = [write_model(tmp_path / "base", zero)]
    for name, values in {"one": [3, -1, 1, 0], "two": [-1, -1, 2, 4]}.items():
        folders.append(write_model(tmp_path / name, {"w": f32(values)}))
    total = merge(recipe_of(tuple(folders)), tmp_path / "out").statistics["total"]
    assert total["conflict_rate"] == 0.25
    assert total["inputs"][str(folders[1])] == {"discard_rate": 0.0, "mass_lost": 0.0}
    assert total["inputs"][str(folders[2])] == {"discard_rate": 0.25, "mass_lost": 0.125}


SCRIPT = """
import sys
from pathlib import Path
from isogloss.files import content_digest
from isogloss.merge import load_recipe, run, sources_from_paths
recipe = load_recipe(Path(sys.argv[1]))
print(content_digest(run(recipe, Path(sys.argv[2]), sources=sources_from_paths(recipe)).files))
"""


def test_the_same_bytes_for_any_hash_seed_and_thread_count(zoo: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    models = [{"model": str(zoo.sft)}, {"model": str(zoo.lora)}, {"model": str(zoo.rslora)}]
    data = recipe_of((zoo.base,), slack={"value": 0.5, "favoured": str(zoo.sft)}) | {
        "models": models,
        "density": 0.5,
        "out_dtype": "bfloat16",
    }
    recipe.write_text(json.dumps(data))
    seen = set()
    for number, (seed, threads) in enumerate([("0", "1"), ("7", "2")]):
        environment = os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", SCRIPT, str(recipe), str(tmp_path / str(number))]
        seen.add(subprocess.check_output(command, env=environment, text=True))
    here = merge(json.loads(recipe.read_text()), tmp_path / "here")
    assert seen == {content_digest(here.files) + "\n"}


def test_the_order_of_writing_and_shards(
    trio: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(recipe_of(trio), tmp_path / "whole")
    monkeypatch.setattr(
        planning_module, "lay_out", lambda rows: lay_out(rows, shard_bytes=5 * 4 * 4)
    )
    seen: list[tuple[float, float | None]] = []
    recipe = load_recipe(recipe_of(trio))
    done = run(
        recipe,
        tmp_path / "out",
        sources=sources_from_paths(recipe),
        report=lambda label, at, total=None, facts=None: seen.append((at, total)),
    )
    names = [file.path for file in done.files]
    assert "model.safetensors" not in names
    assert "model-00001-of-00004.safetensors" in names
    assert "model.safetensors.index.json" in names
    assert list(done.files) == list_files(done.folder)
    index = json.loads((done.folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * (24 + 20 + 20 + 4)
    split, whole = read(done.folder), read(tmp_path / "whole")
    assert all(np.array_equal(split[name], whole[name]) for name in whole)
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)
    again = merge(recipe_of((trio[0], done.folder)), tmp_path / "again")
    assert np.allclose(read(again.folder)["model.norm.weight"], whole["model.norm.weight"])


def test_wider_dtypes_come_first_and_are_aligned() -> None:
    rows = [("a", "BF16", (3,)), ("b", "F32", (2,)), ("c", "BOOL", (1,)), ("d", "F32", ())]
    layout = lay_out(rows)
    assert [slot.name for slot in layout.slots] == ["b", "d", "a", "c"]
    assert all(slot.offset % 4 == 0 for slot in layout.slots[:2])
    header = layout.headers["model.safetensors"]
    assert int.from_bytes(header[:8], "little") + 8 == len(header) == layout.slots[0].offset


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_16_bit_inputs_are_rounded_once(tmp_path: Path, write_model: Write, dtype: str) -> None:
    base, one, two = ({"w": array(40, 30)} for _ in range(3))
    folders = [
        write_model(tmp_path / name, held, dtypes={"w": dtype})
        for name, held in {"base": base, "one": one, "two": two}.items()
    ]
    data = recipe_of(tuple(folders), "task_arithmetic", parameters={"weight": 0.3})
    exact = merge(data | {"out_dtype": "float32"}, tmp_path / "exact")
    short = merge(data, tmp_path / "short")
    info = open_model(short.folder).tensors["w"]
    assert info.dtype == dtype
    wide, narrow = read(exact.folder)["w"], read(short.folder)["w"]
    bits = {"BF16": 8, "F16": 11}[dtype]
    assert np.all(np.abs(wide - narrow) <= np.abs(wide) * 2.0**-bits)
    assert not np.array_equal(wide, narrow)
    config = json.loads((exact.folder / "config.json").read_text())
    assert config["dtype"] == "float32"


def test_trim_model_ranks_over_all_tensors(trio: tuple[Path, Path, Path], tmp_path: Path) -> None:
    data = recipe_of(trio, semantics="paper", density=0.37)
    got = read(merge(data, tmp_path / "out").folder)
    names = list(open_model(trio[0]).tensors)
    flat = [np.concatenate([read(folder)[n].ravel() for n in names]) for folder in trio]
    base, *others = flat
    whole = ties(
        base,
        [other - base for other in others],
        weight=[1, 1],
        density=[0.37, 0.37],
        semantics="paper",
        **{**PRESETS["paper"], "trim": "tensor"},
    ).values
    assert np.array_equal(np.concatenate([got[n].ravel() for n in names]), whole)
    tensor = read(merge(recipe_of(trio, density=0.37), tmp_path / "tensor").folder)
    assert not np.array_equal(tensor["model.norm.weight"], got["model.norm.weight"])


def test_equal_magnitudes_over_tensors_are_kept_in_order(
    tmp_path: Path, write_model: Write
) -> None:
    zero = {name: np.zeros(3, np.float32) for name in "abc"}
    ones = {name: np.ones(3, np.float32) for name in "abc"}
    base, one = write_model(tmp_path / "base", zero), write_model(tmp_path / "one", ones)
    got = read(merge(recipe_of((base, one), trim="model", density=0.5), tmp_path / "out").folder)
    assert [got[name].tolist() for name in "abc"] == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]


def test_majority_is_that_of_the_whole_model(tmp_path: Path, write_model: Write) -> None:
    zero = {"a": np.zeros(1, np.float32), "b": np.zeros(3, np.float32)}
    one = {"a": f32([1]), "b": f32([2, 2, 2])}
    two = {"a": f32([-1]), "b": f32([1, 1, 1])}
    folders = tuple(
        write_model(tmp_path / name, held)
        for name, held in {"base": zero, "one": one, "two": two}.items()
    )
    model = read(merge(recipe_of(folders, semantics="paper"), tmp_path / "m").folder)
    assert model["a"].tolist() == [1.0]
    tensor = recipe_of(folders, semantics="paper", trim="tensor")
    assert read(merge(tensor, tmp_path / "t").folder)["a"].tolist() == [-1.0]


def test_shapes_of_no_and_one_entry_and_buffers(tmp_path: Path, write_model: Write) -> None:
    base: dict[str, NDArray[Any]] = {
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(2.0, np.float32),
        "one": f32([[5]]),
        "positions": np.arange(4),
    }
    other = base | {"scalar": np.array(4.0, np.float32), "one": f32([[1]])}
    folders = (write_model(tmp_path / "base", base), write_model(tmp_path / "one", other))
    for method in ("linear", "task_arithmetic", "ties"):
        data = recipe_of(folders, method, parameters={"weight": 1.0})
        done = merge(data | {"base_model": str(folders[0])}, tmp_path / method)
        found = open_model(done.folder).tensors
        assert {n: t.shape for n, t in found.items()} == {n: a.shape for n, a in base.items()}
        assert found["positions"].dtype == "I64"
        assert done.statistics["copied"] == 1
        assert read(done.folder)["scalar"] == (3.0 if method == "linear" else 4.0)


def test_a_base_with_an_adapter_on_it(zoo: Any, tmp_path: Path) -> None:
    data = {
        "merge_method": "task_arithmetic",
        "base_model": f"{zoo.base}+{zoo.lora}",
        "models": [{"model": str(zoo.rslora)}, {"model": str(zoo.sft)}],
        "parameters": {"weight": 1.0},
    }
    got = read(merge(data, tmp_path / "out").folder)
    folded = read(
        merge(
            {
                "merge_method": "linear",
                "models": [{"model": f"{zoo.base}+{zoo.lora}"}],
                "parameters": {"weight": 1.0},
            },
            tmp_path / "folded",
        ).folder
    )
    base, sft = read(zoo.base), read(zoo.sft)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not np.allclose(folded[name], base[name], atol=1e-3)
    both = recipe_of((zoo.base, zoo.lora, zoo.rslora), "task_arithmetic")
    two = read(merge(both, tmp_path / "two").folder)
    np.testing.assert_allclose(
        got[name], two[name] + (sft[name] - folded[name]), rtol=1e-5, atol=1e-6
    )


def test_the_base_without_its_adapter_is_another_model(zoo: Any, tmp_path: Path) -> None:
    data = {
        "merge_method": "task_arithmetic",
        "base_model": f"{zoo.base}+{zoo.lora}",
        "models": [{"model": str(zoo.base)}],
        "parameters": {"weight": 1.0},
    }
    got, base = read(merge(data, tmp_path / "out").folder), read(zoo.base)
    for name, tensor in got.items():
        np.testing.assert_allclose(tensor, base[name], rtol=1e-6, atol=1e-7)


def test_linear_over_adapters_averages_what_stands_on_the_base(zoo: Any, tmp_path: Path) -> None:
    data = {
        "merge_method": "linear",
        "base_model": str(zoo.base),
        "models": [
            {"model": str(zoo.lora), "parameters": {"weight": 3.0}},
            {"model": str(zoo.sft), "parameters": {"weight": 1.0}},
        ],
    }
    got = read(merge(data, tmp_path / "out").folder)
    one = recipe_of((zoo.base, zoo.lora), "task_arithmetic")
    lora, sft = read(merge(one, tmp_path / "lora").folder), read(zoo.sft)
    for name, tensor in got.items():
        wanted = (3 * lora[name].astype(np.float64) + sft[name]) / 4
        np.testing.assert_allclose(tensor, wanted, rtol=1e-5, atol=1e-7)


def test_files_beside_the_weights(trio: tuple[Path, Path, Path], tmp_path: Path) -> None:
    base, one, _ = trio
    vocabulary = {"model": {"vocab": {"a": 0}}, "added_tokens": []}
    for folder in (base, one):
        (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    (base / "tokenizer_config.json").write_text('{"chat_template": "old", "from": "base"}')
    (one / "tokenizer_config.json").write_text('{"from": "one"}')
    (base / "generation_config.json").write_text("{}")
    config = json.loads((base / "config.json").read_text()) | {"auto_map": {"AutoModel": "x.X"}}
    (base / "config.json").write_text(json.dumps(config))
    for name in ("modeling.py", "README.md", "pytorch_model.bin"):
        (base / name).write_text("no")
    done = merge(recipe_of(trio), tmp_path / "plain")
    assert [file.path for file in done.files] == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert "auto_map" not in (done.folder / "config.json").read_text()
    source = merge(recipe_of(trio, tokenizer_source=str(one)), tmp_path / "named")
    assert '"one"' in (source.folder / "tokenizer_config.json").read_text()
    template = "{{ messages }}"
    spoken = merge(recipe_of(trio, chat_template=template), tmp_path / "template").folder
    assert (spoken / "chat_template.jinja").read_text() == template
    assert json.loads((spoken / "tokenizer_config.json").read_text()) == {"from": "base"}


def test_another_vocabulary_is_a_note_or_an_error(
    trio: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    for folder, words in zip(trio, ({"a": 0}, {"b": 0}, {"a": 0}), strict=True):
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": words}}))
    recipe = load_recipe(recipe_of(trio))
    assert plan(recipe, sources_from_paths(recipe)).notes == (
        f"{trio[1]} has another vocabulary than {trio[0]}: tokens are merged by number",
    )
    with pytest.raises(MergeError, match=r"one has another vocabulary than .*base"):
        merge(recipe_of(trio, tokenizer_source="union"), tmp_path / "out")


def test_the_favoured_input_is_the_only_task(trio: tuple[Path, Path, Path]) -> None:
    recipe = load_recipe(recipe_of(trio, slack=0.5))
    found = sources_from_paths(recipe)
    roles = {label: one._replace(role="task") for label, one in found.items()}
    chosen = plan(recipe, found | {str(trio[2]): roles[str(trio[2])]})
    assert chosen.favoured == 1
    assert chosen.describe()["favoured"] == str(trio[2])
    for sources, count in ((found, "no input is"), (roles, "2 inputs are")):
        with pytest.raises(ConfigError, match=count) as error:
            plan(recipe, sources)
        assert all(str(folder) in str(error.value) for folder in trio[1:])


def test_a_plan_is_data_and_reads_no_weight(zoo: Any, tmp_path: Path) -> None:
    models = [{"model": str(zoo.sft)}, {"model": str(zoo.lora)}]
    recipe = load_recipe(recipe_of((zoo.base,), density=[0.2, 0.6]) | {"models": models})
    todo = plan(recipe, sources_from_paths(recipe))
    told = json.loads(json.dumps(todo.describe(), allow_nan=False))
    assert told["inputs"][1]["ranks"] == [4]
    assert told["inputs"][1]["model"] == str(zoo.base)
    size = (zoo.base / "model.safetensors").stat().st_size
    assert 2 * size < told["read_bytes"] < 2.5 * size
    assert told["write_bytes"] == todo.layout.sizes["model.safetensors"]
    jobs = {job["name"]: job for job in told["jobs"]}
    assert len(jobs) == 21
    last = jobs["model.layers.1.mlp.up_proj.weight"]
    assert last["inputs"][str(zoo.lora)] == {"weight": 1.0, "density": pytest.approx(0.6)}
    assert jobs["model.norm.weight"]["inputs"][str(zoo.lora)]["density"] == pytest.approx(0.2)
    out = tmp_path / "out"
    assert run(recipe, out, sources=sources_from_paths(recipe)).files
    assert (out / "model.safetensors").stat().st_size == told["write_bytes"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties"])
def test_a_weight_that_is_no_number_is_named(
    tmp_path: Path, write_model: Write, value: float, method: str
) -> None:
    bad = f32([1, value])
    base = write_model(tmp_path / "base", {"v": f32([1, 2]), "w": f32([1, 2])})
    one = write_model(tmp_path / "one", {"v": f32([1, 2]), "w": bad})
    with pytest.raises(NonFinite, match=r"tensor w of .*one holds NaN or infinity"):
        merge(recipe_of((base, one), method), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "one"]


def test_a_result_too_large_for_its_dtype_is_named(tmp_path: Path, write_model: Write) -> None:
    base = write_model(tmp_path / "base", {"w": f32([0])})
    one = write_model(tmp_path / "one", {"w": f32([60000])})
    data = recipe_of((base, one), "task_arithmetic", parameters={"weight": 2})
    with pytest.raises(NonFinite, match="merge of tensor w is too large for F16"):
        merge(data | {"out_dtype": "float16"}, tmp_path / "out")
    huge = data | {"parameters": {"weight": 1e38, "lambda": 1e38}}
    with pytest.raises(NonFinite, match="too large for F32"):
        merge(huge, tmp_path / "out")


def test_an_interrupted_merge_leaves_nothing(trio: tuple[Path, Path, Path], tmp_path: Path) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    recipe = load_recipe(recipe_of(trio))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "out", sources=sources_from_paths(recipe), report=stop)
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_is_one_line(trio: tuple[Path, Path, Path], tmp_path: Path) -> None:
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))" + SCRIPT
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(recipe_of(trio)))
    out = tmp_path / "deep" / "out"
    command = [sys.executable, "-c", script, str(recipe), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "isogloss.errors.MergeError: no room for" in done.stderr
    assert list(out.parent.iterdir()) == []


def test_an_occupied_target_is_refused(trio: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        merge(recipe_of(trio), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_text() == "mine"


def test_a_name_without_a_source(trio: tuple[Path, Path, Path]) -> None:
    recipe = load_recipe(recipe_of(trio))
    with pytest.raises(MergeError, match="has no source"):
        plan(recipe, {str(trio[0]): Source(str(trio[0]), trio[0])})
