"""The square window that is tracked, and its coordinates.

Window coordinates are [-1, 1] along both array axes, isotropic in mm, so that a rotation is one; pixel
positions are voxels of the frame. Landmarks for people are mm from the centre of pixel (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.motion.settings import Window
from dinoreg.space.coords import to_sampling_grid
from regtask.errors import DataError, Fault


@dataclass(frozen=True, slots=True)
class Square:
    """A window on frames.

    Attributes:
        centre: (x, y) voxels.
        half_mm: half its side.
        spacing_mm: of the frames.
        pixels: per side, of the resampled window.
    """

    centre: tuple[float, float]
    half_mm: float
    spacing_mm: tuple[float, float]
    pixels: int

    def to_voxels(self, points: Tensor) -> Tensor:
        """Window coordinates (..., 2) to voxels."""
        return points * (self.half_mm / points.new_tensor(self.spacing_mm)) + points.new_tensor(self.centre)

    def from_voxels(self, voxels: Tensor) -> Tensor:
        """Voxels (..., 2) to window coordinates."""
        spacing, centre = voxels.new_tensor(self.spacing_mm), voxels.new_tensor(self.centre)
        return (voxels - centre) * spacing / self.half_mm

    def to_mm(self, points: Tensor) -> Tensor:
        """Window coordinates (..., 2) to mm from the centre of pixel (0, 0)."""
        return self.to_voxels(points) * points.new_tensor(self.spacing_mm)


def place_window(
    settings: Window,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    target: NDArray[np.bool_] | None,
    where: str,
) -> Square:
    """Put the window on a sequence.

    Args:
        settings: size and place.
        shape: of a frame.
        spacing_mm: of a frame.
        target: (X, Y), the target of the template, where there is one.
        where: named in the error.

    Raises:
        DataError: the window follows the target, and there is none.
    """
    centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    if settings.centre == "target":
        if target is None:
            raise DataError(
                Fault(
                    "no target in the template frame",
                    where,
                    expected="its outline as labels, since the window is placed around it",
                    remedy='give the labels of the template, or train with window.centre = "image"',
                )
            )
        corners = np.argwhere(target)
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        centre = (float(middle[0]), float(middle[1]))
    longest = max(n * size for n, size in zip(shape, spacing_mm, strict=True))
    return Square(centre, (settings.side_mm or longest) / 2, spacing_mm, settings.pixels)


def window_points(pixels: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return the window coordinates of the pixel centres, (pixels, pixels, 2)."""
    line = (2 * torch.arange(pixels, dtype=torch.float32, device=device) + 1) / pixels - 1
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)


def sample_frames(frames: Tensor, square: Square, points: Tensor) -> Tensor:
    """Read frames at window coordinates, linearly; the border value outside.

    Args:
        frames: (B, 1, X, Y).
        square: the window.
        points: (B, H, W, 2).

    Returns:
        (B, 1, H, W).
    """
    return _sample(frames, square.to_voxels(points))


def warp_windows(windows: Tensor, points: Tensor) -> Tensor:
    """Read resampled windows (B, 1, S, S) at window coordinates (B, H, W, 2), differentiable in both."""
    size = windows.shape[-1]
    return _sample(windows, (points + 1) * (size / 2) - 0.5)


def _sample(frames: Tensor, voxels: Tensor) -> Tensor:
    grid = to_sampling_grid(voxels.movedim(-1, 0), frames.shape[2:])[0]
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=False)
