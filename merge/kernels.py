"""Element-wise arithmetic on the bits of tensors, in numpy.

Everything here is exact or rounds in a stated place, uses no BLAS and adds up in
a stated order, and so gives the same bytes on any CPU and for any number of threads (class A).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Bits = NDArray[np.uint32]

FLOATS: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""How the three float dtypes lie on disk; bfloat16 is read as its 16 bits."""

_TILE = 1 << 20  # entries; keeps the running sum of a tile within the second-level cache
_LANES = 4096
_INFINITY = 0x7F800000


def widen(raw: NDArray[np.generic], dtype: str) -> Array:
    """``raw`` as float32, exactly.

    Args:
        raw: an array of the disk dtype ``FLOATS[dtype]``.

    >>> widen(np.array([0x3F80, 0xC040], "<u2"), "BF16")
    array([ 1., -3.], dtype=float32)
    """
    if dtype == "BF16":
        bits: Bits = raw.astype(np.uint32)
        bits <<= np.uint32(16)
        return bits.view(np.float32)
    return raw.astype(np.float32)


def narrow(values: Array, dtype: str) -> NDArray[np.generic]:
    """``values`` in the disk dtype ``FLOATS[dtype]``, rounded once, to nearest, ties to even.

    A value too large for ``dtype`` becomes infinite; :func:`is_finite` finds it.

    >>> narrow(np.float32([1.0, 1.00390625, 1.01171875]), "BF16").tolist()  # halves, to even
    [16256, 16256, 16258]
    """
    if dtype == "BF16":
        bits = np.ascontiguousarray(values).view(np.uint32)
        rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
        return (rounded >> np.uint32(16)).astype("<u2")
    with np.errstate(over="ignore"):
        return values.astype(FLOATS[dtype])


def is_finite(raw: NDArray[np.generic], dtype: str) -> bool:
    """Whether no entry of ``raw`` (disk dtype) is NaN or infinite."""
    if dtype == "BF16":
        return not bool(np.any((raw.astype(np.uint16) & np.uint16(0x7F80)) == 0x7F80))
    return bool(np.isfinite(raw).all())


def outer_sum(left: Array, right: Array, scale: float) -> Array:
    """scale · Σₖ left[:, k] ⊗ right[k, :], summed in float32 in the order of k.

    Args:
        left: ``(rows, rank)``.
        right: ``(rank, columns)``.

    Returns:
        ``(rows, columns)``.

    >>> outer_sum(np.float32([[1], [2]]), np.float32([[3, 4]]), 0.5)
    array([[1.5, 2. ],
           [3. , 4. ]], dtype=float32)
    """
    rows, columns = left.shape[0], right.shape[1]
    result = np.zeros((rows, columns), np.float32)
    step = max(1, _TILE // max(1, columns))
    for first in range(0, rows, step):
        tile = result[first : first + step]
        for k in range(left.shape[1]):
            tile += left[first : first + step, k, None] * right[k]
        tile *= np.float32(scale)
    return result


def magnitude_bits(values: Array) -> Bits:
    """The bits of \\|values\\|, flat: unsigned integers in the order of the magnitudes."""
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
    return bits & np.uint32(0x7FFFFFFF)


class Threshold(NamedTuple):
    """Keeps the largest magnitudes: all above ``bits``, and the first ``ties`` equal to it."""

    bits: int
    """Magnitude bits of the smallest entry kept."""
    ties: int
    """How many entries of just that magnitude are kept, by lowest flat index."""


def threshold(values: Array, k: int) -> Threshold:
    """The threshold that keeps exactly ``k`` entries of ``values``.

    >>> threshold(np.float32([3, -1, 2, -2]), 2)  # 3, and the first of the two 2s
    Threshold(bits=1073741824, ties=1)
    """
    n = values.size
    if k <= 0:
        return Threshold(_INFINITY, 0)
    if k >= n:
        return Threshold(0, n)
    bits = magnitude_bits(values)
    least = np.partition(bits, n - k)[n - k]
    return Threshold(int(least), k - int(np.count_nonzero(bits > least)))


def keep(values: Array, cut: Threshold) -> Array:
    """``values`` with every entry that ``cut`` doesn't keep set to 0; a copy.

    >>> keep(np.float32([3, -1, 2, -2]), threshold(np.float32([3, -1, 2, -2]), 2))
    array([3., 0., 2., 0.], dtype=float32)
    """
    return np.where(kept(values, cut), values, np.float32(0))


def kept(values: Array, cut: Threshold) -> NDArray[np.bool_]:
    """Where ``cut`` keeps an entry; the shape of ``values``."""
    bits = magnitude_bits(values)
    mask = bits > np.uint32(cut.bits)
    if cut.ties:
        mask[np.flatnonzero(bits == np.uint32(cut.bits))[: cut.ties]] = True
    return mask.reshape(values.shape)


def high_histogram(values: Array) -> NDArray[np.int64]:
    """Counts by the top 15 magnitude bits, ``(32768,)``: the first level of the k-th search."""
    return np.bincount(magnitude_bits(values) >> np.uint32(16), minlength=1 << 15)


def low_histogram(values: Array, high: int) -> NDArray[np.int64]:
    """Counts by the low 16 bits among entries whose top bits are ``high``, ``(65536,)``."""
    bits = magnitude_bits(values)
    inside = bits[(bits >> np.uint32(16)) == np.uint32(high)]
    return np.bincount(inside & np.uint32(0xFFFF), minlength=1 << 16)


def ordered_sum(values: NDArray[np.float64]) -> float:
    """Σ of a flat array in an order that is always the same, so that the bytes are too.

    Lanes are added up row by row, then exactly; numpy's own sum may order by the machine's
    vector width.
    """
    whole = values.size // _LANES * _LANES
    lanes = np.zeros(_LANES)
    for row in values[:whole].reshape(-1, _LANES):
        lanes += row
    return math.fsum((*lanes, *values[whole:]))


def count_equal(values: Array, bits: int) -> int:
    """How many entries have just the magnitude ``bits``."""
    return int(np.count_nonzero(magnitude_bits(values) == np.uint32(bits)))


def bin_of_kth(counts: NDArray[np.int64], k: int) -> tuple[int, int]:
    """The bin that holds the ``k``-th largest entry, and its rank within that bin from the top.

    >>> bin_of_kth(np.array([5, 3, 2]), 4)
    (1, 2)
    """
    from_top = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_top, k))
    before = int(from_top[place - 1]) if place else 0
    return len(counts) - 1 - place, k - before
