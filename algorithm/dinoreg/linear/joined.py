"""Two images joined voxel to voxel, as they are worked on, and what was done to them before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dinoreg.linear.levels import Placed
from dinoreg.linear.maps import Matrix
from dinoreg.linear.move import in_mm, in_voxels, linear_part, read_through, scaling
from dinoreg.linear.way_back import WayBack
from dinoreg.preprocess.prepare import PreparedImage, on_working_grid
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.orientation import RAS
from dinoreg.space.working import working_grid

# Of what the other image shows: share of its voxels, and of its extent along an axis.
_MUCH_LESS, _AS_LONG = 0.6, 1.1
_DARK = 0.05  # brightness up to which a voxel may be air


@dataclass(frozen=True, slots=True, eq=False)
class JoinedImages:
    """A pair on one grid.

    Attributes:
        fixed: (I, J, K).
        moving: the same shape.
        spacing_mm: of both.
        orientation: of both, as `space.orientation` has it.
        way: back to the images as they were given.
    """

    fixed: PreparedImage
    moving: PreparedImage
    spacing_mm: tuple[float, ...]
    orientation: str = RAS
    way: WayBack = field(default_factory=WayBack)

    @property
    def images(self) -> tuple[PreparedImage, PreparedImage]:
        """Fixed and moving."""
        return self.fixed, self.moving

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of either image."""
        return self.fixed.values.shape

    @property
    def content(self) -> list[slice]:
        """The smallest box that holds what varies in either image."""
        both = zip(self.fixed.content, self.moving.content, strict=True)
        return [slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in both]

    @property
    def stored_mm(self) -> tuple[float, ...]:
        """Size of the voxels of the image as it was given, in its array order."""
        return self.way.working.image_spacing_mm if self.way.working else self.spacing_mm

    @property
    def to_mm(self) -> Matrix:
        """The map from voxels to mm along the array axes, (4, 4)."""
        return scaling(self.spacing_mm)

    @property
    def placed(self) -> tuple[Placed, Placed]:
        """Both, where their voxels lie in mm along the array axes."""
        return Placed(self.fixed, self.to_mm), Placed(self.moving, self.to_mm)

    def nearest_map(self, found: Deformation, frame: Frame) -> Matrix:
        """Return the linear map that is closest to a deformation.

        Args:
            found: on a lattice over the box of the frame.
            frame: of the pair; its lengths may count voxels.

        Returns:
            (4, 4), mm along the array axes, in which a rotation shears nothing.
        """
        return in_mm(in_voxels(linear_part(found, frame), scaling(frame.spacing_mm)), self.to_mm)

    def through(self, matrix: Matrix) -> JoinedImages:
        """Return the pair with moving read through a map, which the way back goes through as well.

        Args:
            matrix: (4, 4), mm along the array axes, fixed to moving.
        """
        voxels = in_voxels(matrix, self.to_mm)
        return replace(self, moving=read_through(self.moving, voxels), way=self.way.after(voxels))

    @property
    def moving_shows_less(self) -> bool:
        """Whether moving shows a part of what fixed shows.

        What it shows is that much smaller that the size of a person does not explain it, and longer along no
        axis. Air that counts as foreground, as in a CT whose field of view goes on, shows nothing.
        """
        shown = (image.foreground & (image.values > _DARK) for image in self.images)
        count, extent = zip(*map(_size, shown), strict=True)
        return bool(count[1] < _MUCH_LESS * count[0] and (extent[1] <= _AS_LONG * extent[0]).all())

    @property
    def both_ways(self) -> tuple[JoinedImages, JoinedImages]:
        """The pair and what `exchanged` makes of it, first the one to begin with."""
        ways = self, self.exchanged()
        return ways[::-1] if self.moving_shows_less else ways

    def exchanged(self) -> JoinedImages:
        """Return the pair with each image in the place of the other; the way back inverts what is found."""
        way = replace(self.way, exchanged=True)
        return replace(self, fixed=self.moving, moving=self.fixed, way=way)

    def on_cubic_voxels(self, max_voxels: int) -> JoinedImages:
        """Return the pair on its working grid; see `space.working.working_grid`."""
        grid = working_grid(self.shape, self.spacing_mm, self.orientation, max_voxels=max_voxels)
        if grid.is_image:
            return self
        fixed, moving = on_working_grid(self.fixed, grid), on_working_grid(self.moving, grid)
        return JoinedImages(fixed, moving, grid.spacing_mm, RAS, replace(self.way, working=grid))


def _size(shown: NDArray[np.bool_]) -> tuple[int, NDArray[np.intp]]:
    """How many voxels are shown, and how many lie from the first to the last along each axis."""
    axes = range(shown.ndim)
    along = [np.flatnonzero(shown.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    return int(shown.sum()), np.array([np.ptp(one) + 1 if len(one) else 0 for one in along])
