"""From a recipe and headers to jobs: what will be read, computed and written, tensor by tensor.

Whatever a header, a configuration or the recipe can tell to be wrong is found here, before a
weight is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from isogloss.errors import ConfigError, MergeError
from isogloss.merge.checkpoint import Layout, Slot, TensorInfo, lay_out
from isogloss.merge.donor import Donor, find_donor
from isogloss.merge.inputs import Input, compare, describe_input, open_inputs, reads
from isogloss.merge.kernels import FLOATS
from isogloss.merge.parameters import depth, first, has_gradient
from isogloss.merge.recipe import DTYPES, Recipe
from isogloss.merge.slack import LABEL
from isogloss.merge.sources import Source

_DEPTH_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


class Job(NamedTuple):
    """One tensor of the output."""

    slot: Slot
    merged: bool
    """False: not a float; copied from the base, and refused unless equal in every input."""
    shared: Mapping[str, Any]
    """Parameters that are one for all inputs, resolved for this tensor."""
    per_input: Mapping[str, tuple[Any, ...]]
    """Parameters of each input, in the order of ``Plan.inputs``."""

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.slot.name


class Plan(NamedTuple):
    """Everything that a run needs."""

    recipe: Recipe
    base: Input
    """θ₀; for a method on weights, the model whose tensors the output has."""
    inputs: tuple[Input, ...]
    """In the order of the recipe; a method on deltas has no base among them."""
    jobs: tuple[Job, ...]
    """In the order of writing."""
    layout: Layout
    donor: Donor
    favoured: int | None
    """Index of the input that slack favours."""
    notes: tuple[str, ...]

    @property
    def read_bytes(self) -> int:
        """Bytes of weights that one pass reads."""
        return sum(t.size for one in (self.base, *self.inputs) for t in reads(one, self.base))

    @property
    def write_bytes(self) -> int:
        """Bytes of the output's weight files."""
        return sum(self.layout.sizes.values())

    def describe(self) -> dict[str, Any]:
        """JSON data for ``merge plan``."""
        method = self.recipe.method
        return {
            "method": method.name,
            "title": method.title,
            "paper": method.paper,
            "recipe": self.recipe.normalised(),
            "base": describe_input(self.base),
            "inputs": [describe_input(one) for one in self.inputs],
            "favoured": None if self.favoured is None else self.inputs[self.favoured].label,
            "config_from": str(self.donor.config),
            "tokenizer_from": str(self.donor.tokenizer) if self.donor.tokenizer else None,
            "read_bytes": self.read_bytes,
            "write_bytes": self.write_bytes,
            "files": dict(self.layout.sizes),
            "jobs": [_describe_job(job, self.inputs) for job in self.jobs],
            "notes": list(self.notes),
        }


def _describe_job(job: Job, inputs: Sequence[Input]) -> dict[str, Any]:
    each = {
        one.label: {key: values[i] for key, values in job.per_input.items()}
        for i, one in enumerate(inputs)
    }
    return job.slot._asdict() | {"merged": job.merged, "shared": dict(job.shared), "inputs": each}


def plan(recipe: Recipe, sources: Mapping[str, Source]) -> Plan:
    """Check ``recipe`` against the headers of its sources and lay out the output.

    Args:
        sources: one for each of ``recipe.names()``.

    Raises:
        ConfigError: a parameter is missing or can't be for some tensor.
        CheckpointError, AdapterError, UnsafeInput: an input can't be used.
        BaseMismatch: names or shapes disagree; the message has the tensor, the shapes and both
            labels.
    """
    missing = [name for name in recipe.names() if name not in sources]
    if missing:
        raise MergeError(f"{missing[0]!r} has no source", expected="one for each name")
    base, inputs = open_inputs(recipe, sources)
    for one in inputs:
        compare(base, one)
    order = list(base.model.tensors.values())
    layout = lay_out((t.name, _output_dtype(recipe, t), t.shape) for t in order)
    jobs = _jobs(recipe, layout, base, inputs)
    favoured = _favoured(recipe, inputs)
    named = recipe.token_source
    source = sources.get(named) if named is not None else None
    folders = {one.label: one.model.folder for one in (base, *inputs)}
    donor = find_donor(folders, named, source.model if source else None)
    notes = (LABEL,) if recipe.parameters.get("slack") else ()
    return Plan(recipe, base, inputs, jobs, layout, donor, favoured, (*notes, *donor.notes))


def _output_dtype(recipe: Recipe, tensor: TensorInfo) -> str:
    asked = recipe.out_dtype or recipe.dtype
    return DTYPES[asked] if asked and tensor.dtype in FLOATS else tensor.dtype


