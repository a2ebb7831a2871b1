"""Borders between labels as SVG paths: exactly along the edges of the voxels, nothing smoothed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def outline(labels: NDArray[Any]) -> str:
    """Return the path of all edges between pixels of different labels; beyond the image there is label 0.

    Args:
        labels: (rows, columns).

    Returns:
        An SVG path in pixels: x to the right, y downwards, (0, 0) the outer corner of the first pixel.
    """
    padded = np.pad(labels, 1)
    across = padded[:-1, 1:-1] != padded[1:, 1:-1]  # (rows + 1, columns): edges that run to the right
    along = padded[1:-1, :-1] != padded[1:-1, 1:]  # (rows, columns + 1): edges that run down
    level = [f"M{start} {line}H{stop}" for line, start, stop in _runs(across)]
    upright = [f"M{line} {start}V{stop}" for line, start, stop in _runs(along.T)]
    return "".join(level + upright)


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return (line, first, behind the last) of each run of True within a line."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    _, stops = np.nonzero(steps == -1)
    return list(zip(lines.tolist(), starts.tolist(), stops.tolist(), strict=True))
