"""YAML from people to typed objects: unknown keys are errors with the nearest known key.

Recipes, suites, presets and experiment files all derive from :class:`Strict` and come in
through :func:`parse`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from isogloss.errors import ConfigError, did_you_mean


class Strict(BaseModel):
    """An immutable pydantic model that refuses keys it doesn't know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T", bound=BaseModel)


def load_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ConfigError: it is missing, not UTF-8, or not YAML; the message has the line.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(f"{path} is not a file", expected="a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8", expected="a YAML file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{path}{where}: {problem}", expected="YAML") from error
    except ValueError as error:  # a date such as 2024-13-45
        raise ConfigError(f"{path}: {error}", expected="YAML") from error


def parse(kind: type[T], data: Any, where: str) -> T:
    """``data`` as a ``kind``; the first thing wrong becomes one ConfigError.

    Args:
        where: what a person would call the source ("recipe.yaml", "preset cpu-small").

    Raises:
        ConfigError: names the key, what stands there, and what may.
    """
    if data is None:
        raise ConfigError(f"{where} is empty", expected="keys and values")
    if not isinstance(data, dict):
        raise ConfigError(f"{where} holds {type(data).__name__}", expected="keys and values")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise _explained(error, kind, where) from error


def _explained(error: ValidationError, kind: type[BaseModel], where: str) -> ConfigError:
    # An unknown key is the likelier mistake than whatever else it makes fail.
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    # Where a value may be one of several models, pydantic puts the model's name into the path.
    named = {model.__name__ for model in Strict.__subclasses__()}
    path = ".".join(str(part) for part in found["loc"] if part not in named)
    if found["type"] == "extra_forbidden":
        key = str(found["loc"][-1])
        known = _fields_at(kind, found["loc"][:-1])
        return ConfigError(f"{where} has an unknown key {path!r}", hint=did_you_mean(key, known))
    if found["type"] == "missing":
        return ConfigError(f"{where} lacks the key {path!r}")
    message = found["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|List|Tuple|Dictionary) should (be|have) ", "", message)
    given = repr(found["input"])
    given = given if len(given) <= 60 else given[:57] + "…"
    return ConfigError(f"{where}: {path or 'top level'} is {given}", expected=message)


def _fields_at(kind: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The field names of the model that stands at ``loc`` below ``kind``, as far as types tell."""
    models = [kind]
    for part in loc:
        inner: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(str(part))
            inner += _models_in(field.annotation) if field else []
        models = inner or models
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]
