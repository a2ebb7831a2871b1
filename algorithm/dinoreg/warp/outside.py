"""Points that do not lie in the image that they are said to be of."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.physical import PointSpace, to_voxels

# A point may lie so far beyond the edge of the fixed image, voxels.
_MARGIN_VOXELS = 1.0
_LISTED = 3


def refuse_points_outside(points: NDArray[np.float64], fixed: Grid, space: PointSpace, path: Path) -> None:
    """Raise where points are more than a voxel outside the fixed image, with the spaces that they would fit.

    Args:
        points: (N, 3) in `space`.
        fixed: grid of the fixed image.
        space: what the points are given in.
        path: of their file, for the message.

    Raises:
        DataError: some are outside.
    """
    outside = _outside(points, fixed, space)
    if not outside.any():
        return
    rows = outside.nonzero()[0]
    first = "; ".join(
        f"point {row + 1} at " + ", ".join(f"{number:.6g}" for number in points[row].tolist())
        for row in rows[:_LISTED]
    )
    others: list[PointSpace] = [
        other for other in get_args(PointSpace) if other != space and not _outside(points, fixed, other).any()
    ]
    raise DataError(
        Fault(
            "landmarks outside the fixed image",
            str(path),
            f"points in --space {space} within a voxel of a grid of {fixed.shape} voxels",
            f"{len(rows)} of {len(points)} outside, the first: {first}",
            "they would fit --space " + " or --space ".join(others)
            if others
            else "they fit in no space: are they of the fixed image?",
        )
    )


def _outside(points: NDArray[np.float64], fixed: Grid, space: PointSpace) -> NDArray[np.bool_]:
    voxels = to_voxels(points, fixed, space)
    low, high = -0.5 - _MARGIN_VOXELS, np.array(fixed.shape) - 0.5 + _MARGIN_VOXELS
    return np.asarray(((voxels < low) | (voxels > high)).any(axis=1))
