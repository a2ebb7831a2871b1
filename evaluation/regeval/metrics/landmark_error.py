"""Target registration error at corresponding landmarks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regeval.metrics.warp import Interpolation, warp_landmarks


def tre_mm(
    fixed_points: NDArray[np.floating],
    moving_points: NDArray[np.floating],
    field: NDArray[np.floating] | None,
    spacing_mm: Sequence[float],
    interpolation: Interpolation = "linear",
) -> NDArray[np.float64]:
    """Return the distance of each displaced landmark from its true place: |(p + u(p) - q) * spacing|.

    Convention: pull; u in voxels of the fixed grid. Row n of both arrays is one anatomical point.

    Args:
        fixed_points: (N, 3) p, voxels of the fixed image.
        moving_points: (N, 3) q, voxels of the moving image.
        field: (I, J, K, 3) voxels, or None for the identity.
        spacing_mm: voxel size of the moving image along each array axis, mm; that is where both ends lie.
        interpolation: of the field, see `regeval.metrics.warp.warp_landmarks`.

    Returns:
        (N,) millimetres.

    Raises:
        ValueError: the arrays do not have these shapes, or not as many points.
    """
    if fixed_points.shape != moving_points.shape:
        got = f"{fixed_points.shape} and {moving_points.shape}"
        raise ValueError(f"landmarks: expected as many points in both images, got {got}")
    if len(spacing_mm) != 3 or not all(size > 0 for size in spacing_mm):
        raise ValueError(f"spacing_mm: expected 3 values above 0, got {tuple(spacing_mm)}")
    found = fixed_points if field is None else warp_landmarks(fixed_points, field, interpolation)
    return np.asarray(np.linalg.norm((found - moving_points) * np.asarray(spacing_mm), axis=1))
