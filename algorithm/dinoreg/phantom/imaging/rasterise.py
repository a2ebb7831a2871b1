"""Evaluate an anatomy on a lattice, brick by brick, with partial volume by supersampling."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.texture import texture_at
from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.points import Floats

_BRICK = 12  # voxels a side: 8 samples a voxel make 32768 points, which stay in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """An anatomy on a lattice.

    Attributes:
        tissues: (I, J, K) tissue ids at the voxel centres.
        means: (I, J, K, C), tabulated tissue values averaged over each voxel.
        texture: (I, J, K) texture at the voxel centres, standard deviation about 1.
    """

    tissues: NDArray[np.uint8]
    means: NDArray[np.float32]
    texture: NDArray[np.float32]


def _bricks(shape: tuple[int, int, int]) -> Iterator[tuple[slice, slice, slice]]:
    starts = [range(0, n, _BRICK) for n in shape]
    for i, j, k in product(*starts):
        yield (
            slice(i, min(i + _BRICK, shape[0])),
            slice(j, min(j + _BRICK, shape[1])),
            slice(k, min(k + _BRICK, shape[2])),
        )


def _voxels(brick: tuple[slice, slice, slice], offsets: Floats) -> Floats:
    """Return the sample positions of a brick, (voxels * offsets, 3), in voxels."""
    axes = np.meshgrid(*(np.arange(s.start, s.stop, dtype=np.float64) for s in brick), indexing="ij")
    return (np.stack(axes, axis=-1).reshape(-1, 1, 3) + offsets).reshape(-1, 3)


def label_voxels(anatomy: Anatomy, lattice: Lattice) -> NDArray[np.uint8]:
    """Return the tissue ids at the voxel centres of an anatomy as it is, (I, J, K)."""
    tissues = np.empty(lattice.shape, np.uint8)
    for brick in _bricks(lattice.shape):
        size = tuple(s.stop - s.start for s in brick)
        centres = lattice.to_mm(_voxels(brick, np.zeros((1, 3))))
        tissues[brick] = anatomy.labels_at(centres).reshape(size)
    return tissues


def rasterise(
    anatomy: Anatomy, deformation: SmoothDeformation, lattice: Lattice, table: Floats, *, supersample: int = 2
) -> Raster:
    """Evaluate the anatomy at the displaced positions of every voxel; nothing is resampled.

    Convention: the value at position x is that of the anatomy at deformation(x).

    Args:
        anatomy: the patient.
        deformation: fixed -> anatomy position.
        lattice: where to evaluate.
        table: (number of tissues, C), values of each tissue.
        supersample: samples along each axis of a voxel for `means`.

    Returns:
        The raster; memory beyond it stays below 20 MB.
    """
    fractions = (np.arange(supersample) + 0.5) / supersample - 0.5
    offsets = np.stack(np.meshgrid(*[fractions] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    tissues = np.empty(lattice.shape, np.uint8)
    texture = np.empty(lattice.shape, np.float32)
    means = np.empty((*lattice.shape, table.shape[1]), np.float32)
    for brick in _bricks(lattice.shape):
        size = tuple(s.stop - s.start for s in brick)
        centres = deformation(lattice.to_mm(_voxels(brick, np.zeros((1, 3)))))
        tissues[brick] = anatomy.labels_at(centres).reshape(size)
        texture[brick] = texture_at(centres, anatomy.patient).reshape(size)
        samples = anatomy.labels_at(deformation(lattice.to_mm(_voxels(brick, offsets))))
        means[brick] = table[samples].reshape(*size, len(offsets), -1).mean(axis=-2)
    return Raster(tissues, means, texture)
