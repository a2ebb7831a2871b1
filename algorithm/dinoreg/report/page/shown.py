"""What a page shows of a pair, as it is known after a registration. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regtask.grid import Grid
from regtask.images import Volume

Labels = NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points of fixed and where they belong in moving.

    Attributes:
        fixed: (N, 3) voxels of the fixed image.
        found: (N, 3) voxels of the moving image, where the registration takes them.
        true: (N, 3) voxels of the moving image, where they are known to belong; None where that is not known.
        names: one each, or empty.
    """

    fixed: NDArray[np.float64]
    found: NDArray[np.float64]
    true: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A registered pair.

    Convention: pull; fixed voxel x lies at voxel x + displacement[x] of `read_on`, and so at that place of
    the scanner in `moving`.

    Attributes:
        title: names the pair.
        fixed: the fixed image.
        moving: the moving image, on its own grid.
        warped: (I, J, K), moving on the grid of fixed.
        displacement: (I, J, K, 3), voxels.
        read_on: grid in whose voxels the displaced positions are. Where images are joined voxel to voxel, as
            in Learn2Reg, that is the moving grid.
        fixed_labels: (I, J, K) or None.
        moving_labels: on the moving grid, or None.
        warped_labels: (I, J, K), or None.
        label_names: label -> name.
        points: or None.
        facts: name -> value, a table of whatever else is known.
        verdict: "good", "doubtful", "failed", or empty where nobody judged.
        reasons: for the verdict.
    """

    title: str
    fixed: Volume
    moving: Volume
    warped: NDArray[np.float32]
    displacement: NDArray[np.float32]
    read_on: Grid
    fixed_labels: Labels | None = None
    moving_labels: Labels | None = None
    warped_labels: Labels | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)
    points: Points | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def to_moving(self) -> NDArray[np.float64]:
        """Matrix from voxels of `read_on` to voxels of `moving`, (4, 4)."""
        if np.array_equal(self.read_on.affine, self.moving.grid.affine):
            return np.eye(4)
        return np.asarray(np.linalg.solve(self.moving.grid.affine, self.read_on.affine))

    def has_data(self) -> NDArray[np.bool_]:
        """Tell where the warped image has a value of the moving one, (I, J, K)."""
        to_moving = self.to_moving
        upper = [size - 0.5 for size in self.moving.grid.shape]
        inside = np.ones(self.fixed.grid.shape, dtype=np.bool_)
        for start in range(len(inside)):  # slab by slab: positions take six times the memory of an image
            positions = self.displacement[start : start + 1] + _indices(start, inside.shape)
            moved = positions @ to_moving[:3, :3].T + to_moving[:3, 3]
            inside[start : start + 1] = np.logical_and(moved >= -0.5, moved < upper).all(axis=-1)
        return inside


def _indices(first: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Index of each voxel of one slab, (1, J, K, 3)."""
    axes = [np.array([float(first)]), *(np.arange(size, dtype=np.float64) for size in shape[1:])]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
