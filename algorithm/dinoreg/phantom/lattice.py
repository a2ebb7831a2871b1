"""The voxel lattice of the phantom's images, written on its own so that no registration code is used."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from dinoreg.phantom.body.shapes import Vector
from dinoreg.phantom.points import Floats

Shape3 = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Axis-aligned voxel lattice.

    Attributes:
        shape: voxels along array axes 0, 1, 2.
        affine: (4, 4), voxel centre -> patient RAS mm.
    """

    shape: Shape3
    affine: Floats

    @classmethod
    def centred(cls, shape: Shape3, spacing_mm: Vector, centre_mm: Vector) -> Self:
        """Build a lattice stored left-anterior-superior: axis 0 runs from right to left, so -x.

        Args:
            shape: voxels along each axis.
            spacing_mm: voxel size along each axis.
            centre_mm: RAS position of the middle of the lattice.
        """
        affine = np.diag([-spacing_mm[0], spacing_mm[1], spacing_mm[2], 1.0])
        affine[:3, 3] = np.asarray(centre_mm) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
        return cls(shape, affine)

    def to_mm(self, voxels: Floats) -> Floats:
        """Turn (N, 3) voxel coordinates into (N, 3) RAS mm."""
        positions: Floats = np.asarray(voxels) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return positions

    def to_voxels(self, points_mm: Floats) -> Floats:
        """Turn (N, 3) RAS mm into (N, 3) voxel coordinates."""
        return self.vectors_to_voxels(points_mm - self.affine[:3, 3])

    def vectors_to_voxels(self, vectors_mm: Floats) -> Floats:
        """Turn (N, 3) RAS displacements in mm into components along the array axes, in voxels."""
        components: Floats = np.asarray(vectors_mm) @ np.linalg.inv(self.affine[:3, :3]).T
        return components

    def contains(self, voxels: Floats, margin: float = 0.0) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Tell which of (N, 3) voxel coordinates lie between the outermost voxel centres, (N,)."""
        last = np.asarray(self.shape) - 1
        inside: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.all(
            (voxels >= margin) & (voxels <= last - margin), axis=1
        )
        return inside

    def voxel_grid(self) -> Floats:
        """Return all voxel indices, (I * J * K, 3), in C order."""
        return np.indices(self.shape, dtype=np.float64).reshape(3, -1).T.copy()
