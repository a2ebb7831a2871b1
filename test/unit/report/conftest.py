"""A pair on a non-cubic, anisotropic grid, bent by a smooth field."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


@pytest.fixture
def case() -> SimpleNamespace:
    rng = np.random.default_rng(2)
    shape = (26, 34, 20)
    fixed, moving = (gaussian_filter(rng.normal(size=shape), 2).astype(np.float32) for _ in range(2))
    field = np.stack([gaussian_filter(rng.normal(size=shape), 4) for _ in range(3)], -1).astype(np.float32)
    labels = np.zeros(shape, np.int16)
    labels[5:15, 8:20, 4:12] = 1
    labels[16:26, 8:20, 4:12] = 2  # cut by the image border
    return SimpleNamespace(
        fixed=fixed,
        moving=moving,
        warped=moving[::-1],
        field=field * 20,
        spacing_mm=(2.0, 1.25, 3.0),
        labels=labels,
    )
