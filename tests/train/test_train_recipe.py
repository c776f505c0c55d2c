"""Recipes: presets, overrides, and what is refused."""

from __future__ import annotations

import pytest

from isogloss.errors import ConfigError
from isogloss.train import load_recipe, presets
from isogloss.train.shapes import parse_shape


def test_every_preset_loads_and_alpha_is_filled_in() -> None:
    assert "cpu-small" in presets()
    for name in presets():
        assert load_recipe(name).normalised()["alpha"] > 0


def test_overrides_win_over_the_preset() -> None:
    assert load_recipe("cpu-small", {"rank": 4}).rank == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learning_rat": 1}, "learning_rate"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"seed": 2**32}, "less than"),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"epochs": -1}, "greater than 0"),
        ({"overlap": 8}, "documents: joined"),
        ({"documents": "joined", "overlap": 256}, "shorter than sequence_length"),
        ({"batch_tokens": 64}, "batch_tokens of at least"),
        ({"schedule": "step"}, "'cosine'"),
    ],
)
def test_bad_settings_are_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(overrides=overrides)


def test_an_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cpu-small'"):
        load_recipe("cpu-smal")


@pytest.mark.parametrize("text", ["llama", "llama:128", "llama:100x2", "gpt:128x2", "llama:0x2"])
def test_bad_shapes(text: str) -> None:
    with pytest.raises(ConfigError, match="HIDDENxLAYERS"):
        parse_shape(text)
