"""The inputs of a merge, opened: headers and configurations, compared with the base's.

Nothing is aligned or guessed: names and shapes are those of the base, or the merge is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from isogloss.errors import BaseMismatch, CheckpointError, ConfigError
from isogloss.merge.checkpoint import COPIED, Checkpoint, TensorInfo, open_model
from isogloss.merge.delta import Adapter, LowRank, read_adapter
from isogloss.merge.kernels import FLOATS
from isogloss.merge.recipe import Recipe
from isogloss.merge.sources import Source

_CONV1D = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
_CONV1D_LAYERS = frozenset({"c_attn", "c_fc", "c_proj", "q_attn"})


class Input(NamedTuple):
    """One thing that takes part: weights of its own, the base's, or either with a LoRA on it."""

    source: Source
    model: Checkpoint
    own: bool
    """Whether ``model`` is another folder than the base's."""
    adapter: Adapter | None
    factors: Mapping[str, LowRank]
    """Tensor name -> the LoRA that changes it."""
    copies: Mapping[str, TensorInfo]
    """Tensor name -> what the adapter holds to be the model's; compared when it is read."""

    @property
    def label(self) -> str:
        """As written in the recipe."""
        return self.source.label


def reads(one: Input, base: Input) -> list[TensorInfo]:
    """The tensors that are read for one input."""
    own = list(one.model.tensors.values()) if one.own or one is base else []
    return own + [t for factor in one.factors.values() for t in (factor.a, factor.b)]


def describe_input(one: Input) -> dict[str, Any]:
    """JSON data for ``merge plan``."""
    ranks = sorted({factor.rank for factor in one.factors.values()})
    return {
        "label": one.label,
        "model": str(one.model.folder),
        "adapter": str(one.adapter.folder) if one.adapter else None,
        "ranks": ranks,
        "tensors": len(one.model.tensors) if one.own or not one.adapter else len(one.factors),
        "role": one.source.role,
        "content": one.source.content,
    }


def open_inputs(recipe: Recipe, sources: Mapping[str, Source]) -> tuple[Input, tuple[Input, ...]]:
    """The base (without a base_model: the first input) and the inputs, in the recipe's order.

    Raises:
        ConfigError: an adapter has no model to stand on.
        CheckpointError, AdapterError, UnsafeInput: an input can't be used.
        BaseMismatch: an adapter was made for another base.
    """
    opened: dict[Path, Checkpoint] = {}
    named = recipe.base_model
    labels = [entry.model for entry in recipe.inputs]
    if named is None:
        for label in labels:
            if sources[label].model is None:
                raise ConfigError(
                    f"{label!r} is an adapter, and the recipe has no base_model",
                    expected="base_model: the model it stands on",
                    hint=f"or write it as MODEL+{label}",
                )
    elif sources[named].model is None:
        raise ConfigError(
            f"base_model {named!r} is an adapter",
            expected="a model",
            hint=f"write MODEL+{named} for a base with an adapter on it",
        )
    ground = named if named is not None else labels[0]
    base = _open(sources[ground], None, opened)
    if recipe.method.space == "deltas":
        labels = [label for label in labels if label != named]
    elif named is not None and named not in labels and _base_takes_part(recipe):
        labels.append(named)
    inputs = tuple(
        base if label == ground else _open(sources[label], base, opened) for label in labels
    )
    return base, inputs


def _base_takes_part(recipe: Recipe) -> bool:
    # mergekit adds a base that isn't listed as one more input, which then needs the weight that
    # only the recipe's shared parameters can give it; without one mergekit stops.
    return not recipe.slices and "weight" in recipe.parameters


def _open(source: Source, base: Input | None, opened: dict[Path, Checkpoint]) -> Input:
    folder = source.model if source.model is not None else (base and base.model.folder)
    if folder is None:
        raise CheckpointError(f"{source.label} names no model", expected="a model folder")
    key = folder.resolve()
    if key not in opened:
        opened[key] = open_model(folder)
        _refuse_unfit(opened[key], source.label)
    model = opened[key]
    own = base is not None and key != base.model.folder.resolve()
    if base is not None and source.model is not None and base.adapter is not None:
        own = True  # The base isn't what lies in its folder.
    adapter = read_adapter(source.adapter, source.label) if source.adapter else None
    if adapter is None:
        return Input(source, model, own, None, {}, {})
    on_base = base is not None and source.model is None
    ground = base.label if base is not None and on_base else source.label.partition("+")[0]
    factors, copies = _targets(adapter, model, source.label, ground)
    return Input(source, model, own, adapter, factors, copies)


