"""A recipe: what a person writes about a merge, checked and typed.

The language is mergekit's, and means what it means there; more is added, nothing redefined:
``semantics``, ``trim``, ``elect``, ``zero_sum``, ``slack`` (method parameters, which may stand
among ``parameters`` or at the top), ``seed``, ``output``, ``name`` and ``note``. An unknown key is
an error at every level.

::

    merge_method: ties
    base_model: base:1
    models:
      - {model: pcm-cpt, parameters: {weight: 1.0, density: 0.5}}
      - {model: sentiment, parameters: {weight: 0.6, density: 0.5}}
    slack: {mode: relative, value: 0.5, favoured: sentiment}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field

from isogloss.config import Strict, load_yaml, parse
from isogloss.errors import ConfigError, did_you_mean
from isogloss.merge.methods import METHODS, Method
from isogloss.merge.parameters import check

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""The names of the three float dtypes in recipes, and in safetensors."""


Parameters = Annotated[
    dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)
]


class Entry(Strict):
    """One input of a merge."""

    model: str
    parameters: Parameters = Field(default_factory=dict)


class SliceSource(Entry):
    """One input of a slice, with the layers it gives: ``[first, after the last]``."""

    layer_range: tuple[int, int]


class Slice(Strict):
    """Layers of the output; the one that is supported covers all layers of every input."""

    sources: tuple[SliceSource, ...]
    parameters: Parameters = Field(default_factory=dict)


class Tokenizer(Strict):
    """mergekit's ``tokenizer``."""

    source: str = "union"
    tokens: dict[str, Any] | None = None
    pad_to_multiple_of: int | None = None


class Recipe(Strict):
    """A checked recipe; parameters are in canonical form (:mod:`isogloss.merge.parameters`)."""

    merge_method: str
    base_model: str | None = None
    models: tuple[Entry, ...] = ()
    slices: tuple[Slice, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    dtype: str | None = None
    """As ``out_dtype``, which wins; the arithmetic is in float32 whatever is asked."""
    out_dtype: str | None = None
    """dtype of the output's floats; the base's where neither is given."""
    tokenizer_source: str | None = None
    tokenizer: Tokenizer | None = None
    chat_template: str | None = None
    """A Jinja template, for the output's tokenizer."""
    output: Literal["model"] = "model"
    seed: int | None = None
    """Recorded; no method here draws random numbers."""
    name: str | None = None
    note: str | None = None

    @property
    def method(self) -> Method:
        """The method's entry in :data:`isogloss.merge.METHODS`."""
        return METHODS[self.merge_method]

    @property
    def inputs(self) -> tuple[Entry, ...]:
        """The inputs, in the recipe's order, those of a slice too."""
        return self.slices[0].sources if self.slices else self.models

    @property
    def token_source(self) -> str | None:
        """What the recipe says of where the tokenizer comes from."""
        return self.tokenizer.source if self.tokenizer else self.tokenizer_source

    def names(self) -> tuple[str, ...]:
        """Every string to be resolved, once: base, inputs in order, the tokenizer's source."""
        found = [self.base_model, *(entry.model for entry in self.inputs)]
        if self.token_source not in (None, "base", "union"):
            found.append(self.token_source)
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def normalised(self) -> dict[str, Any]:
        """The recipe as JSON data with every default of the method filled in.

        It is itself a recipe, and normalising it again changes nothing; digests and records are
        taken of it.
        """
        data = self.model_dump(mode="json", exclude_none=True, exclude={"parameters"})
        data = {key: value for key, value in data.items() if value not in ([], {})}
        parameters = dict(self.parameters)
        for parameter in self.method.parameters:
            if not parameter.required and parameter.default is not None:
                parameters.setdefault(parameter.name, parameter.default)
        preset = self.method.presets.get(str(parameters.get("semantics")), {})
        parameters |= {key: value for key, value in preset.items() if key not in self.parameters}
        return data | {"parameters": dict(sorted(parameters.items()))}


def load_recipe(source: Path | str | Mapping[str, Any]) -> Recipe:
    """A recipe from a YAML file, YAML text, or data.

    Args:
        source: a text with more than one line is YAML; of one line, it is a file's path.

    Raises:
        ConfigError: names the key, what stands there, and what may.

    >>> models = [{"model": "a"}, {"model": "b"}]
    >>> load_recipe({"merge_method": "linear", "models": models, "weight": 1}).names()
    ('a', 'b')
    """
    where = "recipe"
    data: Any = source
    if isinstance(source, str) and "\n" in source.strip():
        data = _from_text(source)
    elif isinstance(source, str | Path):
        data, where = load_yaml(Path(source)), str(source)
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} holds {type(data).__name__}", expected="keys and values")
    method = _method(data, where)
    recipe = parse(Recipe, _gathered(dict(data), method, where), where)
    _check_shape(recipe, where)
    return _checked(recipe, where)


def _from_text(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"recipe{line} is not YAML", expected="YAML") from error


