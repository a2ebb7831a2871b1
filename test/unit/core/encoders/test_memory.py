import itertools

import pytest
import torch
from slice_encoders import MeanEncoder

from dinoreg.encoders.slices.memory import EncodingSize, estimate_memory, fits, smaller_sizes
from dinoreg.runtime import free_memory


def _estimate(size, **changes):
    facts = {
        "plane_voxels": 192 * 160,
        "slices": 65,
        "cells": 96 * 80 * 96,
        "components": 24,
        "token_bytes": 2,
        "value_bytes": 2,
    }
    return estimate_memory(MeanEncoder(patch_size=14, channels=1024), size, **(facts | changes))


def test_tokens_of_the_paper():
    # 192 * 160 * 5.3^2 / 14^2 = 4402.6 patches of 1024 numbers of 2 bytes, 65 slices, two volumes: 1.17 GB.
    found = _estimate(EncodingSize(5.3, 1))
    assert found.tokens == pytest.approx(2 * 65 * 4402.55 * 1024 * 2, rel=1e-4)
    assert _estimate(EncodingSize(5.3, 1, on_host=True)).tokens == 0
    assert found.peak == found.tokens + max(found.activations, found.features)


def test_every_measure_makes_it_smaller():
    whole = _estimate(EncodingSize(5.3, 8))
    assert _estimate(EncodingSize(5.3, 4)).activations == pytest.approx(whole.activations / 2, rel=1e-6)
    coarser = _estimate(EncodingSize(2.65, 8))
    assert coarser.activations == pytest.approx(whole.activations / 4, rel=1e-6)
    assert coarser.tokens == pytest.approx(whole.tokens / 4, rel=1e-6)


def test_attention_that_is_not_fused_counts_its_matrices():
    """SAM at 64 x 64 patches: 24 matrices of 4096 x 4096 in float32 are 1.6 GB."""
    encoder = MeanEncoder(patch_size=16, channels=256)
    facts = {"plane_voxels": 1024**2, "slices": 1, "cells": 1000, "components": 24, "token_bytes": 2}
    size = EncodingSize(1.0, 1)
    fused = estimate_memory(encoder, size, value_bytes=4, **facts)
    encoder.square_matrices = 24
    found = estimate_memory(encoder, size, value_bytes=4, **facts)
    assert found.activations - fused.activations == pytest.approx(24 * 4096**2 * 4, rel=1e-6)


def test_sizes_shrink_batch_first_then_move_to_the_host_then_get_coarser():
    sizes = list(itertools.islice(smaller_sizes(5.0, 4, has_host=True), 7))
    assert sizes == [
        EncodingSize(5.0, 4),
        EncodingSize(5.0, 2),
        EncodingSize(5.0, 1),
        EncodingSize(5.0, 4, on_host=True),
        EncodingSize(5.0, 2, on_host=True),
        EncodingSize(5.0, 1, on_host=True),
        EncodingSize(4.0, 4),
    ]
    on_cpu = list(smaller_sizes(1.2, 2, has_host=False))
    assert on_cpu == [EncodingSize(1.2, 2), EncodingSize(1.2, 1), EncodingSize(1.0, 2), EncodingSize(1.0, 1)]
    assert list(smaller_sizes(0.5, 1, has_host=False)) == [EncodingSize(0.5, 1)]


def test_a_fifth_is_left_over():
    estimate = _estimate(EncodingSize(3.0, 1))
    assert fits(estimate, int(estimate.peak / 0.8) + 1)
    assert not fits(estimate, int(estimate.peak / 0.8) - 1)


def test_free_memory_of_the_host_is_that_of_the_container(monkeypatch):
    monkeypatch.setenv("REGTASK_MEMORY", "3000000")
    assert free_memory(torch.device("cpu")) == 3_000_000
