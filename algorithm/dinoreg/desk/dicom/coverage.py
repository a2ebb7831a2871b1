"""Outlines to shares of pixels, and back: how much of a pixel is inside, where the line of one half runs."""

from __future__ import annotations

from collections.abc import Sequence

import contourpy
import numpy as np
from numpy.typing import NDArray

# Lines per pixel along the second axis; along the first the share is exact.
_LINES = 8
_SMALLEST_AREA = 0.25  # pixels; less is the noise of an interpolation


def coverage(outlines: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return which share of each pixel lies inside closed outlines.

    An outline inside another is a hole (even-odd rule), as structure sets draw them.

    Args:
        outlines: (N, 2) each, pixels; the centre of the first pixel is (0, 0).
        shape: (I, J).

    Returns:
        (I, J), 0 to 1.
    """
    starts = np.concatenate([outline for outline in outlines])
    ends = np.concatenate([np.roll(outline, -1, axis=0) for outline in outlines])
    shares = np.zeros((shape[0], shape[1]), np.float64)
    low = max(0, int(np.floor(starts[:, 1].min() + 0.5)))
    high = min(shape[1] - 1, int(np.floor(starts[:, 1].max() + 0.5)))
    for line in range(low * _LINES, (high + 1) * _LINES):
        y = (line + 0.5) / _LINES - 0.5
        crossing = (starts[:, 1] <= y) != (ends[:, 1] <= y)
        if not crossing.any():
            continue
        a, b = starts[crossing], ends[crossing]
        x = np.sort(a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
        # What lies left of x, pixel by pixel, with changing sign: entering adds, leaving takes away.
        left = np.clip(x[:, None] + 0.5 - np.arange(shape[0]), 0, 1)
        shares[:, line // _LINES] += (left[1::2] - left[::2]).sum(axis=0)
    result: NDArray[np.float32] = (shares / _LINES).astype(np.float32)
    return result


def outlines(shares: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Return the closed lines along which the share is a half, (N, 2) pixels each; the inverse of `coverage`.

    Args:
        shares: (I, J).
    """
    padded = np.pad(shares, 1)  # a line that would end at the border closes along it
    # Without corners of its own contourpy takes x along the second axis.
    lines = contourpy.contour_generator(z=padded.T.astype(np.float64), name="serial").lines(0.5)
    found = [np.asarray(line, np.float64)[:-1] - 1 for line in lines]
    return [line for line in found if len(line) > 2 and _area(line) >= _SMALLEST_AREA]


def _area(outline: NDArray[np.float64]) -> float:
    x, y = outline.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
