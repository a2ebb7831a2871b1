"""HD95 in voxels against the library that the official evaluator calls."""

from pathlib import Path

import numpy as np
import pytest

from regeval.metrics.hd95_official import hd95_voxels

pytestmark = pytest.mark.golden


def test_every_pair():
    with np.load(Path(__file__).with_name("surface_distance.npz")) as golden:
        masks = np.unpackbits(golden["masks"], axis=-1, count=int(golden["last"])).astype(bool)
        expected = golden["distances"]
    ours = [hd95_voxels(a, b) for a, b in masks]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
    assert len(np.unique(expected)) > 8
