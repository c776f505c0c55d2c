"""What a string of a recipe became: folders."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from isogloss.errors import InputError
from isogloss.merge.recipe import Recipe
from isogloss.refs import split_lora
from isogloss.settings import expand


class Source(NamedTuple):
    """The folders behind one label of a recipe, and what the registry knows of it."""

    label: str
    """As written in the recipe."""
    model: Path | None = None
    """A transformers model folder; None: the recipe's base."""
    adapter: Path | None = None
    """A PEFT adapter folder, applied to ``model``."""
    role: str | None = None
    """``task``, ``dialect`` …"""
    content: str | None = None
    """``content`` digest of the model or, where there is one, of the adapter."""


def sources_from_paths(recipe: Recipe) -> dict[str, Source]:
    """The sources of a recipe whose strings are all folders, ``model+lora`` included.

    Raises:
        InputError: a string names no folder.
    """
    return {name: _source(name) for name in recipe.names()}


def _source(label: str) -> Source:
    whole = Path(expand(label))
    if whole.is_dir():
        return _folder(label, whole)
    model, lora = split_lora(label)
    base, adapter = Path(expand(model)), Path(expand(lora)) if lora else None
    if lora and base.is_dir() and adapter and adapter.is_dir():
        return Source(label, base, adapter)
    missing = base if not base.is_dir() or adapter is None else adapter
    raise InputError(
        f"{missing} is not a folder",
        expected="a model or adapter folder, or model+adapter",
        hint="names of a registry work with: isogloss merge run RECIPE --name NAME",
    )


def _folder(label: str, folder: Path) -> Source:
    if (folder / "adapter_config.json").is_file():
        return Source(label, None, folder)
    return Source(label, folder)
