"""A label volume: which structure fills each voxel, and what kind of tissue each structure is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Shape3 = tuple[int, int, int]


class Kind(IntEnum):
    """What a structure is made of, as far as a scanner cares."""

    AIR = 0  # outside the body
    GAS = 1
    LUNG = 2
    FAT = 3
    MUSCLE = 4
    ORGAN = 5
    FLUID = 6
    BLOOD = 7
    BONE = 8
    MARROW = 9


@dataclass(frozen=True, slots=True, eq=False)
class LabelVolume:
    """An anatomy without intensities.

    Attributes:
        ids: (I, J, K) uint8, 0 outside the body.
        kinds: (number of ids,) uint8, the `Kind` of each id; kinds[0] is AIR.
        spacing_mm: voxel size, the same along all axes.
        oriented: array axes run to the right, front and top of the patient, and left differs from right;
            where not, any axis may be flipped or exchanged for another.
        frame: (2, 3), size of a voxel and place of the first one in a frame that all such anatomies share,
            in which they are about alike. None where there is none.
    """

    ids: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    spacing_mm: float
    oriented: bool
    frame: NDArray[np.float64] | None = None
