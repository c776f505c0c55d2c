"""safetensors headers: parity with the format's own reader, and headers that lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors import deserialize as _deserialize
from safetensors.numpy import save

from isogloss.errors import CheckpointError
from isogloss.registry import read_header
from isogloss.registry.headers import MAX_HEADER, parse_header

# The peer is untyped.
deserialize: Callable[[bytes], Any] = _deserialize


def _file(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def _tensor(begin: int, end: int, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


dtypes = st.sampled_from(["float32", "float16", "int64", "uint8", "bool"])
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@given(st.dictionaries(st.text(max_size=6), st.tuples(dtypes, shapes), max_size=5))
def test_parity_with_the_formats_own_reader(wanted: dict[str, tuple[str, Any]]) -> None:
    wanted.pop("__metadata__", None)
    tensors = {name: np.zeros(shape, dtype) for name, (dtype, shape) in wanted.items()}
    data = save(tensors, {"format": "pt"})
    length = int.from_bytes(data[:8], "little")
    header = parse_header(data[8 : 8 + length], len(data) - 8 - length, Path("x"))
    assert header.metadata == {"format": "pt"}
    assert header.start == 8 + length
    peer = dict(deserialize(data))
    assert set(header.tensors) == set(peer)
    for name, info in header.tensors.items():
        assert list(info.shape) == peer[name]["shape"]
        assert info.dtype == peer[name]["dtype"]
        assert info.end - info.begin == len(peer[name]["data"])
        assert info.entries == tensors[name].size


def test_a_header_by_hand(tmp_path: Path) -> None:
    tensors = {"b": _tensor(0, 8), "a": _tensor(8, 9, [], "U8"), "__metadata__": {"k": "v"}}
    header = read_header(_file(tmp_path / "x", tensors, b"\0" * 9))
    assert header.tensors["b"] == ("F32", (2,), 0, 8)
    assert header.tensors["a"].entries == 1
    assert header.metadata == {"k": "v"}


def test_half_byte_types(tmp_path: Path) -> None:
    header = read_header(_file(tmp_path / "x", {"a": _tensor(0, 3, [6], "F4")}, b"\0" * 3))
    assert header.tensors["a"].entries == 6


LIES: list[tuple[str, Any, bytes]] = [
    ("past the end", {"a": _tensor(0, 8)}, b"\0" * 4),
    ("bytes that belong to none", {"a": _tensor(0, 8)}, b"\0" * 9),
    ("hole in the middle", {"a": _tensor(0, 8), "b": _tensor(12, 20)}, b"\0" * 20),
    ("overlap", {"a": _tensor(0, 8), "b": _tensor(4, 12)}, b"\0" * 12),
    ("the same place twice", {"a": _tensor(0, 8), "b": _tensor(0, 8)}, b"\0" * 8),
    ("backwards", {"a": _tensor(8, 0)}, b"\0" * 8),
    ("negative", {"a": _tensor(-8, 0)}, b"\0" * 8),
    ("another shape", {"a": _tensor(0, 8, [3])}, b"\0" * 8),
    ("huge shape", {"a": _tensor(0, 8, [2**62, 4])}, b"\0" * 8),
    ("negative shape", {"a": _tensor(0, 8, [-2])}, b"\0" * 8),
    ("shape of text", {"a": _tensor(0, 8, ["2"])}, b"\0" * 8),
    ("shape of truth", {"a": _tensor(0, 4, [True])}, b"\0" * 4),
    ("shape of a fraction", {"a": _tensor(0, 8, [2.0])}, b"\0" * 8),
    ("no shape", {"a": {"dtype": "F32", "data_offsets": [0, 8]}}, b"\0" * 8),
    ("one thing more", {"a": {**_tensor(0, 8), "x": 1}}, b"\0" * 8),
    ("unknown dtype", {"a": _tensor(0, 8, [2], "F33")}, b"\0" * 8),
    ("dtype of another type", {"a": _tensor(0, 8, [2], ["F32"])}, b"\0" * 8),
    ("three offsets", {"a": {**_tensor(0, 8), "data_offsets": [0, 8, 8]}}, b"\0" * 8),
    ("offsets as text", {"a": {**_tensor(0, 8), "data_offsets": "08"}}, b"\0" * 8),
    ("a list", [1], b""),
    ("null", b"null", b""),
    ("not JSON", b"{", b""),
    ("not UTF-8", b'{"\xff": 1}', b""),
    ("deep", b"[" * 100_000, b""),
    ("long number", b'{"a": ' + b"9" * 5000 + b"}", b""),
    ("metadata of numbers", {"__metadata__": {"a": 1}}, b""),
    ("metadata as a list", {"__metadata__": []}, b""),
    ("a tensor as a number", {"a": 1}, b""),
]


@pytest.mark.parametrize(("header", "data"), [lie[1:] for lie in LIES], ids=[x[0] for x in LIES])
def test_headers_that_lie(tmp_path: Path, header: Any, data: bytes) -> None:
    path = _file(tmp_path / "x.safetensors", header, data)
    with pytest.raises(CheckpointError, match=r"x\.safetensors .*; expected a safetensors file"):
        read_header(path)


def test_a_name_twice(tmp_path: Path) -> None:
    one = json.dumps(_tensor(0, 8))
    with pytest.raises(CheckpointError, match="stands twice"):
        read_header(_file(tmp_path / "x", f'{{"a": {one}, "a": {one}}}'.encode(), b"\0" * 8))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 7, (MAX_HEADER + 1).to_bytes(8, "little"), b"\xff" * 8, b"\x40" + b"\0" * 20],
)
def test_lengths_that_lie(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        read_header(path)


@given(st.binary(max_size=60), st.integers(0, 8))
def test_no_bytes_raise_anything_else(text: bytes, data: int) -> None:
    try:
        parse_header(text, data, Path("x"))
    except CheckpointError:
        return
    # What we let through, the format's own reader lets through too.
    try:
        deserialize(len(text).to_bytes(8, "little") + text + b"\0" * data)
    except SafetensorError as error:
        pytest.fail(str(error))
