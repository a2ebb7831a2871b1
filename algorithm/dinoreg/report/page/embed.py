"""Arrays as a page holds them: turned to right, anterior, superior, reduced, in 8 bits, packed.

Convention: an embedded array runs along R, A, S as its own affine says; its voxel e covers `stride` voxels of
the stored array along each axis.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.space.orientation import orientation_of, ras_axes, states_orientation, to_ras
from regtask.grid import Grid

# Greys 1 to 255; 0 is a voxel without a value.
_DARKEST, _LEVELS = 1, 254
# How far the embedded greys reach beyond the window that is drawn at first, so that it can be widened.
_WIDER = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Where the voxels of an embedded array lie.

    Attributes:
        shape: of the embedded array, along R, A, S.
        stored: from embedded to stored voxels, (4, 4).
        affine: from embedded voxels to RAS mm, (4, 4).
        orientation: as in `dinoreg.space.orientation`, of the stored array.
        stride: stored voxels per embedded one, along the stored axes.
        letters: direction in which each embedded axis rises, such as "RAS"; empty where it is not known.
    """

    shape: tuple[int, ...]
    stored: NDArray[np.float64]
    affine: NDArray[np.float64]
    orientation: str
    stride: tuple[int, ...]
    letters: str

    def as_dict(self) -> dict[str, Any]:
        """Return what the page has to know."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        return {
            "shape": list(self.shape),
            "spacing": spacing.round(6).tolist(),
            "affine": self.affine.round(6).tolist(),
            "letters": self.letters,
        }


def make_lattice(grid: Grid, most_voxels: int) -> Lattice:
    """Lay embedded voxels over a grid, no more than so many; the finest axis is reduced first.

    Args:
        grid: of the stored array.
        most_voxels: 1 or more.
    """
    stride = np.ones(3, dtype=int)
    shape, spacing = np.array(grid.shape), np.array(grid.spacing_mm)
    while np.prod(-(-shape // stride)) > most_voxels:
        size = np.where(shape > stride, stride * spacing, np.inf)
        stride[int(size.argmin())] += 1
    orientation = orientation_of(grid.affine)
    axis_of, falls = ras_axes(orientation)
    stored = np.zeros((4, 4))
    stored[3, 3] = 1
    reduced = -(-shape // stride)
    for position, (axis, fall) in enumerate(zip(axis_of, falls, strict=True)):
        step = float(stride[axis])
        stored[axis, position] = -step if fall else step
        stored[axis, 3] = (step - 1) / 2 + (step * (reduced[axis] - 1) if fall else 0)
    affine = grid.affine @ stored
    letters = orientation_of(affine) if states_orientation(grid.affine) else ""
    turned = tuple(int(reduced[axis]) for axis in axis_of)
    return Lattice(turned, stored, affine, orientation, tuple(int(s) for s in stride), letters)


def reduce_mean(array: NDArray[Any], lattice: Lattice) -> NDArray[np.float32]:
    """Average an array (I, J, K) or (I, J, K, C) over embedded voxels, and turn it."""
    return _turned(_blocks(array.astype(np.float32, copy=False), lattice.stride).mean((1, 3, 5)), lattice)


def reduce_any(mask: NDArray[np.bool_], lattice: Lattice) -> NDArray[np.bool_]:
    """Tell which embedded voxels hold at least one voxel of a mask, turned."""
    return _turned(np.asarray(_blocks(mask, lattice.stride).any((1, 3, 5))), lattice)


def reduce_nearest(array: NDArray[Any], lattice: Lattice) -> NDArray[Any]:
    """Take the voxel in the middle of each embedded one, turned."""
    axes = [
        np.minimum(np.arange(0, size, step) + step // 2, size - 1)
        for size, step in zip(array.shape, lattice.stride, strict=False)
    ]
    return _turned(array[np.ix_(*axes)], lattice)


def grey_limits() -> tuple[int, int]:
    """Return the greys of the lower and upper end of the window that `greys_in` was given."""
    margin = _LEVELS * (1 - 1 / _WIDER) / 2
    return round(_DARKEST + margin), round(_DARKEST + _LEVELS - margin)


def greys_in(
    image: NDArray[np.floating],
    lattice: Lattice,
    window: tuple[float, float],
    absent: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Return an image in 8 bits, with the given window in the middle half of the greys."""
    middle, width = (window[0] + window[1]) / 2, (window[1] - window[0]) * _WIDER
    share = (reduce_mean(image, lattice) - middle) / width + 0.5
    greys = np.asarray(np.rint(np.clip(share, 0, 1) * _LEVELS + _DARKEST), dtype=np.uint8)
    if absent is not None:
        greys[reduce_nearest(absent, lattice)] = 0
    return greys


def vectors_in(displacement: NDArray[np.floating], lattice: Lattice) -> NDArray[np.float32]:
    """Return a displacement in embedded voxels, averaged and turned, (*S, 3).

    Args:
        displacement: (I, J, K, 3), stored voxels.
        lattice: of the result.
    """
    linear = np.linalg.inv(lattice.stored[:3, :3])
    return np.asarray(reduce_mean(displacement, lattice) @ linear.T, dtype=np.float32)


def pack(array: NDArray[Any]) -> str:
    """Return an array, the first axis fastest, as text; vectors component by component."""
    raw = np.asarray(array).tobytes(order="F")
    return pack_bytes(raw)


def pack_bytes(raw: bytes) -> str:
    """Return bytes as text: gzip in base 64, the same each time."""
    return base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode("ascii")


def _blocks(array: NDArray[Any], stride: tuple[int, ...]) -> NDArray[Any]:
    """Lay out (I, J, K, ...) as (I', s, J', s, K', s, ...); the last block of an axis repeats the border."""
    more = [(0, -size % step) for size, step in zip(array.shape, stride, strict=False)]
    padded = (
        np.pad(array, [*more, *[(0, 0)] * (array.ndim - 3)], mode="edge")
        if any(sum(m) for m in more)
        else array
    )
    shape = [n for size, step in zip(padded.shape, stride, strict=False) for n in (size // step, step)]
    return padded.reshape(*shape, *array.shape[3:])


def _turned(array: NDArray[Any], lattice: Lattice) -> NDArray[Any]:
    stacked = array[None] if array.ndim == 3 else np.moveaxis(array, -1, 0)
    turned = to_ras(torch.from_numpy(np.ascontiguousarray(stacked)), lattice.orientation).numpy()
    return turned[0] if array.ndim == 3 else np.moveaxis(turned, 0, -1)
