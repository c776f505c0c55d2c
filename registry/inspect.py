"""What an artifact says of itself: facts read from its files, checked against each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isogloss.errors import AdapterError, CheckpointError, CorpusError, InputError, UnsafeInput
from isogloss.files import digest_of
from isogloss.registry.headers import TensorInfo, read_header
from isogloss.registry.intake import read_json, safe_path
from isogloss.registry.records import AdapterFacts, CorpusFacts, Kind, ModelFacts
from isogloss.text import read_texts

_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_LORA = re.compile(
    r"(?P<module>.+)\.(?:lora_(?P<plain>[AB])\.(?:[^.]+\.)?weight"
    r"|lora_embedding_(?P<embedding>[AB])(?:\.[^.]+)?)"
)


class Facts(NamedTuple):
    """The one that the kind has; the others are None."""

    adapter: AdapterFacts | None = None
    model: ModelFacts | None = None
    corpus: CorpusFacts | None = None


def detect(source: Path) -> Kind:
    """What a path holds: ``adapter_config.json`` makes an adapter, ``config.json`` a model, and
    a file is a corpus.

    Raises:
        InputError: it is missing, or a folder of neither.
    """
    if source.is_file():
        return "corpus"
    if (source / "adapter_config.json").is_file():
        return "adapter"
    if (source / "config.json").is_file():
        return "model"
    if not source.exists():
        raise InputError(f"{source} is missing", expected="a folder or file")
    raise InputError(
        f"{source} has neither adapter_config.json nor config.json",
        expected="a PEFT adapter or a transformers model",
        hint="a folder of text is added with --kind corpus",
    )


def facts(files: Sequence[Path], folder: Path, kind: Kind, corpus: CorpusFacts | None) -> Facts:
    """The facts of an artifact.

    Args:
        files: the artifact's files, below ``folder``.
        corpus: what is known of a corpus already; its numbers are counted again.

    Raises:
        InputError: AdapterError, CheckpointError, CorpusError or UnsafeInput, as the kind has.
    """
    for path in files:
        if path.suffix == ".safetensors":
            read_header(path)
    if kind == "adapter":
        return Facts(adapter=adapter_facts(folder))
    if kind == "model":
        return Facts(model=model_facts(folder))
    return Facts(corpus=corpus_facts(files, corpus or CorpusFacts(documents=0, bytes=0)))


def corpus_facts(files: Sequence[Path], known: CorpusFacts) -> CorpusFacts:
    """``known`` with documents and bytes counted.

    Raises:
        CorpusError: a file is empty, binary or not UTF-8, or lacks the text field.
    """
    documents, size = 0, 0
    for text in read_texts(files, known.field):
        documents += 1
        size += len(text.encode())
    if not documents:
        raise CorpusError(f"{files[0]} has no text in {known.field!r}", expected="some")
    return known.model_copy(update={"documents": documents, "bytes": size})


def adapter_facts(folder: Path) -> AdapterFacts:
    """What ``adapter_config.json`` says, its ranks checked against the tensors.

    Raises:
        AdapterError: a file is missing, a value has another type, or a rank is another one.
        CheckpointError: the weights' header is broken.
    """
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise AdapterError(f"{folder} has no adapter_config.json", expected="a PEFT adapter")
    config = read_json(path)
    if not isinstance(config, dict):
        raise AdapterError(f"{path} holds a {type(config).__name__}", expected="keys and values")
    if not (folder / _ADAPTER_WEIGHTS).is_file():
        raise AdapterError(f"{folder} has no {_ADAPTER_WEIGHTS}", expected="the adapter's weights")
    field = _Fields(config, path, AdapterError)
    targets = field("target_modules", (list, str)) or []
    found = AdapterFacts(
        peft_type=field("peft_type", (str,), required=True).upper(),
        rank=field("r", (int,)),
        alpha=field("lora_alpha", (int, float)),
        rslora=bool(field("use_rslora", (bool,))),
        dora=bool(field("use_dora", (bool,))),
        targets=tuple(sorted(map(str, [targets] if isinstance(targets, str) else targets))),
        init=_text(field("init_lora_weights", (bool, str))),
        base_named=field("base_model_name_or_path", (str,)),
    )
    patterns = field("rank_pattern", (dict,)) or {}
    if not all(type(rank) is int for rank in patterns.values()):
        raise AdapterError(f"{path}: rank_pattern is {patterns!r}", expected="names and ranks")
    tensors = read_header(folder / _ADAPTER_WEIGHTS).tensors
    if not tensors:
        raise AdapterError(f"{folder / _ADAPTER_WEIGHTS} has no tensors", expected="weights")
    # A parameter target folds the experts into the rank dimension, so shapes tell no rank there.
    if found.peft_type == "LORA" and not field("target_parameters", (list,)):
        _check_ranks(folder, tensors, found.rank, patterns)
    return found


def _check_ranks(
    folder: Path, tensors: dict[str, TensorInfo], rank: int | None, patterns: dict[str, int]
) -> None:
    halves: dict[str, dict[str, int]] = {}
    for name, info in tensors.items():
        match = _LORA.fullmatch(name)
        if match:
            half = match["plain"] or match["embedding"]
            if len(info.shape) < 2:
                raise AdapterError(f"{name} has the shape {list(info.shape)}", expected="a matrix")
            halves.setdefault(match["module"], {})[half] = info.shape[0 if half == "A" else 1]
    if not halves:
        raise AdapterError(
            f"{folder / _ADAPTER_WEIGHTS} has no lora_A and lora_B", expected="a LoRA adapter"
        )
    for module, sides in halves.items():
        expected = _rank_of(module, rank, patterns)
        for half in "AB":
            if half not in sides:
                raise AdapterError(f"{module} lacks its lora_{half}", expected="A and B")
            if sides[half] != expected:
                raise AdapterError(
                    f"{module}.lora_{half} has rank {sides[half]}",
                    expected=f"{expected}, as adapter_config.json says",
                )


def _rank_of(module: str, rank: int | None, patterns: dict[str, int]) -> int | None:
    """The rank that PEFT gives a module: the first pattern that its name ends with, else ``r``."""
    for pattern, value in patterns.items():
        try:
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                return value
        except re.error:
            continue
    return rank


def model_facts(folder: Path) -> ModelFacts:
    """What ``config.json`` and the headers of all shards say.

    Raises:
        CheckpointError: a file is missing or broken, a value has another type, or two shards
            hold one tensor.
        UnsafeInput: the index names a file outside the folder.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json", expected="a transformers model")
    config = read_json(path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}", expected="keys and values")
    field = _Fields(config, path, CheckpointError)
    architectures = field("architectures", (list,)) or []
    # Models of text and images keep the text model's widths one level down.
    outer = {key: value for key, value in config.items() if value is not None}
    inner = _Fields({**(field("text_config", (dict,)) or {}), **outer}, path, CheckpointError)
    tensors = _all_tensors(folder)
    entries: Counter[str] = Counter()
    for info in tensors.values():
        entries[info.dtype] += info.entries
    return ModelFacts(
        architecture=str(architectures[0]) if architectures else None,
        model_type=field("model_type", (str,)),
        parameters=entries.total(),
        dtype=max(sorted(entries), key=lambda dtype: entries[dtype]),
        vocab=inner("vocab_size", (int,)),
        hidden=inner.first(("hidden_size", "n_embd", "d_model"), (int,)),
        layers=inner.first(("num_hidden_layers", "n_layer", "num_layers"), (int,)),
        shape_digest=digest_of(sorted([name, list(t.shape)] for name, t in tensors.items())),
    )


