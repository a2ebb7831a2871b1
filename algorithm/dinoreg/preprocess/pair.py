"""Two scans to be registered, in memory: what every front end makes of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regtask.errors import DataError, Fault, SpaceError
from regtask.grid import Grid

# Voxels before and after along each axis.
Margins = tuple[tuple[int, int], ...]


def within(margins: Margins, shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the index of what is left of an array less so many voxels before and after along each axis."""
    return tuple(slice(before, n - after) for (before, after), n in zip(margins, shape, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One image.

    Attributes:
        values: (I, J, K) float32, as stored.
        grid: where its voxels lie.
        modality: as the dataset JSON names it; decides between CT and MR. Empty: the values decide.
        mask: (I, J, K) bool, what counts; None: found by the settings.
        invalid: (I, J, K) bool, voxels without a value (`regtask.Volume.invalid`); None where all have one.
        beside: (I, J, K) bool, voxels beside a scan that was read on another grid; None where there are none.
        whole: that it was cut from, which may tell more of its modality and scale; None where it was not.
        name: for messages.
        comes_again: whether other pairs have this image too, so that its features are worth keeping.
    """

    values: NDArray[np.float32]
    grid: Grid
    modality: str = ""
    mask: NDArray[np.bool_] | None = None
    invalid: NDArray[np.bool_] | None = None
    name: str = ""
    comes_again: bool = False
    beside: NDArray[np.bool_] | None = None
    whole: Scan | None = None

    def within(self, window: tuple[slice, ...]) -> Scan:
        """Return the part of the scan in a box, first and past-the-last voxel per axis."""

        def part(array: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
            return None if array is None else array[window]

        values = self.values[window]
        return replace(
            self,
            values=values,
            grid=self.grid.cropped(tuple(one.start for one in window), values.shape),
            mask=part(self.mask),
            invalid=part(self.invalid),
            beside=part(self.beside),
            whole=self.whole or self,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ImagePair:
    """Fixed and moving, joined voxel to voxel: they have one shape, whatever their grids say.

    An image on another grid is brought to that of fixed first (`space.regrid`).
    """

    fixed: Scan
    moving: Scan

    def without(self, margins: Margins) -> ImagePair:
        """Return the pair less so many voxels of both before and after along each axis."""
        if not any(map(any, margins)):
            return self
        window = within(margins, self.fixed.values.shape)
        return ImagePair(self.fixed.within(window), self.moving.within(window))

    def check(self) -> None:
        """Refuse what cannot be registered.

        Raises:
            SpaceError: the shapes differ.
            DataError: an image without contrast.
        """
        shapes = self.fixed.values.shape, self.moving.values.shape
        if shapes[0] != shapes[1]:
            raise SpaceError(
                Fault(
                    "fixed and moving differ in shape",
                    " and ".join(filter(None, (self.fixed.name, self.moving.name))),
                    expected=str(shapes[0]),
                    got=str(shapes[1]),
                    remedy="resample one to the grid of the other",
                )
            )
        for role, scan in (("fixed", self.fixed), ("moving", self.moving)):
            if float(scan.values.min()) == float(scan.values.max()):
                raise DataError(
                    Fault("constant image", scan.name or role, expected="more than one intensity")
                )
