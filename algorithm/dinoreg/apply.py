"""Apply a displacement to images, label maps and landmarks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.space.coords import identity_positions
from dinoreg.space.sampling import sample_linear
from regtask.grid import Grid


def moving_positions(field: NDArray[np.float32], fixed: Grid, moving: Grid) -> torch.Tensor:
    """Return where each fixed voxel is read in a moving image, (3, I, J, K) voxels of that image.

    Learn2Reg fields join two images of one shape, voxel to voxel, whatever their affines say. An image of
    another shape (the original scan before it was resampled for the task) is reached through scanner space:
    the displaced voxel of the fixed grid, in RAS mm, then the image's own voxels.

    Args:
        field: (I, J, K, 3), voxels of the fixed grid.
        fixed: grid of the field.
        moving: grid of the image to be read.
    """
    vectors = torch.from_numpy(np.moveaxis(field, -1, 0).copy())
    positions = identity_positions(vectors.shape[1:]) + vectors
    if moving.shape == fixed.shape:
        return positions
    matrix = np.linalg.inv(moving.affine) @ fixed.affine
    linear = torch.from_numpy(matrix[:3, :3]).float()
    offset = torch.from_numpy(matrix[:3, 3]).float().view(3, 1, 1, 1)
    return torch.einsum("ab,b...->a...", linear, positions) + offset


def warp_image(image: NDArray[np.float32], positions: torch.Tensor) -> NDArray[np.float32]:
    """Read an image at positions by linear interpolation; outside it, its smallest value.

    Args:
        image: (I', J', K').
        positions: (3, I, J, K) voxels of `image`.

    Returns:
        (I, J, K) float32.
    """
    values = sample_linear(torch.from_numpy(np.ascontiguousarray(image))[None], positions)[0]
    warped = torch.where(_inside(positions, image.shape), values, float(image.min()))
    result: NDArray[np.float32] = warped.numpy()
    return result


def warp_labels(labels: NDArray[np.integer], positions: torch.Tensor) -> NDArray[np.integer]:
    """Read the nearest label at positions; outside the map, 0. No new label appears.

    Args:
        labels: (I', J', K').
        positions: (3, I, J, K) voxels of `labels`.

    Returns:
        (I, J, K) of the dtype of `labels`.
    """
    nearest = torch.floor(positions + 0.5).long().numpy()
    inside = _inside(positions, labels.shape).numpy()
    index = tuple(np.clip(nearest[axis], 0, n - 1) for axis, n in enumerate(labels.shape))
    return np.where(inside, labels[index], np.zeros((), dtype=labels.dtype))


def warp_landmarks(points: NDArray[np.float64], field: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return where landmarks of the fixed image lie in the moving image.

    Args:
        points: (N, 3) voxels of the fixed image; outside it the border displacement holds.
        field: (I, J, K, 3).

    Returns:
        (N, 3) voxels of the moving image.
    """
    vectors = torch.from_numpy(np.moveaxis(field, -1, 0).copy())
    at = torch.from_numpy(np.asarray(points, dtype=np.float32).T.copy())
    moved: NDArray[np.float64] = points + sample_linear(vectors, at).T.double().numpy()
    return moved


def _inside(positions: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Whether positions lie within half a voxel of the lattice, (*T)."""
    upper = torch.tensor([n - 0.5 for n in shape]).view(-1, *([1] * (positions.ndim - 1)))
    return ((positions >= -0.5) & (positions < upper)).all(dim=0)
