"""safetensors headers, read and checked without torch.

A file is: 8 bytes (little-endian length n of the header), n bytes of JSON, then the data. The
header maps each tensor's name to dtype, shape and the [begin, end) bytes it takes in the data,
and ``__metadata__`` to a map from text to text. Format:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from isogloss.errors import CheckpointError

MAX_HEADER = 100_000_000
"""Bytes; the limit that the format's own readers have."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits that one entry of each dtype takes."""


class TensorInfo(NamedTuple):
    """Where one tensor stands; ``begin`` and ``end`` are bytes from the start of the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def entries(self) -> int:
        """The product of the shape: 1 for a scalar."""
        return math.prod(self.shape)


class Header(NamedTuple):
    """A checked header; ``start`` is the byte of the file where the data begins."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    start: int


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's size.

    Raises:
        CheckpointError: it is truncated, longer than 100 MB, not JSON, has a wrong type or an
            unknown dtype, or its offsets aren't in range, disjoint and covering the data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if len(head) < 8:
            raise _broken(path, f"has {len(head)} bytes", "at least 8")
        length = int.from_bytes(head, "little")
        if length > MAX_HEADER:
            raise _broken(path, f"claims a header of {length} bytes", f"at most {MAX_HEADER}")
        if 8 + length > size:
            raise _broken(
                path, f"claims a header of {length} bytes and has {size - 8}", "all of it"
            )
        text = file.read(length)
    return parse_header(text, size - 8 - length, path)


def parse_header(text: bytes, data: int, path: Path) -> Header:
    """The header ``text``, checked against ``data`` bytes that follow; ``path`` is for messages.

    Raises:
        CheckpointError: as :func:`read_header`.
    """
    try:
        raw = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        reason = str(error).split(":", 1)[0] or "nested too deep"
        raise _broken(path, f"has a header that can't be read ({reason})", "JSON") from error
    if not isinstance(raw, dict):
        raise _broken(path, f"has a header that is a {type(raw).__name__}", "names and tensors")
    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _broken(path, "has metadata that is not text", "a map from text to text")
    tensors = {name: _tensor(path, name, value) for name, value in raw.items()}
    _check_cover(path, tensors, data)
    return Header(tensors, metadata, 8 + len(text))


def _broken(path: Path, found: str, expected: str) -> CheckpointError:
    return CheckpointError(f"{path} {found}", expected=f"a safetensors file with {expected}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _count(value: Any) -> bool:
    # bool is an int to Python, but not to the format.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor(path: Path, name: str, value: Any) -> TensorInfo:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _broken(path, f"describes {name!r} otherwise", "dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _broken(path, f"gives {name!r} the dtype {dtype!r}", "one of " + ", ".join(BITS))
    if not isinstance(shape, list) or not all(map(_count, shape)):
        raise _broken(path, f"gives {name!r} the shape {shape!r}", "whole numbers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_count, offsets)):
        raise _broken(path, f"gives {name!r} the offsets {offsets!r}", "begin and end in bytes")
    info = TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])
    if info.entries * BITS[dtype] != (info.end - info.begin) * 8:
        raise _broken(
            path,
            f"gives {name!r} {info.end - info.begin} bytes",
            f"{info.entries * BITS[dtype] // 8} for {dtype} {list(shape)}",
        )
    return info


def _check_cover(path: Path, tensors: dict[str, TensorInfo], data: int) -> None:
    """Raise where two tensors overlap, bytes belong to none, or the file ends before its data."""
    at = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != at:
            raise _broken(path, f"has {name!r} at byte {info.begin}", f"it at byte {at}")
        at = info.end
    if at != data:
        raise _broken(path, f"has {data} bytes of data", f"{at}, as its header says")
