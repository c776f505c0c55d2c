"""Deltas: what an input adds to its base, dense (expert − base) or low-rank (s·B·A).

A LoRA is a low-rank delta only if nothing else is in it: everything that would make the product
s·B·A wrong is refused with its reason (``docs/decisions``, reference section "adapters that are
not a plain delta").
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from isogloss.errors import AdapterError
from isogloss.merge.checkpoint import (
    TensorInfo,
    read_float32,
    read_header,
    read_json,
    refuse_pickles,
)
from isogloss.merge.kernels import FLOATS, Array, outer_sum

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_REASONS = {
    "use_dora": "DoRA's change depends on the base's norms; it is no plain delta",
    "lora_bias": "a bias on B is more than s·B·A",
    "modules_to_save": "it brings whole modules of its own",
    "trainable_token_indices": "it brings token embeddings of its own",
    "target_parameters": "it targets parameters, not modules",
    "use_qalora": "QALoRA is no plain delta",
    "use_bdlora": "block-diagonal LoRA is no plain delta",
    "alora_invocation_tokens": "an activated LoRA acts on some tokens only",
    "arrow_config": "a router over adapters is no plain delta",
    "kasa_config": "KaSA changes the base's weights",
    "monteclora_config": "MonteCLoRA is no plain delta",
    "velora_config": "VeLoRA is no plain delta",
    "layer_replication": "its base has replicated layers",
    "megatron_config": "it targets parallel layers of Megatron",
}
_SHIFTED = {
    "pissa": "PiSSA",
    "olora": "OLoRA",
    "corda": "CorDA",
    "lora_ga": "LoRA-GA",
    "loftq": "LoftQ",
}
_HARMLESS = frozenset({"true", "false", "gaussian", "eva", "orthogonal", "mica"})
"""Initialisations that leave the base as it was."""
_FACTOR = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\."
    r"(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B)(?:\.default)?(?:\.weight)?"
)
_COPY = re.compile(r"(?:base_model\.model\.)?(?P<module>.+?)(?:\.base_layer)?\.weight")


class LowRank(NamedTuple):
    """ΔW = s·B·A of one module."""

    module: str
    a: TensorInfo
    """``(r, in)``; of an embedding ``(r, vocabulary)``."""
    b: TensorInfo
    """``(out, r)``; of an embedding ``(dimension, r)``."""
    scale: float
    """s = α/r, or α/√r with rsLoRA."""
    embedding: bool
    transposed: bool
    """Whether the base's tensor is laid out as (B·A)ᵀ: an embedding, or ``fan_in_fan_out``."""

    @property
    def rank(self) -> int:
        """r."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the base's tensor that it changes."""
        out, into = self.b.shape[0], self.a.shape[1]
        return (into, out) if self.transposed else (out, into)


class Adapter(NamedTuple):
    """A LoRA folder, from its configuration and header."""

    folder: Path
    base_named: str
    """``base_model_name_or_path``; what somebody wrote there, not proof."""
    factors: Mapping[str, LowRank]
    """By module, in the order of the file."""
    copies: Mapping[str, TensorInfo]
    """By module: embeddings of the base, which PEFT saves beside a LoRA that changes them."""


def read_adapter(folder: Path, label: str) -> Adapter:
    """A PEFT folder as low-rank deltas; no weight is read.

    Args:
        label: what a person calls it, for messages.

    Raises:
        AdapterError: it is broken, or more than s·B·A; the message has the reason.
        UnsafeInput: its weights are pickles.
    """
    if not (folder / CONFIG).is_file():
        raise AdapterError(f"{label} has no {CONFIG}", expected="a PEFT adapter folder")
    config = read_json(folder / CONFIG)
    _refuse_config(config, label)
    if not (folder / WEIGHTS).is_file():
        refuse_pickles(folder)
        raise AdapterError(f"{label} has no {WEIGHTS}", expected="a PEFT adapter folder")
    pairs, copies = _sorted_out(read_header(folder / WEIGHTS), label)
    factors = {module: _factor(module, found, config, label) for module, found in pairs.items()}
    if not factors:
        raise AdapterError(f"{label} holds no LoRA factor", expected="lora_A and lora_B tensors")
    return Adapter(folder, str(config.get("base_model_name_or_path") or "unnamed"), factors, copies)