def _all_tensors(folder: Path) -> dict[str, TensorInfo]:
    """Every tensor of a model's shards, as its index names them, else of ``model.safetensors``,
    else of all safetensors files."""
    listed: dict[str, str] = {}
    for index in sorted(folder.glob("*.safetensors.index.json")):
        listed |= _weight_map(index)
    shards = sorted(set(listed.values()))
    if not shards and (folder / "model.safetensors").is_file():
        shards = ["model.safetensors"]
    shards = shards or sorted(path.name for path in folder.glob("*.safetensors"))
    if not shards:
        raise CheckpointError(f"{folder} has no safetensors file", expected="a model's weights")
    tensors: dict[str, TensorInfo] = {}
    held: dict[str, str] = {}
    for shard in shards:
        if not (folder / shard).is_file():
            raise CheckpointError(f"{folder} lacks {shard}", expected="every shard of its index")
        for name, info in read_header(folder / shard).tensors.items():
            if name in held:
                raise CheckpointError(
                    f"{held[name]} and {shard} both hold {name}", expected="each tensor once"
                )
            tensors[name], held[name] = info, shard
    for name, shard in listed.items():
        if held.get(name) != shard:
            raise CheckpointError(f"{shard} has no {name}", expected="what the index says")
    if not tensors:
        raise CheckpointError(f"{folder} has no tensors", expected="a model's weights")
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    value = read_json(index)
    weights = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(v, str) for v in weights.values()):
        raise CheckpointError(f"{index} has no weight_map", expected="names and files")
    for shard in set(weights.values()):
        if "/" in safe_path(shard) or not shard.endswith(".safetensors"):
            raise UnsafeInput(f"{index} names {shard!r}", expected="a .safetensors beside it")
    return weights


def _text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class _Fields(NamedTuple):
    """Typed access to a JSON object, whose wrong types are errors of one kind."""

    values: dict[str, Any]
    path: Path
    error: type[InputError]

    def __call__(self, key: str, types: tuple[type, ...], required: bool = False) -> Any:
        value = self.values.get(key)
        if value is None and not required:
            return None
        # bool passes for int in Python; a rank of true is a mistake all the same.
        wrong = isinstance(value, bool) and bool not in types
        if wrong or not isinstance(value, types):
            names = " or ".join(kind.__name__ for kind in types)
            raise self.error(f"{self.path}: {key} is {value!r}", expected=names)
        return value

    def first(self, keys: Sequence[str], types: tuple[type, ...]) -> Any:
        return next((v for key in keys if (v := self(key, types)) is not None), None)
