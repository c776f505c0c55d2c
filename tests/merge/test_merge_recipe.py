"""The recipe's language: canonical form, gradients, filters, and what normalising keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import ConfigError, InputError
from isogloss.merge import METHODS, Source, load_recipe, sources_from_paths
from isogloss.merge.parameters import at, depth

YAML = """
merge_method: ties
base_model: base:1
models:
  - model: base:1
  - model: pcm-cpt
    parameters: {weight: 1e-1, density: [0.2, 0.8]}
  - model: base:1+sentiment
    parameters:
      weight:
        - {filter: mlp, value: 0.5}
        - value: 1
tokenizer_source: pcm-cpt
normalize: true
slack: {mode: margin, value: [0, 1], favoured: pcm-cpt}
parameters:
  lambda: 0.9
dtype: bfloat16
note: first try
"""


def test_yaml_text_file_and_data_are_one(tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(YAML)
    assert load_recipe(YAML) == load_recipe(path) == load_recipe(str(path))
    assert load_recipe(yaml.safe_load(YAML)) == load_recipe(YAML)


def test_names_come_base_first_and_once() -> None:
    assert load_recipe(YAML).names() == ("base:1", "pcm-cpt", "base:1+sentiment")


def test_normalising_fills_in_defaults_and_presets() -> None:
    data = load_recipe(YAML).normalised()
    assert data["parameters"] == {
        "density": 1.0,
        "elect": "weighted",
        "int8_mask": False,
        "lambda": 0.9,
        "normalize": "weights",
        "rescale": False,
        "semantics": "mergekit",
        "slack": {"mode": "margin", "value": [0.0, 1.0], "favoured": "pcm-cpt", "unit": "rms"},
        "trim": "tensor",
        "zero_sum": "positive",
    }
    assert data["models"][1]["parameters"] == {"weight": 0.1, "density": [0.2, 0.8]}
    assert data["output"] == "model"
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize("semantics", ["mergekit", "paper", "peft"])
def test_what_is_given_wins_over_its_preset(semantics: str) -> None:
    recipe = {
        "merge_method": "ties",
        "base_model": "b",
        "models": [{"model": "m"}],
        "parameters": {"weight": 1, "semantics": semantics, "elect": "weighted"},
    }
    parameters = load_recipe(recipe).normalised()["parameters"]
    assert parameters["elect"] == "weighted"
    assert parameters["trim"] == ("model" if semantics == "paper" else "tensor")
    assert parameters["zero_sum"] == ("majority" if semantics == "paper" else "positive")


NUMBERS = st.floats(0, 1).map(lambda x: round(x, 3))
SETTINGS = (
    NUMBERS
    | st.lists(NUMBERS, min_size=1, max_size=3)
    | st.lists(
        st.fixed_dictionaries({"filter": st.sampled_from(["mlp", "*", None]), "value": NUMBERS}),
        min_size=1,
        max_size=3,
    )
)


@given(st.sampled_from(list(METHODS)), SETTINGS, SETTINGS, st.integers(0, 9) | st.none())
def test_a_normalised_recipe_is_a_recipe_that_normalises_to_itself(
    method: str, weight: Any, shared: Any, seed: int | None
) -> None:
    recipe = {
        "merge_method": method,
        "base_model": "b",
        "models": [{"model": "m", "parameters": {"weight": weight}}, {"model": "n"}],
        "parameters": {"weight": shared},
        "seed": seed,
    }
    once = load_recipe(recipe).normalised()
    assert load_recipe(once).normalised() == once


def test_slack_as_a_number() -> None:
    recipe = {"merge_method": "ties", "base_model": "b", "models": [{"model": "m"}], "slack": 0.5}
    slack = load_recipe(recipe).normalised()["parameters"]["slack"]
    assert slack == {"mode": "relative", "value": 0.5, "favoured": None}


@pytest.mark.parametrize(
    ("name", "layers", "wanted"),
    [
        ("model.layers.0.mlp.up_proj.weight", 3, 0.0),
        ("model.layers.2.mlp.experts.7.w1.weight", 3, 1.0),
        ("transformer.h.1.attn.c_attn.weight", 5, 0.25),
        ("model.embed_tokens.weight", 3, 0.0),
        ("lm_head.weight", 3, 0.0),
        ("model.layers.0.mlp.up_proj.weight", 1, 1.0),
        ("visual.merger.mlp.2.weight", 5, 0.0),
    ],
)
def test_depth(name: str, layers: int, wanted: float) -> None:
    assert depth(name, layers) == wanted


def test_the_first_filter_that_holds_decides() -> None:
    setting = [{"filter": "mlp", "value": [0.0, 1.0]}, {"filter": "mlp.up", "value": 9.0}]
    assert at(setting, "mlp.up.weight", 0.25) == 0.25
    assert at(setting, "attn.weight", 0.25) is None
    assert at([True, False, True], "w", 0.9) is False
    assert at([0.5], "w", 0.7) == 0.5


def test_folders_become_sources(tmp_path: Path) -> None:
    for name in ("base", "full", "a+b", "lora"):
        (tmp_path / name).mkdir()
    (tmp_path / "lora/adapter_config.json").write_text("{}")
    labels = [str(tmp_path / name) for name in ("full", "a+b", "lora")]
    labels.append(f"{tmp_path / 'full'}+{tmp_path / 'lora'}")
    recipe = load_recipe(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(tmp_path / "base"),
            "models": [{"model": label} for label in labels],
            "parameters": {"weight": 1},
        }
    )
    found = sources_from_paths(recipe)
    assert list(found) == list(recipe.names())
    full, plus, lora, both = (found[label] for label in labels)
    assert full == Source(labels[0], tmp_path / "full")
    assert plus == Source(labels[1], tmp_path / "a+b")
    assert lora == Source(labels[2], None, tmp_path / "lora")
    assert both == Source(labels[3], tmp_path / "full", tmp_path / "lora")


@pytest.mark.parametrize("label", ["nowhere", "{0}/base+nowhere", "nowhere+{0}/base"])
def test_a_string_that_is_no_folder(label: str, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    recipe = load_recipe(
        {"merge_method": "linear", "models": [{"model": label.format(tmp_path)}], "weight": 1}
    )
    with pytest.raises(InputError, match="nowhere is not a folder"):
        sources_from_paths(recipe)


def recipe(**changes: Any) -> dict[str, Any]:
    """A ties recipe of one input, with changes; None takes a key away."""
    whole = {
        "merge_method": "ties",
        "base_model": "b",
        "models": [{"model": "m", "parameters": {"weight": 1}}],
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def entry(**parameters: Any) -> list[dict[str, Any]]:
    return [{"model": "m", "parameters": {"weight": 1} | parameters}]


def source(first: int, last: int) -> dict[str, Any]:
    return {"model": "m", "layer_range": [first, last]}


BAD: list[tuple[dict[str, Any], str]] = [
    (recipe(merge_method=None), "lacks the key 'merge_method'"),
    (
        recipe(merge_method=None, merge_methd="ties"),
        "unknown key 'merge_methd'; did you mean 'merge_method'",
    ),
    (recipe(merge_method="tise"), "did you mean 'ties'"),
    (recipe(modles=[]), "did you mean 'models'"),
    (recipe(models=[{"modle": "m"}]), "did you mean 'model'"),
    (recipe(models=entry(densty=0.5)), "did you mean 'density'"),
    (recipe(parameters={"lamda": 1}), "did you mean 'lambda'"),
    (recipe(slak=0.5), "did you mean 'slack'"),
    (recipe(slack={"mode": "relative", "vlaue": 1}), "did you mean 'value'"),
    (recipe(slack={"mode": "realtive", "value": 1}), "did you mean 'relative'"),
    (recipe(slack={"mode": "margin"}), "has no value"),
    (recipe(slack=-0.5), "at least 0"),
    (recipe(slack={"mode": "protect", "value": 1.5}), "from 0 to 1"),
    (recipe(slack={"value": 1, "unit": "rms"}), "unit has no meaning in mode relative"),
    (recipe(slack={"mode": "margin", "value": 1, "unit": "meter"}), "rms, absolute"),
    (recipe(slack={"value": 1, "favoured": "n"}), "favours 'n', which is not an input"),
    (recipe(slack={"value": 1, "favoured": "b"}), "favours 'b', which is not an input"),
    (recipe(slack={"value": 1, "favoured": 2}), "a model of the recipe"),
    (recipe(models=entry(weight="heavy")), "'heavy'; expected a finite number"),
    (recipe(models=entry(weight=float("nan"))), "expected a finite number"),
    (recipe(models=entry(weight=True)), "expected a finite number"),
    (recipe(models=entry(density=1.5)), "is 1.5; expected from 0 to 1"),
    (recipe(models=entry(density=[0.5, -1])), "is -1; expected from 0 to 1"),
    (recipe(models=entry(weight=[])), "empty list"),
    (recipe(models=entry(weight=[1, {"value": 2}])), "mixes 1 with conditionals"),
    (recipe(models=entry(weight=[{"value": 2, "fliter": "mlp"}])), "did you mean 'filter'"),
    (recipe(models=entry(weight=[{"filter": "mlp"}])), "conditional without a value"),
    (recipe(models=entry(weight=[{"filter": 3, "value": 1}])), "a part of a tensor's name"),
    (recipe(models=entry(weight={"value": [{"value": 2}]})), "nests conditionals"),
    (recipe(models=entry(normalize=True)), "once for the whole merge"),
    (recipe(semantics="papre"), "did you mean 'paper'"),
    (recipe(semantics=["paper", "peft"]), "one of mergekit, paper, peft"),
    (recipe(normalize="cuont"), "true, false, weights, count, none"),
    (recipe(normalize=True, parameters={"normalize": True}), "twice"),
    (recipe(parameters=[1]), "parameters is [1]"),
    (recipe(rescale="perhaps"), "true or false"),
    (recipe(models=None), "neither models nor slices"),
    (recipe(models=[*entry(), *entry()]), "the model 'm' twice"),
    (recipe(models=[{"model": "b"}]), "merges nothing into its base"),
    (recipe(base_model=None), "no base_model, which ties needs"),
    (recipe(modules={"text": {}}), "'modules'; expected models"),
    (recipe(slices=[{"sources": [source(0, 2)]}]), "both models and slices"),
    (recipe(models=None, slices=[{"sources": [source(0, 2)]}] * 2), "2 slices"),
    (recipe(dtype="bfloat61"), "did you mean 'bfloat16'"),
    (recipe(out_dtype="int8"), "float32, float16, bfloat16"),
    (recipe(output="adapter"), "asks for output: adapter"),
    (recipe(chat_template="auto"), "expected a Jinja template"),
    (recipe(tokenizer={"source": "base", "pad_to_multiple_of": 8}), "changes the vocabulary"),
    (recipe(tokenizer={"sorce": "base"}), "did you mean 'source'"),
    (recipe(tokenizer={"source": "base"}, tokenizer_source="base"), "both tokenizer and"),
    (recipe(seed="one"), "seed is 'one'"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_recipe_is_one_line(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe(data)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [1\nb: 2\n", "just\nwords\n"])
def test_text_that_is_no_recipe(text: str) -> None:
    with pytest.raises(ConfigError):
        load_recipe(text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a file"):
        load_recipe(tmp_path / "none.yaml")
