"""A displacement field, the two grids that it joins, and how an image is reached from it. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regtask.errors import Fault, SpaceError
from regtask.grid import Grid

# scanner: a displaced voxel of the moving grid is a place in the scanner, and an image is read at that place.
# voxel_to_voxel: it is an index, and an image is read at that index whatever its header says (Learn2Reg).
Join = Literal["scanner", "voxel_to_voxel"]


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """Where each voxel of the fixed image lies in the moving one.

    Convention: pull; fixed voxel x lies at voxel x + field[x] of `moving`.

    Attributes:
        field: (I, J, K, 3), voxels, on `fixed`.
        fixed: grid of the fixed image.
        moving: grid of the moving image as it was registered.
        join: how the voxels of `moving` become those of an image; nothing is inferred from a shape.
    """

    field: NDArray[np.float32]
    fixed: Grid
    moving: Grid
    join: Join

    def __post_init__(self) -> None:
        if self.field.shape != (*self.fixed.shape, 3):
            expected = f"shape {(*self.fixed.shape, 3)}"
            raise SpaceError(Fault("field and grid differ", "transform", expected, str(self.field.shape)))

    def moving_to_image(self, image: Grid) -> NDArray[np.float64]:
        """Return the matrix from voxels of `moving` to voxels of an image, (4, 4).

        Args:
            image: grid of the image that is to be read.

        Raises:
            SpaceError: the join is voxel to voxel, but the image has another shape than `moving`.
        """
        if self.join == "voxel_to_voxel":
            if image.shape != self.moving.shape:
                raise SpaceError(
                    Fault(
                        "an image of another shape cannot be read voxel to voxel",
                        "transform",
                        f"shape {self.moving.shape}",
                        str(image.shape),
                        "go through scanner space: name the registered image with --moving",
                    )
                )
            return np.eye(4)
        if np.array_equal(image.affine, self.moving.affine):
            return np.eye(4)
        return np.asarray(np.linalg.solve(image.affine, self.moving.affine), dtype=np.float64)
