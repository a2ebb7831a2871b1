"""Which slices of a volume are encoded, and how their patches lie in the volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """Slices of a volume and the patches on them.

    Convention: the in-plane axes are the two others than `axis`, in array order. `crop` is resized to the
    input size with `align_corners=False`, so that patch a of h along an axis has its centre at voxel
    start + (a + 0.5) (stop - start) / h - 0.5.

    Attributes:
        image_shape: (I, J, K) voxels.
        axis: array axis across the slices.
        indices: the encoded slices, voxels along `axis`, ascending.
        extent: first and past-the-last slice with content along `axis`.
        crop: first and past-the-last voxel with content along both in-plane axes.
        patches: number of patches along both in-plane axes.
        patch_size: pixels per patch side.
    """

    image_shape: tuple[int, ...]
    axis: int
    indices: tuple[int, ...]
    extent: tuple[int, int]
    crop: tuple[tuple[int, int], tuple[int, int]]
    patches: tuple[int, int]
    patch_size: int

    @property
    def plane(self) -> tuple[int, int]:
        """The two in-plane array axes."""
        first, second = (a for a in range(3) if a != self.axis)
        return first, second

    @property
    def input_size(self) -> tuple[int, int]:
        """Pixels of an encoded slice along both in-plane axes, exact multiples of the patch size."""
        return self.patches[0] * self.patch_size, self.patches[1] * self.patch_size

    @property
    def voxels_per_patch(self) -> tuple[float, float]:
        """Side of a patch along both in-plane axes, voxels."""
        (a, b), (c, d) = self.crop
        return (b - a) / self.patches[0], (d - c) / self.patches[1]


def plan_slices(
    foreground: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    *,
    axis: int,
    up_sampling: float,
    slice_step: int,
    patch_size: int,
) -> SlicePlan:
    """Plan the encoding of a volume.

    Every `slice_step`-th slice between the first and the last one with foreground is encoded, the last one
    always, and slices without foreground never. The blank border in the plane is cropped. Pixels are as near
    to square in millimetres as whole patches allow, `up_sampling` of them per voxel of the finer in-plane
    axis (Song et al. 2024, section 2.1: s = 5.3).

    Args:
        foreground: (I, J, K), voxels that count; where there is none, all count.
        spacing_mm: voxel size per axis.
        axis: array axis across the slices.
        up_sampling: pixels per voxel.
        slice_step: distance of the encoded slices, voxels.
        patch_size: of the encoder, pixels.
    """
    box = foreground_box(foreground)
    first, second = (a for a in range(3) if a != axis)
    filled: NDArray[np.bool_] = np.asarray(foreground.any(axis=(first, second)))
    if not filled.any():
        filled = np.ones_like(filled)
    start, stop = box[axis]
    chosen = [*range(start, stop - 1, slice_step), stop - 1]
    finest = min(spacing_mm[first], spacing_mm[second])

    def count(a: int) -> int:
        length = (box[a][1] - box[a][0]) * spacing_mm[a] / finest
        return max(1, round(length * up_sampling / patch_size))

    return SlicePlan(
        image_shape=tuple(foreground.shape),
        axis=axis,
        indices=tuple(index for index in chosen if filled[index]),
        extent=(start, stop),
        crop=(box[first], box[second]),
        patches=(count(first), count(second)),
        patch_size=patch_size,
    )


def foreground_box(foreground: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Return first and past-the-last voxel per axis of what is true; of everything where nothing is."""
    bounds = []
    for axis in range(foreground.ndim):
        others = tuple(a for a in range(foreground.ndim) if a != axis)
        filled = np.flatnonzero(np.any(foreground, axis=others))
        bounds.append(
            (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, int(foreground.shape[axis]))
        )
    return tuple(bounds)
