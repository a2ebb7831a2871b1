"""What people get wrong about landmark files, each as the correction that would put it right.

Convention: right points are voxels, the centre of the first voxel being 0, 0, 0, columns along the axes.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regtask.grid import Grid

Points = NDArray[np.float64]
_AXES = "ijk"


@dataclass(frozen=True, slots=True)
class Form:
    """One way in which points are written wrongly.

    Attributes:
        name: what is suspected.
        remedy: what to do.
        corrected: points (N, 3) as in the file, and the grid of their image -> voxels.
        of: whose file; fields with both files wrong are far more usual than one of them.
    """

    name: str
    remedy: str
    corrected: Callable[[Points, Grid], Points]
    of: Literal["both", "fixed", "moving"] = "both"

    def apply(self, points: Points, grid: Grid, role: Literal["fixed", "moving"]) -> Points:
        """Return the points of one image put right."""
        return self.corrected(points, grid) if self.of in ("both", role) else points


def forms() -> tuple[Form, ...]:
    """Return what can be wrong, the simplest first."""
    found = [
        Form(
            "landmarks counted from 1",
            "subtract 1 from every coordinate: the first voxel is 0, 0, 0",
            lambda points, grid: points - 1,
        ),
        Form(
            "landmarks in millimetres",
            "divide each coordinate by the voxel size along its axis",
            lambda points, grid: points / np.asarray(grid.spacing_mm),
        ),
        Form(
            "landmarks in scanner millimetres (RAS)",
            "multiply by the inverse of the image's affine",
            _from_ras,
        ),
        Form(
            "landmarks in scanner millimetres (LPS)",
            "turn the signs of the first two coordinates, then multiply by the inverse of the image's affine",
            lambda points, grid: _from_ras(points * (-1, -1, 1), grid),
        ),
    ]
    orders = [order for order in itertools.permutations(range(3)) if order != (0, 1, 2)]
    for of in ("both", "fixed", "moving"):
        found += [_swapped(order, of) for order in orders]
    return tuple(found)


def _from_ras(points: Points, grid: Grid) -> Points:
    inverse = np.linalg.inv(grid.affine)
    return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])


def _swapped(order: tuple[int, ...], of: Literal["both", "fixed", "moving"]) -> Form:
    """Suspect another order: column c of the right points is column `order[c]` of the file."""
    held = ", ".join(_AXES[order.index(column)] for column in range(3))
    whose = "" if of == "both" else f" of the {of} image"
    return Form(
        f"landmarks{whose} with swapped axes ({held})",
        "write the columns i, j, k: along the axes of the array as nibabel reads the image",
        lambda points, grid: points[:, order],
        of,
    )
