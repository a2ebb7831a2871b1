"""Known rigid motions of a real volume, resampled once, in another contrast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dinoreg.preprocess.foreground import content_box
from dinoreg.preprocess.prepare import PreparedImage

SIGNS = (1, -1, 1)  # of the motion along or about each axis, so that an exchange of axes shows
# Intensities in [0, 1] of the moving image by those of the fixed one.
CONTRASTS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "same": lambda values: values,
    "gamma": lambda values: values**0.7,
    "inverted": lambda values: (1 - values) ** 1.5,
}
NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Motion:
    """A rigid motion of the image about its centre: x -> centre + R (x - centre) + t.

    Attributes:
        kind: along or about an axis.
        axis: of the array.
        amount: mm or degrees, with its sign.
    """

    kind: Literal["shift", "rotation"]
    axis: int
    amount: float

    def displacement_mm(self, offsets_mm: NDArray[Any]) -> NDArray[Any]:
        """Return T(x) - x.

        Args:
            offsets_mm: (N, 3) x - centre.
        """
        shift = np.zeros(3)
        if self.kind == "shift":
            shift[self.axis] = self.amount
        moved: NDArray[Any] = offsets_mm @ self.turn().T + shift - offsets_mm
        return moved

    def turn(self) -> NDArray[Any]:
        """Return R, (3, 3)."""
        turn = np.eye(3)
        if self.kind == "rotation":
            a, b = (self.axis + 1) % 3, (self.axis + 2) % 3
            angle = np.deg2rad(self.amount)
            turn[a, a] = turn[b, b] = np.cos(angle)
            turn[b, a] = np.sin(angle)
            turn[a, b] = -turn[b, a]
        return turn


def move(values: NDArray[Any], motion: Motion, spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Resample (I, J, K) so that moved(T(x)) = values(x); linear, 0 from outside."""
    spacing = np.asarray(spacing_mm)
    centre = (np.array(values.shape) - 1) / 2
    back = motion.turn().T
    matrix = back * spacing / spacing[:, None]  # of voxels
    shift = back @ motion.displacement_mm(np.zeros((1, 3)))[0] / spacing
    moved: NDArray[np.float32] = ndimage.affine_transform(
        values.astype(np.float32), matrix, centre - matrix @ centre - shift, order=1, mode="constant"
    )
    return moved


def make_moving(
    fixed: PreparedImage, motion: Motion, contrast: str, spacing_mm: Sequence[float], *, seed: int = 0
) -> PreparedImage:
    """Move a prepared image and give it another contrast and noise; the background stays 0."""
    foreground = move(fixed.foreground, motion, spacing_mm) > 0.5
    values = CONTRASTS[contrast](np.clip(move(fixed.values, motion, spacing_mm), 0, 1))
    noise = NOISE * np.random.default_rng(seed).standard_normal(values.shape, dtype=np.float32)
    values = np.where(foreground, np.clip(values + noise, 0, 1), 0).astype(np.float32)
    return PreparedImage(values, foreground, content_box(values), f"{fixed.identity} {motion} {contrast}")


def all_motions(shifts_mm: Sequence[float], rotations_degrees: Sequence[float]) -> list[Motion]:
    """List all motions, each amount along and about every axis."""
    return [
        Motion(kind, axis, SIGNS[axis] * amount)
        for kind, amounts in (("shift", shifts_mm), ("rotation", rotations_degrees))
        for amount in amounts
        for axis in range(3)
    ]
