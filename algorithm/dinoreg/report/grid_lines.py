"""A regular grid on a plane of the fixed image, bent to where the field finds it in the moving image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dinoreg.report.views import View

_LINES = 26


class GridLines(NamedTuple):
    """Pieces of grid lines, each between two neighbouring voxels.

    Attributes:
        segments_mm: (N, 2, 2), start and end of each piece, (across, up) in mm from the lower left corner.
        length_mm: (N,), mean length of the displacement at both ends, its part out of the plane included.
    """

    segments_mm: NDArray[np.float64]
    length_mm: NDArray[np.float64]


def deformed_grid(field: NDArray[np.floating], spacing_mm: tuple[float, ...], view: View) -> GridLines:
    """Bend grid lines of a plane by the field: x -> x + u(x), the part of u within the plane.

    Args:
        field: (I, J, K, 3) voxels of the fixed grid, pull.
        spacing_mm: voxel size along each array axis.
        view: the plane.
    """
    vectors_mm = view.take(field).astype(np.float64) * np.asarray(spacing_mm)  # (up, across, 3)
    length_mm = np.linalg.norm(vectors_mm, axis=-1)
    rows, columns = length_mm.shape
    step_mm = np.divide(view.size_mm, (columns, rows))
    positions_mm = np.stack(
        [
            (np.arange(columns)[None, :] + 0.5) * step_mm[0]
            + (-1 if view.flipped[0] else 1) * vectors_mm[..., view.across],
            (np.arange(rows)[:, None] + 0.5) * step_mm[1]
            + (-1 if view.flipped[1] else 1) * vectors_mm[..., view.up],
        ],
        axis=-1,
    )  # (up, across, 2)
    distance_mm = max(view.size_mm) / _LINES
    pieces = [
        _lines(positions_mm, length_mm, _every(rows, distance_mm / step_mm[1])),
        _lines(positions_mm.swapaxes(0, 1), length_mm.T, _every(columns, distance_mm / step_mm[0])),
    ]
    return GridLines(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def _every(count: int, step: float) -> NDArray[np.int64]:
    """Choose indices about `step` apart, with equal margins at both ends."""
    number = max(2, round(count / step))
    return np.unique(((np.arange(number) + 0.5) * count / number).astype(np.int64))


def _lines(
    positions_mm: NDArray[np.float64], length_mm: NDArray[np.float64], rows: NDArray[np.int64]
) -> GridLines:
    points = positions_mm[rows]  # (lines, points, 2)
    segments = np.stack([points[:, :-1], points[:, 1:]], axis=2).reshape(-1, 2, 2)
    lengths = length_mm[rows]
    return GridLines(segments, ((lengths[:, :-1] + lengths[:, 1:]) / 2).ravel())