def _method(data: Mapping[str, Any], where: str) -> Method:
    if "merge_method" not in data:
        for key in data:
            if did_you_mean(str(key), ["merge_method"]).startswith("did"):
                raise ConfigError(
                    f"{where} has an unknown key {key!r}", hint="did you mean 'merge_method'?"
                )
        raise ConfigError(
            f"{where} lacks the key 'merge_method'",
            expected=", ".join(sorted(METHODS)),
            hint="type: isogloss merge methods",
        )
    name = data["merge_method"]
    if name not in METHODS:
        hint = did_you_mean(str(name), METHODS)
        raise ConfigError(f"{where}: merge_method {name!r} is not known here", hint=hint)
    return METHODS[name]


def _gathered(data: dict[str, Any], method: Method, where: str) -> dict[str, Any]:
    """``data`` with method parameters of the top level moved to ``parameters``."""
    fields = list(Recipe.model_fields)
    if data.pop("modules", None):
        raise ConfigError(
            f"{where} has 'modules'",
            expected="models",
            hint="merging the modules of a model apart isn't supported",
        )
    if data.get("output") == "adapter":
        raise ConfigError(
            f"{where} asks for output: adapter",
            expected="output: model",
            hint="merges are written as whole models: their sum has a higher rank than any input",
        )
    lifted: dict[str, Any] = {}
    shared = [p.name for p in method.parameters]
    for key in list(data):
        if key in fields:
            continue
        if key not in shared:
            hint = did_you_mean(str(key), [*fields, *shared])
            raise ConfigError(f"{where} has an unknown key {key!r}", hint=hint)
        lifted[key] = data.pop(key)
    # mergekit reads a key without a value as one that isn't there.
    data = {key: value for key, value in data.items() if value is not None}
    parameters = data.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise ConfigError(f"{where}: parameters is {parameters!r}", expected="keys and values")
    for key in lifted.keys() & parameters.keys():
        raise ConfigError(f"{where} sets {key!r} twice, at the top and in parameters")
    return data | {"parameters": {**parameters, **lifted}}


def _check_shape(recipe: Recipe, where: str) -> None:
    if bool(recipe.models) == bool(recipe.slices):
        found = "both models and slices" if recipe.models else "neither models nor slices"
        raise ConfigError(f"{where} has {found}", expected="a list of models")
    if len(recipe.slices) > 1:
        raise ConfigError(
            f"{where} has {len(recipe.slices)} slices",
            expected="models, or one slice over all layers",
            hint="stacking layers of different models isn't supported",
        )
    labels = [entry.model for entry in recipe.inputs]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"{where} has the model {label!r} twice", hint="add up its weights")
    for key in ("dtype", "out_dtype"):
        value = getattr(recipe, key)
        if value is not None and value.removeprefix("torch.") not in DTYPES:
            hint = did_you_mean(value, DTYPES)
            raise ConfigError(f"{where}: {key} is {value!r}", expected=", ".join(DTYPES), hint=hint)
    if recipe.tokenizer and recipe.tokenizer_source:
        raise ConfigError(f"{where} has both tokenizer and tokenizer_source", expected="one")
    if recipe.tokenizer and (recipe.tokenizer.tokens or recipe.tokenizer.pad_to_multiple_of):
        raise ConfigError(
            f"{where}: tokenizer changes the vocabulary",
            expected="only a source",
            hint="tokens and pad_to_multiple_of aren't supported: give the models one vocabulary",
        )
    if recipe.chat_template is not None and "{" not in recipe.chat_template:
        raise ConfigError(
            f"{where}: chat_template is {recipe.chat_template!r}",
            expected="a Jinja template",
            hint="names of templates and 'auto' aren't supported: write the template itself",
        )
    if recipe.method.space == "deltas":
        if recipe.base_model is None:
            raise ConfigError(f"{where} has no base_model, which {recipe.merge_method} needs")
        if labels == [recipe.base_model]:
            raise ConfigError(f"{where} merges nothing into its base", expected="another model")


def _checked(recipe: Recipe, where: str) -> Recipe:
    """``recipe`` with every parameter in canonical form."""
    method = recipe.method
    shared = check(method, recipe.parameters, f"parameters of {where}", place="recipe")

    def entry(kind: Any, index: int) -> dict[str, Any]:
        place = f"parameters of {kind.model!r} (input {index + 1} of {where})"
        return {"parameters": check(method, kind.parameters, place, place="input")}

    models = tuple(
        one.model_copy(update=entry(one, index)) for index, one in enumerate(recipe.models)
    )
    slices = tuple(
        Slice(
            sources=tuple(
                one.model_copy(update=entry(one, index)) for index, one in enumerate(part.sources)
            ),
            parameters=check(method, part.parameters, f"slices[0] of {where}", place="slice"),
        )
        for part in recipe.slices
    )
    short = {
        key: value.removeprefix("torch.")
        for key in ("dtype", "out_dtype")
        if (value := getattr(recipe, key)) is not None
    }
    update = {"parameters": shared, "models": models, "slices": slices, **short}
    checked = recipe.model_copy(update=update)
    _check_favoured(checked, where)
    return checked


def _check_favoured(recipe: Recipe, where: str) -> None:
    slack = recipe.parameters.get("slack")
    if not slack or slack["favoured"] is None:
        return
    inputs = [entry.model for entry in recipe.inputs if entry.model != recipe.base_model]
    if slack["favoured"] not in inputs:
        raise ConfigError(
            f"{where}: slack favours {slack['favoured']!r}, which is not an input",
            hint=did_you_mean(slack["favoured"], inputs),
        )
