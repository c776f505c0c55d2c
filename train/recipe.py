"""What a training run is told: one flat recipe with defaults, presets, and overrides.

A preset is a YAML file of these keys beside this module; ``--set key=value`` and the ``recipe:``
of an experiment override single keys. The normalised recipe is what the ``step`` digest sees, so
every key here changes the result and nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from isogloss.config import Strict, parse
from isogloss.errors import ConfigError, did_you_mean


class TrainRecipe(Strict):
    """Every setting of ``train base``, ``train cpt`` and ``train sft``.

    Raises (through :func:`load_recipe`):
        ConfigError: an unknown key, or a value out of range.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    # -- steps and batches
    epochs: float = Field(1.0, gt=0)
    """Passes over the packed rows."""
    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps; overrides ``epochs``."""
    sequence_length: int = Field(256, ge=8)
    """Tokens in a packed row."""
    batch_tokens: int = Field(4096, ge=8)
    """Tokens in one optimizer step, all accumulation and processes together."""
    micro_tokens: int | None = Field(None, ge=8)
    """Tokens in one forward pass; None means ``batch_tokens``."""
    documents: Literal["apart", "joined"] = "apart"
    """``apart``: positions restart and attention stops at each document; ``joined``: one stream."""
    overlap: int = Field(0, ge=0)
    """Tokens that one row repeats from the row before; only with ``documents: joined``."""

    # -- optimiser (AdamW)
    learning_rate: float = Field(3e-4, gt=0)
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly from 0."""
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    seed: int = Field(0, ge=0, lt=2**32)

    # -- what is trained
    full: bool = False
    """All weights instead of a LoRA adapter."""
    rank: int = Field(16, ge=1)
    alpha: float | None = Field(None, gt=0)
    """LoRA scale times rank; None means 2·rank (arXiv 2405.09673)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    rslora: bool = False
    targets: str | list[str] = "all-linear"
    """Module names, or ``all-linear``: every linear layer but the head."""

    # -- the machine
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward and backward pass; weights and optimiser stay float32. ``auto`` is
    bfloat16 where the machine computes in it, else float32."""
    gradient_checkpointing: bool = False

    # -- replay of other text against forgetting
    replay_share: float = Field(0.0, ge=0, lt=1)
    """Share of all tokens that come from the replay corpus."""
    replay_loss: float | None = Field(None, ge=0, lt=1)
    """Share of the loss that replay tokens carry; None weighs every token alike. In ``sft`` an
    answer is a few tokens and a replayed row hundreds, so this is the one to set there."""

    # -- sft
    prompt: str = "{text}\nSentiment:"
    """What stands before the answer; ``{field}`` is a field of the row."""
    answer: str = " {label}"
    """What the loss is on."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainRecipe:
        if self.overlap and self.documents == "apart":
            raise ValueError("no overlap with documents: apart (set documents: joined)")
        if self.overlap >= self.sequence_length:
            raise ValueError("an overlap shorter than sequence_length")
        if self.batch_tokens < self.sequence_length:
            raise ValueError("batch_tokens of at least sequence_length")
        return self

    @property
    def scale(self) -> float:
        """LoRA's alpha with its default filled in."""
        return 2.0 * self.rank if self.alpha is None else self.alpha

    def normalised(self) -> dict[str, Any]:
        """JSON data with every default filled in."""
        return {**self.model_dump(mode="json"), "alpha": self.scale}


def load_recipe(
    preset: str | None = None, overrides: Mapping[str, Any] | None = None, where: str = "recipe"
) -> TrainRecipe:
    """A preset's recipe with single keys overridden.

    >>> load_recipe(overrides={"rank": 8}).scale
    16.0

    Raises:
        ConfigError: no such preset, an unknown key, a value out of range.
    """
    data: dict[str, Any] = {}
    if preset is not None:
        if preset not in presets():
            raise ConfigError(f"no preset {preset!r}", hint=did_you_mean(preset, presets()))
        text = (resources.files("isogloss.train") / "presets" / f"{preset}.yaml").read_text("utf-8")
        data |= yaml.safe_load(text)
    return parse(TrainRecipe, data | dict(overrides or {}), where)


def presets() -> list[str]:
    """The names of the presets that come with isogloss."""
    folder = resources.files("isogloss.train") / "presets"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith("yaml"))
