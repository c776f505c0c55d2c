"""Bits: widening, rounding, thresholds, and the sum of outer products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isogloss.merge import kernels

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)
VECTORS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=12), elements=FINITE)
# Few values, so that equal magnitudes and zeros are the rule.
TIED = hnp.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([-2, -1, -0.0, 0, 1, 2]))
TORCH = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_16_bit_number_survives(dtype: str) -> None:
    raw = np.arange(1 << 16, dtype=np.uint16)
    held = raw if dtype == "BF16" else raw.view("<f2")
    wide = kernels.widen(held, dtype)
    wanted = torch.from_numpy(raw.view(np.int16)).view(TORCH[dtype]).float().numpy()
    np.testing.assert_array_equal(wide, wanted)
    finite = np.isfinite(wide)
    assert np.array_equal(kernels.narrow(wide[finite], dtype), held[finite])
    assert kernels.is_finite(held[finite], dtype)
    assert not kernels.is_finite(held, dtype)


@given(VECTORS, st.sampled_from(["BF16", "F16", "F32"]))
def test_rounding_is_torchs(values: np.ndarray, dtype: str) -> None:
    got = kernels.widen(kernels.narrow(values, dtype), dtype)
    wanted = torch.from_numpy(values).to(TORCH[dtype]).float().numpy()
    np.testing.assert_array_equal(got, wanted)


@given(TIED | VECTORS, st.integers(0, 200))
def test_threshold_keeps_just_k_the_first_of_equals(values: np.ndarray, k: int) -> None:
    k = min(k, values.size)
    flat = values.reshape(-1)
    best = sorted(range(flat.size), key=lambda i: (-abs(flat[i]), i))[:k]
    wanted = np.zeros_like(flat)
    wanted[best] = flat[best]
    got = kernels.keep(values, kernels.threshold(values, k))
    np.testing.assert_array_equal(got.reshape(-1), wanted)


@given(TIED | VECTORS, st.integers(1, 200))
def test_two_histograms_find_the_same_threshold(values: np.ndarray, k: int) -> None:
    k = min(k, values.size)
    high, rank = kernels.bin_of_kth(kernels.high_histogram(values), k)
    low, ties = kernels.bin_of_kth(kernels.low_histogram(values, high), rank)
    least = np.sort(kernels.magnitude_bits(values))[-k]
    assert (high << 16 | low) == least
    assert ties == k - np.count_nonzero(kernels.magnitude_bits(values) > least)
    assert ties <= kernels.count_equal(values, int(least))


def test_outer_sum_does_not_depend_on_its_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    left, right = (random.standard_normal(s, np.float32) for s in ((37, 5), (5, 23)))
    whole = kernels.outer_sum(left, right, 0.75)
    np.testing.assert_allclose(whole, 0.75 * (left @ right), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(kernels, "_TILE", 46)
    assert kernels.outer_sum(left, right, 0.75).tobytes() == whole.tobytes()
