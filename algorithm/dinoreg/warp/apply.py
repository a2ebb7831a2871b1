"""Apply a transform to images, label maps and landmarks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.space.coords import identity_positions
from dinoreg.space.sampling import sample_linear
from dinoreg.space.transform import Transform
from regtask.grid import Grid
from regtask.physical import PointSpace, from_voxels, to_voxels


def moving_positions(transform: Transform, image: Grid) -> torch.Tensor:
    """Return where each fixed voxel is read in an image, (3, I, J, K) voxels of that image.

    Args:
        transform: fixed to moving.
        image: grid of the image to be read: the registered one, or another over the same scanner space.

    Raises:
        SpaceError: voxel to voxel, but of another shape.
    """
    matrix = transform.moving_to_image(image)
    vectors = torch.from_numpy(np.moveaxis(transform.field, -1, 0).copy())
    positions = identity_positions(vectors.shape[1:]) + vectors
    if np.array_equal(matrix, np.eye(4)):
        return positions
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
    warped = torch.where(inside(positions, image.shape), values, float(image.min()))
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
    known = inside(positions, labels.shape).numpy()
    index = tuple(np.clip(nearest[axis], 0, n - 1) for axis, n in enumerate(labels.shape))
    return np.where(known, labels[index], np.zeros((), dtype=labels.dtype))


def warp_landmarks(
    points: NDArray[np.float64], transform: Transform, space: PointSpace
) -> NDArray[np.float64]:
    """Return where landmarks of the fixed image lie in the moving image.

    Args:
        points: (N, 3) of the fixed image; outside it the border displacement holds.
        transform: fixed to moving.
        space: of the points and of the result: voxels of the fixed and of the registered moving image, or mm.

    Returns:
        (N, 3).
    """
    voxels = to_voxels(points, transform.fixed, space)
    vectors = torch.from_numpy(np.moveaxis(transform.field, -1, 0).copy())
    at = torch.from_numpy(np.asarray(voxels, dtype=np.float32).T.copy())
    moved = voxels + sample_linear(vectors, at).T.double().numpy()
    return from_voxels(moved, transform.moving, space)


def inside(positions: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Tell which positions lie within half a voxel of a lattice, (*T) bool.

    Args:
        positions: (3, *T) voxels.
        shape: (I', J', K') of the lattice.
    """
    upper = torch.tensor([n - 0.5 for n in shape]).view(-1, *([1] * (positions.ndim - 1)))
    return ((positions >= -0.5) & (positions < upper)).all(dim=0)
