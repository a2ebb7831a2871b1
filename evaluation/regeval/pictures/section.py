"""A plane through a volume, turned as radiologists look at it.

Convention: array order (i, j, k); an affine maps voxels to RAS mm. The patient's right, front and head are
where a light box has them: left, top and top.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regtask.grid import Grid

# Names of the two ends of each scanner axis: where it begins, where it ends.
_ENDS = (("L", "R"), ("P", "A"), ("I", "S"))
_NAMES = ("sagittal", "coronal", "axial")
_UP = 2  # the scanner axis from foot to head


@dataclass(frozen=True, slots=True)
class Section:
    """Where a volume is cut, and how the cut is shown.

    Attributes:
        axis: array axis that is cut across.
        name: the plane that this is closest to.
        rows: array axis that runs down the picture.
        columns: array axis that runs to the right.
        turned: whether rows and columns run against their array axes.
        letters: the patient's sides at the left, right, top and bottom.
        pixel_mm: height and width of a voxel in the picture.
    """

    axis: int
    name: str
    rows: int
    columns: int
    turned: tuple[bool, bool]
    letters: tuple[str, str, str, str]
    pixel_mm: tuple[float, float]

    @classmethod
    def of(cls, grid: Grid) -> "Section":
        """Return the axial plane; of a flat image its own."""
        scanner, forwards = _closest_axes(grid)
        flat = [axis for axis, size in enumerate(grid.shape) if size == 1]
        axis = flat[0] if flat else scanner.index(_UP)
        # Rows run along the higher scanner axis: from front to back, or from head to foot.
        columns, rows = sorted((one for one in range(3) if one != axis), key=lambda one: scanner[one])
        left, top = (_ENDS[scanner[one]][::-1] for one in (columns, rows))
        return cls(
            axis=axis,
            name=_NAMES[scanner[axis]],
            rows=rows,
            columns=columns,
            turned=(forwards[rows], forwards[columns]),
            letters=(*left, *top),
            pixel_mm=(grid.spacing_mm[rows], grid.spacing_mm[columns]),
        )

    def plane(self, volume: NDArray[Any], index: int) -> NDArray[Any]:
        """Return a plane of a volume (I, J, K, ...) as it is shown, (rows, columns, ...)."""
        plane = volume.take(index, self.axis)
        if self.rows > self.columns:
            plane = plane.swapaxes(0, 1)
        down, right = (-1 if turned else 1 for turned in self.turned)
        shown: NDArray[Any] = plane[::down, ::right]
        return shown

    def positions(self, shape: tuple[int, ...], index: int) -> NDArray[np.float64]:
        """Return the voxel coordinates of a shown plane of a volume (I, J, K): (rows, columns, 3)."""
        wanted = [np.arange(size, dtype=np.float64) for size in shape]
        wanted[self.axis] = np.array([float(index)])
        lattice = np.stack(np.meshgrid(*wanted, indexing="ij"), axis=-1)
        return self.plane(lattice, 0)


def _closest_axes(grid: Grid) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return the scanner axis that each array axis is closest to, and whether they run the same way."""
    cosines = grid.affine[:3, :3] / np.asarray(grid.spacing_mm)
    best = max(permutations(range(3)), key=lambda order: sum(abs(cosines[order[a], a]) for a in range(3)))
    return best, tuple(bool(cosines[best[axis], axis] > 0) for axis in range(3))
