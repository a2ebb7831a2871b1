"""The working grid of a pair: axes along right, anterior and superior, cubic voxels, and the way back.

How a scanner or a converter stored a scan, along which axis first and with which voxels, is not to change
what is found. Whatever counts voxels or goes by array axes runs on this grid instead; its displacement is
brought back to the image's own voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.space.orientation import (
    RAS,
    from_ras,
    ras_axes,
    to_ras,
    turn_vectors_from_ras,
    turn_vectors_to_ras,
)
from dinoreg.space.separable import apply_along_axes, averaging_matrix, interpolation_matrix

# Voxels that are this near to cubic stay as they are: resampling costs sharpness.
_NEARLY_CUBIC = 1.25


@dataclass(frozen=True, slots=True)
class WorkingGrid:
    """A grid over the same box as an image, its axes along R, A, S.

    Convention: both grids begin at the same outer border, so that the centre of image voxel i along an axis
    lies at working position (i + 0.5) * image spacing / working spacing - 0.5.

    Attributes:
        image_shape: voxels of the image, in array order.
        image_spacing_mm: their size, in array order.
        orientation: of the image.
        shape: voxels of this grid along R, A, S.
        spacing_mm: their size.
    """

    image_shape: tuple[int, ...]
    image_spacing_mm: tuple[float, ...]
    orientation: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]

    @property
    def is_image(self) -> bool:
        """Whether this is the image's own grid."""
        return self.orientation == RAS and self.shape == self.image_shape

    def resample(self, volume: Float[Tensor, "c i j k"]) -> Float[Tensor, "c r a s"]:
        """Bring (C, *image_shape) here: linear, and where voxels are coarser the mean over each of them."""
        turned = to_ras(volume, self.orientation)
        if tuple(turned.shape[1:]) == self.shape:
            return turned
        matrices = [
            averaging_matrix(m, n, w / s, device=volume.device)
            for m, n, w, s in zip(self.shape, turned.shape[1:], self.spacing_mm, self._ras_mm, strict=True)
        ]
        return apply_along_axes(turned, matrices)

    def displacement_to_image(self, displacement: Float[Tensor, "3 r a s"]) -> Float[Tensor, "3 i j k"]:
        """Bring (3, *shape), voxels of this grid, to (3, *image_shape), voxels of the image."""
        axes, _ = ras_axes(self.orientation)
        sizes = [self.image_shape[axis] for axis in axes]
        ratios = [w / s for w, s in zip(self.spacing_mm, self._ras_mm, strict=True)]
        if tuple(displacement.shape[1:]) != tuple(sizes):
            matrices = [
                interpolation_matrix(n, m, ratio, device=displacement.device)
                for n, m, ratio in zip(sizes, self.shape, ratios, strict=True)
            ]
            displacement = apply_along_axes(displacement, matrices)
        scale = torch.tensor(ratios, dtype=displacement.dtype, device=displacement.device).view(-1, 1, 1, 1)
        return from_ras(turn_vectors_from_ras(displacement * scale, self.orientation), self.orientation)

    def displacement_from_image(self, displacement: Float[Tensor, "3 i j k"]) -> Float[Tensor, "3 r a s"]:
        """Bring (3, *image_shape), voxels of the image, here: the other way of `displacement_to_image`."""
        vectors = self.resample(turn_vectors_to_ras(displacement, self.orientation))
        scale = vectors.new_tensor([s / w for s, w in zip(self._ras_mm, self.spacing_mm, strict=True)])
        return vectors * scale.view(-1, 1, 1, 1)

    def from_image(self) -> NDArray[np.float64]:
        """Return the map from voxels of the image to voxels of this grid, (4, 4)."""
        axes, falls = ras_axes(self.orientation)
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        rows = zip(axes, falls, self._ras_mm, self.spacing_mm, strict=True)
        for row, (axis, fall, image_mm, mm) in enumerate(rows):
            ratio, last = image_mm / mm, self.image_shape[axis] - 1
            matrix[row, axis] = -ratio if fall else ratio
            matrix[row, 3] = ((last if fall else 0) + 0.5) * ratio - 0.5
        return matrix

    @property
    def _ras_mm(self) -> list[float]:
        return [self.image_spacing_mm[axis] for axis in ras_axes(self.orientation)[0]]


def working_grid(
    shape: Sequence[int], spacing_mm: Sequence[float], orientation: str, *, max_voxels: int
) -> WorkingGrid:
    """Return the working grid of an image.

    Voxels become cubes of the same volume where they are far from cubic, and larger where there would be more
    than `max_voxels`. A plane, which has an axis of one voxel, keeps its grid.

    Args:
        shape: (I, J, K).
        spacing_mm: of the image.
        orientation: of the image.
        max_voxels: at most about so many.
    """
    image = tuple(shape), tuple(float(s) for s in spacing_mm)
    if min(shape) == 1:
        return WorkingGrid(*image, RAS, *image)
    axes, _ = ras_axes(orientation)
    sizes, steps = [shape[a] for a in axes], [float(spacing_mm[a]) for a in axes]
    cube = math.prod(steps) ** (1 / 3)
    crowded = (math.prod(sizes) / max_voxels) ** (1 / 3)
    if crowded <= 1 and max(steps) / min(steps) <= _NEARLY_CUBIC:
        return WorkingGrid(*image, orientation, tuple(sizes), tuple(steps))
    side = cube * max(1.0, crowded)
    counts = tuple(max(1, math.ceil(n * s / side - 1e-3)) for n, s in zip(sizes, steps, strict=True))
    return WorkingGrid(*image, orientation, counts, (side, side, side))
