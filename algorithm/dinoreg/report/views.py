"""The three anatomical planes of an array, turned the way radiologists look at them.

Convention: arrays in NIfTI index order. A drawn plane is (up, across) for `imshow(origin="lower")`, in mm
from its lower left corner: axial from the feet and coronal from the front, so the patient's right is on the
left; sagittal with the front on the left; anterior or superior is up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.space.orientation import orientation_of, ras_axes, states_orientation

# Name, anatomical axis (0 to the right, 1 to the front, 2 up) across and up the page, and the letters at the
# left, right, bottom and top edge. Across the page all three run against their axis.
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_PLANES = (("axial", 0, 1, "RLPA"), ("coronal", 0, 2, "RLIS"), ("sagittal", 1, 2, "APIS"))


@dataclass(frozen=True, slots=True)
class View:
    """One plane through an array.

    Attributes:
        name: "axial", "coronal" or "sagittal".
        normal: array axis that is constant in the plane.
        index: position of the plane on that axis, voxels.
        across: array axis that runs across the page.
        up: array axis that runs up the page.
        flipped: whether the index falls across and up the page.
        size_mm: width and height of the plane.
        edges: letters for the left, right, bottom and top edge; empty where the orientation is not known.
    """

    name: str
    normal: int
    index: int
    across: int
    up: int
    flipped: tuple[bool, bool]
    size_mm: tuple[float, float]
    edges: str

    def take(self, array: NDArray[Any]) -> NDArray[Any]:
        """Cut the plane out of an array.

        Args:
            array: (I, J, K) or (I, J, K, C).

        Returns:
            (up, across) or (up, across, C), turned for `imshow(origin="lower")`.
        """
        plane = np.take(array, self.index, axis=self.normal)
        if self.across < self.up:  # `take` leaves the lower array axis first
            plane = np.swapaxes(plane, 0, 1)
        turned: NDArray[Any] = plane[:: -1 if self.flipped[1] else 1, :: -1 if self.flipped[0] else 1]
        return turned

    def edges_of(self, affine: NDArray[Any] | None) -> str:
        """Return the letters for another image that is shown in this plane, voxel for voxel.

        Its array may lie another way in the patient, so that its right is elsewhere on the page.

        Args:
            affine: (4, 4) index -> RAS mm of that image; None or a placeholder gets no letters.
        """
        if affine is None or not states_orientation(affine):
            return ""
        rising = orientation_of(affine)
        pairs = []
        for axis, flipped in zip((self.across, self.up), self.flipped, strict=True):
            low, high = _OPPOSITE[rising[axis]], rising[axis]
            pairs.append(high + low if flipped else low + high)
        return "".join(pairs)

    @property
    def caption(self) -> str:
        """Name and index of the plane, with a question mark where the orientation is not known."""
        doubt = "" if self.edges else "?"
        return f"{self.name}{doubt}, {'ijk'[self.normal]} = {self.index}"

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the plane for `imshow`."""
        return (0.0, self.size_mm[0], 0.0, self.size_mm[1])


def make_views(
    centre: tuple[int, ...],
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    affine: NDArray[Any] | None,
) -> list[View]:
    """Lay the planes through a voxel.

    Args:
        centre: (i, j, k) voxels.
        shape: (I, J, K).
        spacing_mm: voxel size along each array axis.
        affine: (4, 4) index -> RAS mm. Without one, or with a placeholder, the axes are taken as right,
            anterior, superior and the edges get no letters.

    Returns:
        One view per anatomical plane that is more than a line: one for a 2D image, else three.
    """
    known = affine is not None and states_orientation(affine)
    axis_of, falls = ras_axes(orientation_of(affine))
    views = []
    for name, horizontal, vertical, letters in _PLANES:
        across, up = axis_of[horizontal], axis_of[vertical]
        if min(shape[across], shape[up]) == 1:
            continue
        normal = 3 - across - up
        views.append(
            View(
                name=name,
                normal=normal,
                index=centre[normal],
                across=across,
                up=up,
                flipped=(not falls[horizontal], falls[vertical]),
                size_mm=(shape[across] * spacing_mm[across], shape[up] * spacing_mm[up]),
                edges=letters if known else "",
            )
        )
    return views