def _refuse_config(config: Mapping[str, Any], label: str) -> None:
    kind = str(config.get("peft_type"))
    if kind.upper() != "LORA":
        raise AdapterError(f"{label} is of type {kind}", expected="LORA")
    for key, reason in _REASONS.items():
        if config.get(key):
            raise AdapterError(f"{label} has {key}: {reason}", expected="a plain LoRA")
    if config.get("bias", "none") != "none":
        raise AdapterError(
            f"{label} has bias {config['bias']!r}: it changes biases of the base",
            expected="bias 'none'",
        )
    init = str(config.get("init_lora_weights", True)).lower()
    for name, title in _SHIFTED.items():
        if init.startswith(name):
            raise AdapterError(
                f"{label} was initialised with {title}, which also changed the base it stood on",
                expected="a plain LoRA",
                hint="convert it with peft: save_pretrained(path_initial_model_for_weight_"
                "conversion=…)",
            )
    if init not in _HARMLESS:
        raise AdapterError(
            f"{label} was initialised by {init!r}, which may have changed its base",
            expected=", ".join(sorted(_HARMLESS)),
        )


def _sorted_out(
    header: Mapping[str, TensorInfo], label: str
) -> tuple[dict[str, dict[str, TensorInfo]], dict[str, TensorInfo]]:
    pairs: dict[str, dict[str, TensorInfo]] = {}
    copies = {}
    for name, tensor in header.items():
        found = _FACTOR.fullmatch(name)
        copy = _COPY.fullmatch(name)
        if not found and copy and tensor.dtype in FLOATS:
            copies[copy["module"]] = tensor
            continue
        if not found:
            raise AdapterError(
                f"{label} holds {name}, which is no LoRA factor", expected="lora_A and lora_B only"
            )
        if tensor.dtype not in FLOATS:
            raise AdapterError(
                f"{label}: {name} is {tensor.dtype}", expected=", ".join(sorted(FLOATS))
            )
        pairs.setdefault(found["module"], {})[found["kind"]] = tensor
    return pairs, copies


def _factor(
    module: str, found: Mapping[str, TensorInfo], config: Mapping[str, Any], label: str
) -> LowRank:
    embedding = "lora_embedding_A" in found or "lora_embedding_B" in found
    names = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
    if set(found) != set(names):
        raise AdapterError(
            f"{label}: {module} has only {sorted(found)}", expected=" and ".join(names)
        )
    a, b = (found[name] for name in names)
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise AdapterError(
            f"{label}: {module} has A {list(a.shape)} and B {list(b.shape)}",
            expected="A of (r, in) and B of (out, r): a LoRA of a linear layer or an embedding",
        )
    rank = _by_pattern(config.get("rank_pattern"), module, config.get("r"))
    alpha = _by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    if rank != a.shape[0]:
        raise AdapterError(
            f"{label}: {module} has rank {a.shape[0]}, its configuration says {rank}",
            expected="one rank",
        )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise AdapterError(f"{label}: lora_alpha of {module} is {alpha!r}", expected="a number")
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return LowRank(module, a, b, scale, embedding, embedding or bool(config.get("fan_in_fan_out")))


def _by_pattern(patterns: Any, module: str, otherwise: Any) -> Any:
    """PEFT's rule: the first key that matches the end of the module's name, whole parts only."""
    for key, value in (patterns or {}).items():
        try:
            if re.match(rf"(.*\.)?({key})$", module):
                return value
        except re.error as error:
            raise AdapterError(f"the pattern {key!r} is no regular expression") from error
    return otherwise


def read_delta(factor: LowRank) -> Array:
    """s·B·A in the layout of the base's tensor, summed in float32 in the order of the ranks."""
    a, b = read_float32(factor.a), read_float32(factor.b)
    if factor.transposed:
        return outer_sum(a.T, b.T, factor.scale)
    return outer_sum(b, a, factor.scale)