def _jobs(recipe: Recipe, layout: Layout, base: Input, inputs: Sequence[Input]) -> tuple[Job, ...]:
    entries = {entry.model: entry.parameters for entry in recipe.inputs}
    normal = recipe.normalised()["parameters"]
    middle = recipe.slices[0].parameters if recipe.slices else {}
    layers = _layers(recipe, base)
    _check_slice(recipe, inputs, layers)
    method = recipe.method
    jobs = []
    for slot in layout.slots:
        merged = slot.dtype in FLOATS
        shared: dict[str, Any] = {}
        each: dict[str, tuple[Any, ...]] = {}
        t = depth(slot.name, layers)
        for parameter in method.parameters if merged else ():
            scopes = (middle, normal)
            if parameter.kind == "slack":
                shared["slack"] = _slack_at(normal.get("slack"), slot.name, t)
            elif parameter.per_input:
                values = [
                    first((entries.get(one.label, {}), *scopes), parameter.name, slot.name, t)
                    for one in inputs
                ]
                for one, value in zip(inputs, values, strict=True):
                    if value is None and parameter.required:
                        raise ConfigError(
                            f"{one.label!r} has no {parameter.name} for tensor {slot.name}",
                            expected=f"a {parameter.name} for each input",
                        )
                each[parameter.name] = tuple(
                    parameter.default if value is None else value for value in values
                )
            else:
                value = first(scopes, parameter.name, slot.name, t)
                shared[parameter.name] = parameter.default if value is None else value
        if merged:
            method.check(slot.name, [one.label for one in inputs], shared, each)
        jobs.append(Job(slot, merged, shared, each))
    if shared_trim(recipe) == "model":
        _check_one_density(jobs, inputs)
    return tuple(jobs)


def shared_trim(recipe: Recipe) -> str | None:
    """``trim`` of a recipe, presets counted in; None for a method without one."""
    value = recipe.normalised()["parameters"].get("trim")
    return None if value is None else str(value)


def _slack_at(slack: Mapping[str, Any] | None, name: str, t: float) -> dict[str, Any] | None:
    value = first([slack], "value", name, t) if slack else None
    return {**slack, "value": value} if slack and value is not None else None


def _layers(recipe: Recipe, base: Input) -> int | None:
    found = [base.model.config[key] for key in _DEPTH_KEYS if key in base.model.config]
    text = base.model.config.get("text_config")
    if not found and isinstance(text, Mapping):
        found = [text[key] for key in _DEPTH_KEYS if key in text]
    layers = found[0] if found and isinstance(found[0], int) else None
    settings = [recipe.parameters, *(entry.parameters for entry in recipe.inputs)]
    settings += [part.parameters for part in recipe.slices]
    varies = any(has_gradient(value) for scope in settings for value in scope.values())
    if layers is None and (varies or recipe.slices):
        raise ConfigError(
            f"the recipe counts layers, and the config.json of {base.label} doesn't tell how many",
            expected="num_hidden_layers",
        )
    return layers


def _check_slice(recipe: Recipe, inputs: Sequence[Input], layers: int | None) -> None:
    if not recipe.slices:
        return
    for source in recipe.slices[0].sources:
        if source.layer_range != (0, layers):
            raise ConfigError(
                f"{source.model!r} gives layers {list(source.layer_range)} of {layers}",
                expected=f"layer_range: [0, {layers}], the whole model",
                hint="cutting and stacking layers isn't supported",
            )
    if recipe.method.space == "deltas" and recipe.base_model not in [
        source.model for source in recipe.slices[0].sources
    ]:
        raise ConfigError(
            f"the slice lacks its base_model {recipe.base_model!r}",
            expected="the base among its sources, as in mergekit",
        )


def _check_one_density(jobs: Sequence[Job], inputs: Sequence[Input]) -> None:
    for i, one in enumerate(inputs):
        if len({job.per_input["density"][i] for job in jobs if job.merged}) > 1:
            raise ConfigError(
                f"{one.label!r} has densities that vary by tensor, with trim: model",
                expected="one density for the whole model, or trim: tensor",
            )


def _favoured(recipe: Recipe, inputs: Sequence[Input]) -> int | None:
    slack = recipe.parameters.get("slack")
    if not slack:
        return None
    labels = [one.label for one in inputs]
    name = slack["favoured"]
    if name is not None:
        return labels.index(name)
    tasks = [i for i, one in enumerate(inputs) if one.source.role == "task"]
    if len(tasks) != 1:
        found = "no input is" if not tasks else f"{len(tasks)} inputs are"
        raise ConfigError(
            f"slack needs to know whom it favours, and {found} known to have the role task",
            expected="favoured: one of " + ", ".join(labels),
        )
    return tasks[0]
