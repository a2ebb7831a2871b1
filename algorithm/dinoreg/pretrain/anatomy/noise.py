"""Smooth random fields: cubic B-splines over random control points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.optimise.bspline import basis_matrix
from dinoreg.space.separable import apply_along_axes

# Standard deviation of a cubic B-spline over independent unit control points, averaged over a span, per axis.
_SPREAD_PER_AXIS = (151 / 315) ** 0.5


def smooth_noise(
    shape: Sequence[int], wavelength: float, rng: np.random.Generator, *, channels: int = 1
) -> Tensor:
    """Return (channels, *shape) float32 of mean about 0 and standard deviation about 1.

    Args:
        shape: three sizes, voxels.
        wavelength: distance of the control points, voxels; what is finer is not there.
        rng: source of the control points.
        channels: independent fields.
    """
    meshes = [max(1, round(n / wavelength)) for n in shape]
    control = rng.standard_normal((channels, *(m + 3 for m in meshes)), dtype=np.float32)
    matrices = [basis_matrix(n, mesh).float() for n, mesh in zip(shape, meshes, strict=True)]
    return apply_along_axes(torch.from_numpy(control), matrices) / _SPREAD_PER_AXIS**3


def noise_array(shape: Sequence[int], wavelength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (*shape) float32, one field of `smooth_noise`."""
    array: NDArray[np.float32] = smooth_noise(shape, wavelength, rng)[0].numpy()
    return array
