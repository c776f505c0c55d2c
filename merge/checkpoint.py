"""safetensors folders: headers checked and read by mmap, files laid out and written by offset.

Only safetensors is read: a pickle runs code when loaded. The format: 8 bytes of little-endian
header length, a JSON header, then the tensors without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isogloss.errors import CheckpointError, UnsafeInput
from isogloss.merge.kernels import FLOATS, Array, widen

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARD_BYTES = 5_000_000_000
"""Data bytes from which an output is split, as transformers does."""

COPIED = frozenset({"I64", "I32", "I16", "U64", "U32", "U16", "BOOL"})
"""Dtypes of buffers, which are copied; 8-bit numbers are taken for quantised weights."""

_MAX_HEADER = 100_000_000
_SIZES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
}
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class TensorInfo(NamedTuple):
    """Where one tensor lies, from a header."""

    name: str
    dtype: str
    """In safetensors' spelling: ``F32``, ``BF16`` …"""
    shape: tuple[int, ...]
    file: Path
    start: int
    """Bytes from the start of the file."""
    size: int
    """Bytes."""


class Checkpoint(NamedTuple):
    """The headers of a model folder."""

    folder: Path
    tensors: Mapping[str, TensorInfo]
    """In the order of the files (by name) and of the offsets within each."""
    config: Mapping[str, Any]
    """``config.json``; empty where there is none."""


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of one safetensors file, in the order of their offsets.

    Raises:
        CheckpointError: the header is broken, or disagrees with the file's size.
    """
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if total < 8 or length > min(_MAX_HEADER, total - 8):
                raise _broken(path, f"a header of {length} bytes in a file of {total}")
            header = json.loads(file.read(length).decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise _broken(path, "a header that is not JSON") from error
    if not isinstance(header, dict):
        raise _broken(path, "a header without names")
    header.pop("__metadata__", None)
    start = 8 + length
    found = sorted(
        (_tensor(path, str(name), entry, start) for name, entry in header.items()),
        key=lambda t: (t.start, t.size),
    )
    end = start
    for tensor in found:
        if tensor.start != end:
            raise _broken(path, f"a gap or an overlap before tensor {tensor.name}")
        end += tensor.size
    if end != total:
        raise _broken(path, f"{total} bytes where its header tells of {end}")
    return {tensor.name: tensor for tensor in found}


def _tensor(path: Path, name: str, entry: Any, start: int) -> TensorInfo:
    try:
        dtype, shape = entry["dtype"], entry["shape"]
        first, last = entry["data_offsets"]
        sound = all(type(n) is int and n >= 0 for n in (first, last, *shape)) and first <= last
    except (TypeError, KeyError, ValueError) as error:
        raise _broken(path, f"no dtype, shape and offsets for tensor {name}") from error
    if not sound:
        raise _broken(path, f"numbers that can't be for tensor {name}")
    if dtype in _SIZES and _SIZES[dtype] * math.prod(shape) != last - first:
        raise _broken(path, f"{last - first} bytes for tensor {name}, {dtype} {list(shape)}")
    return TensorInfo(name, str(dtype), tuple(shape), path, start + first, last - first)


def _broken(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is a broken safetensors file: {what}",
        expected="a whole file",
        hint="download or save it again",
    )


def open_model(folder: Path) -> Checkpoint:
    """The headers of a transformers model folder; no weight is read.

    Raises:
        CheckpointError: no safetensors, a broken file, an index that lies.
        UnsafeInput: its weights are pickles, or its index points out of the folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder", expected="a transformers model folder")
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if (folder / INDEX).is_file():
        return Checkpoint(folder, _indexed(folder), config)
    if not (folder / SINGLE).is_file():
        refuse_pickles(folder)
        raise CheckpointError(f"{folder} has no {SINGLE}", expected="a transformers model folder")
    return Checkpoint(folder, read_header(folder / SINGLE), config)


def refuse_pickles(folder: Path) -> None:
    """Raise UnsafeInput where the folder's weights are pickles."""
    for path in sorted(folder.iterdir()):
        if path.suffix in _PICKLES and path.name != "training_args.bin":
            raise UnsafeInput(
                f"{path} is a pickle, which can run code when read",
                expected="weights in safetensors",
                hint="save the model again with a current transformers or peft",
            )