def _refuse_unfit(model: Checkpoint, label: str) -> None:
    if model.config.get("quantization_config"):
        raise CheckpointError(
            f"{label} is quantised",
            expected="weights in float32, bfloat16 or float16",
            hint="merge the model it was made from",
        )
    if not model.tensors:
        raise CheckpointError(f"{label} holds no tensor", expected="a model with weights")
    for tensor in model.tensors.values():
        if tensor.dtype not in FLOATS and tensor.dtype not in COPIED:
            what = "float64" if tensor.dtype == "F64" else "quantised or of an unknown dtype"
            raise CheckpointError(
                f"{label}: tensor {tensor.name} is {tensor.dtype}, {what}",
                expected=", ".join(FLOATS),
                hint="merge the model it was made from",
            )


def _targets(
    adapter: Adapter, model: Checkpoint, label: str, ground: str
) -> tuple[dict[str, LowRank], dict[str, TensorInfo]]:
    """The tensors of ``model`` (called ``ground``) that an adapter changes, and its copies."""
    where = f"{label} (made for {adapter.base_named})"
    found = {}
    for module, factor in adapter.factors.items():
        tensor = _tensor_of(module, model)
        if tensor is None:
            tied = module.endswith("lm_head") and _tied(model)
            raise BaseMismatch(
                f"{where} changes {module}, which {ground} does not have",
                expected="an adapter of this base",
                hint="the base's output layer is tied to its embedding" if tied else "",
            )
        placed = _placed(factor, tensor.shape, str(model.config.get("model_type")))
        if placed.shape != tensor.shape:
            raise BaseMismatch(
                f"{where} changes {module} of shape {list(placed.shape)}, which is "
                f"{list(tensor.shape)} in {ground}",
                expected="an adapter of this base",
            )
        if tensor.dtype not in FLOATS:
            raise BaseMismatch(f"{where} changes {module}, which is {tensor.dtype} in {ground}")
        if factor.embedding and _tied(model):
            raise BaseMismatch(
                f"{label} changes the embedding {module}, to which the output layer of {ground} "
                "is tied",
                expected="an adapter that leaves tied embeddings alone",
                hint="merged, it would change the output layer too",
            )
        found[tensor.name] = placed
    copies = {}
    for module, copy in adapter.copies.items():
        tensor = _tensor_of(module, model)
        if tensor is None or tensor.shape != copy.shape:
            shape = list(tensor.shape) if tensor else "missing"
            raise BaseMismatch(
                f"{where} holds {module} of shape {list(copy.shape)}, which is {shape} in {ground}",
                expected="an adapter of this base, with its vocabulary",
            )
        copies[tensor.name] = copy
    return found, copies


def _placed(factor: LowRank, shape: tuple[int, ...], model_type: str) -> LowRank:
    # PEFT has one fan_in_fan_out for an adapter, but decides it for each layer: a linear layer
    # is never transposed, a Conv1D always is, whatever was saved.
    if factor.embedding:
        return factor
    if model_type in _CONV1D:
        return factor._replace(transposed=factor.module.rpartition(".")[2] in _CONV1D_LAYERS)
    plain = factor._replace(transposed=False)
    return plain if factor.shape != shape and plain.shape == shape else factor


def _tensor_of(module: str, model: Checkpoint) -> TensorInfo | None:
    # Some checkpoints are saved without the name of the inner model (h.0… for transformer.h.0…).
    for stem in (module, module.partition(".")[2]):
        if f"{stem}.weight" in model.tensors:
            return model.tensors[f"{stem}.weight"]
    return None


def _tied(model: Checkpoint) -> bool:
    said = model.config.get("tie_word_embeddings")
    heads = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForMaskedLM")
    speaks = any(str(a).endswith(heads) for a in model.config.get("architectures") or ())
    return bool(said) if said is not None else speaks and "lm_head.weight" not in model.tensors


def compare(base: Input, one: Input) -> None:
    """Raise BaseMismatch where the tensors of an input aren't those of the base."""
    if not one.own:
        return
    mine, theirs = base.model.tensors, one.model.tensors
    for name in sorted(theirs.keys() - mine.keys()):
        hint = "untie the base's embeddings first" if name == "lm_head.weight" else ""
        raise BaseMismatch(
            f"{one.label} has tensor {name}, which {base.label} lacks",
            expected="models of one architecture",
            hint=hint,
        )
    for name, tensor in mine.items():
        other = theirs.get(name)
        if other is None:
            raise BaseMismatch(
                f"{one.label} lacks tensor {name}, which {base.label} has",
                expected="models of one architecture",
            )
        if other.shape != tensor.shape:
            grew = len(other.shape) == 2 and other.shape[1:] == tensor.shape[1:]
            raise BaseMismatch(
                f"tensor {name} is {list(other.shape)} in {one.label} and {list(tensor.shape)} "
                f"in {base.label}",
                expected="equal shapes",
                hint="has a vocabulary grown?" if grew and "emb" in name else "",
            )
        if (other.dtype in FLOATS) != (tensor.dtype in FLOATS):
            raise BaseMismatch(
                f"tensor {name} is {other.dtype} in {one.label} and {tensor.dtype} in {base.label}"
            )
