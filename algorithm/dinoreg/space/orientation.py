"""Which way the patient lies in an array, and the one place that turns a volume accordingly. No torch here.

Arrays are used as stored, except on the working grid of a pair and inside an encoder that knows anatomy by
its direction.

Convention: an orientation is three letters, the direction in which the index of each array axis rises: "RAS"
is right, anterior, superior; "LPS" left, posterior, superior.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

RAS = "RAS"
# Which of right, anterior and superior runs across the slices.
_ACROSS = {"sagittal": 0, "coronal": 1, "axial": 2}
_OPPOSITE = {"L": "R", "P": "A", "I": "S"}

# nibabel carries no types here.
_letters_of: Callable[..., tuple[str, ...]] = aff2axcodes


def orientation_of(affine: NDArray[Any] | None) -> str:
    """Return the orientation that is closest to an affine; "RAS" where the affine does not state one.

    Args:
        affine: (4, 4) index -> RAS mm.
    """
    return RAS if affine is None or not states_orientation(affine) else "".join(_letters_of(affine))


def states_orientation(affine: NDArray[Any]) -> bool:
    """Tell whether an affine was made by a scanner rather than put in where none was known.

    Challenge files often carry the spacing on the diagonal, no rotation and the origin 0, whatever way the
    patient lies in the array: letters drawn by such a header would lie.

    Args:
        affine: (4, 4) index -> RAS mm.
    """
    placeholder = np.diag(np.abs(np.diag(affine)))
    return not np.array_equal(affine, placeholder)


def ras_axes(orientation: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return the array axis that runs along right, anterior and superior, and whether its index falls."""
    directions = [_OPPOSITE.get(letter, letter) for letter in orientation]
    axes = tuple(directions.index(direction) for direction in RAS)
    return axes, tuple(orientation[axis] != direction for axis, direction in zip(axes, RAS, strict=True))


def axis_across(plane: str, orientation: str) -> int:
    """Return the array axis across "sagittal", "coronal" or "axial" slices of an image."""
    return ras_axes(orientation)[0][_ACROSS[plane]]


def to_ras(volume: Tensor, orientation: str) -> Tensor:
    """Turn (C, I, J, K) of an orientation to (C, R, A, S); a view where no axis is mirrored."""
    axes, falls = ras_axes(orientation)
    turned = volume.permute(0, *(axis + 1 for axis in axes))
    mirrored = [position + 1 for position, fall in enumerate(falls) if fall]
    return turned.flip(mirrored) if mirrored else turned


def from_ras(volume: Tensor, orientation: str) -> Tensor:
    """Turn (C, R, A, S) to (C, I, J, K) of an orientation: the inverse of `to_ras`."""
    axes, falls = ras_axes(orientation)
    mirrored = [position + 1 for position, fall in enumerate(falls) if fall]
    turned = volume.flip(mirrored) if mirrored else volume
    return turned.permute(0, *(axes.index(axis) + 1 for axis in range(3)))


def turn_vectors_from_ras(vectors: Tensor, orientation: str) -> Tensor:
    """Turn the components of vectors, not their places, from R, A, S to the array axes of an orientation.

    Args:
        vectors: (3, *S), components along right, anterior, superior.
        orientation: of the array whose axes the components are to run along.
    """
    axes, falls = ras_axes(orientation)
    order = [axes.index(axis) for axis in range(3)]
    signs = vectors.new_tensor([-1.0 if falls[n] else 1.0 for n in order])
    return vectors[order] * signs.view(-1, *([1] * (vectors.ndim - 1)))


def turn_vectors_to_ras(vectors: Tensor, orientation: str) -> Tensor:
    """Turn the components of vectors the other way: the inverse of `turn_vectors_from_ras`."""
    axes, falls = ras_axes(orientation)
    signs = vectors.new_tensor([-1.0 if fall else 1.0 for fall in falls])
    return vectors[list(axes)] * signs.view(-1, *([1] * (vectors.ndim - 1)))