def _indexed(folder: Path) -> dict[str, TensorInfo]:
    where = read_json(folder / INDEX).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise CheckpointError(f"{folder / INDEX} has no weight_map", expected="an index of shards")
    tensors: dict[str, TensorInfo] = {}
    for file in sorted({str(name) for name in where.values()}):
        if Path(file).name != file:
            raise UnsafeInput(f"{folder / INDEX} names {file!r}", expected="files beside it")
        if not (folder / file).is_file():
            raise CheckpointError(f"{folder} lacks the shard {file}", expected="every shard")
        for name, tensor in read_header(folder / file).items():
            if where.get(name) != file:
                raise CheckpointError(
                    f"{folder / file} holds tensor {name}, which its index puts in "
                    f"{where.get(name, 'no file')}",
                    expected="an index that tells where each tensor is",
                )
            tensors[name] = tensor
    missing = sorted(where.keys() - tensors.keys())
    if missing:
        raise CheckpointError(f"{folder} lacks tensor {missing[0]}, which its index names")
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: it isn't one.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not JSON", expected="a JSON object") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds no object", expected="a JSON object")
    return data


def read_raw(tensor: TensorInfo) -> NDArray[np.generic]:
    """The tensor's bytes by mmap: its disk dtype if a float, else bytes (flat)."""
    if tensor.dtype not in FLOATS:
        if not tensor.size:
            return np.zeros(0, np.uint8)
        return np.memmap(tensor.file, np.uint8, "r", tensor.start, (tensor.size,))
    kind = FLOATS[tensor.dtype]
    if not tensor.size:
        return np.zeros(tensor.shape, kind)
    # Offsets needn't be aligned, and a memmap of bytes can be viewed at any.
    raw = np.memmap(tensor.file, np.uint8, "r", tensor.start, (tensor.size,))
    return raw.view(kind).reshape(tensor.shape)


def read_float32(tensor: TensorInfo) -> Array:
    """The tensor widened to float32, exactly; its own memory."""
    return widen(read_raw(tensor), tensor.dtype)


class Slot(NamedTuple):
    """A tensor's place in the output."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    offset: int
    """Bytes from the start of the file."""
    size: int


class Layout(NamedTuple):
    """The files of an output before any weight is written."""

    headers: Mapping[str, bytes]
    """File name -> all bytes before the first tensor."""
    sizes: Mapping[str, int]
    """File name -> its size in bytes."""
    slots: tuple[Slot, ...]
    """By file, by offset."""
    index_json: bytes | None
    """``model.safetensors.index.json``; None for a single file."""


def lay_out(
    tensors: Iterable[tuple[str, str, tuple[int, ...]]], *, shard_bytes: int = SHARD_BYTES
) -> Layout:
    """Place tensors (name, dtype, shape) in one file, or in shards of at most ``shard_bytes``.

    Within a file wider dtypes come first, so that every tensor is aligned to its own width.
    """
    shards: list[list[tuple[str, str, tuple[int, ...], int]]] = [[]]
    filled = 0
    for name, dtype, shape in tensors:
        size = _SIZES[dtype] * math.prod(shape)
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, dtype, shape, size))
        filled += size
    headers, sizes, slots = {}, {}, []
    for number, shard in enumerate(shards, 1):
        of = len(shards)
        file = SINGLE if of == 1 else f"model-{number:05d}-of-{of:05d}.safetensors"
        # "format" is what loaders look for to know whose tensors these are; nothing else goes in.
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        place, places = 0, []
        for name, dtype, shape, size in sorted(shard, key=lambda t: -_SIZES[t[1]]):
            ends = [place, place + size]
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": ends}
            places.append((name, dtype, shape, place, size))
            place += size
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        headers[file] = len(text).to_bytes(8, "little") + text
        start = len(headers[file])
        sizes[file] = start + place
        slots += [Slot(n, d, s, file, start + first, size) for n, d, s, first, size in places]
    if len(shards) == 1:
        return Layout(headers, sizes, tuple(slots), None)
    index = {
        "metadata": {"total_size": sum(slot.size for slot in slots)},
        "weight_map": {slot.name: slot.file for slot in sorted(slots)},
    }
    return Layout(headers, sizes, tuple(slots), json.dumps(index, indent=2).encode() + b"\n")
