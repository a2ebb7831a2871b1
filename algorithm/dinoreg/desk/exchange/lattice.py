"""A transform read off at the voxels of a grid, stored there, and the error that storing it makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.images import itk_frame, to_itk
from regtask.grid import Grid
from regtask.physical import from_voxels


@dataclass(frozen=True, slots=True)
class StoringError:
    """How far a stored transform leads from where the original does, mm.

    Attributes:
        largest_mm: over all places compared.
        most_mm: 99 % of the places are no further off.
        places: what was compared, in words.
    """

    largest_mm: float
    most_mm: float
    places: str

    def __str__(self) -> str:
        return f"at most {self.largest_mm:.3g} mm from the original ({self.places}; 99 %: {self.most_mm:.3g})"


def points_of(grid: Grid) -> NDArray[np.float64]:
    """Return where the voxels of a grid are, (I * J * K, 3) LPS mm."""
    return from_voxels(np.indices(grid.shape).reshape(3, -1).T, grid, "lps")


def displacement_on(transform: sitk.Transform, grid: Grid) -> NDArray[np.float32]:
    """Return the displacement of a transform at each voxel, (I, J, K, 3) LPS mm."""
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat32, *itk_frame(grid))
    return np.ascontiguousarray(sitk.GetArrayFromImage(field).transpose(2, 1, 0, 3))


def field_transform(vectors_lps: NDArray[np.floating], grid: Grid) -> sitk.DisplacementFieldTransform:
    """Return vectors as a transform.

    Args:
        vectors_lps: (I, J, K, 3) LPS mm.
        grid: where they are.
    """
    return sitk.DisplacementFieldTransform(to_itk(np.asarray(vectors_lps, np.float64), grid))


def coarse_grid(grid: Grid, stride: int) -> Grid:
    """Return a lattice of every so many voxels that reaches over all voxel centres of a grid.

    Args:
        grid: of the image.
        stride: voxels between two nodes along each axis; an axis of one voxel keeps it.
    """
    sizes = np.array(grid.shape)
    nodes = np.where(sizes > 1, -(-(sizes - 1) // stride) + 1, 1)
    first = (sizes - 1 - (nodes - 1) * stride) / 2  # what reaches over does so on both sides
    affine = grid.affine.copy()
    affine[:3, :3] *= np.where(sizes > 1, stride, 1)
    affine[:3, 3] = grid.index_to_ras(first[None])[0]
    return Grid(tuple(int(n) for n in nodes), affine)


def coarser(vectors_lps: NDArray[np.float32], grid: Grid, stride: int) -> tuple[NDArray[np.float32], Grid]:
    """Read vectors linearly at the nodes of a coarse lattice; those beyond the grid continue its slope.

    Args:
        vectors_lps: (I, J, K, 3) on `grid`.
        grid: of the image.
        stride: see `coarse_grid`.

    Returns:
        The vectors at the nodes, and the lattice.
    """
    lattice = coarse_grid(grid, stride)
    first = grid.ras_to_index(lattice.affine[None, :3, 3])[0]
    for axis, nodes in enumerate(lattice.shape):
        vectors_lps = _linear_along(vectors_lps, first[axis] + stride * np.arange(nodes), axis)
    return vectors_lps, lattice


def error_of(original: sitk.Transform, stored: sitk.Transform, grid: Grid, places: str) -> StoringError:
    """Compare two transforms at the voxels of a grid."""
    apart = np.linalg.norm(displacement_on(original, grid) - displacement_on(stored, grid), axis=-1)
    return StoringError(float(apart.max()), float(np.quantile(apart, 0.99)), places)


def between(grid: Grid) -> Grid:
    """Return the lattice of the centres between the voxels of a grid, where interpolation errs most."""
    shift = [0.5 if n > 1 else 0.0 for n in grid.shape]
    affine = grid.affine.copy()
    affine[:3, 3] = grid.index_to_ras([shift])[0]
    return Grid(tuple(max(1, n - 1) for n in grid.shape), affine)


def _linear_along(values: NDArray[np.float32], at: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    low = np.clip(np.floor(at).astype(int), 0, max(0, values.shape[axis] - 2))
    share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    high = np.minimum(low + 1, values.shape[axis] - 1)
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share
