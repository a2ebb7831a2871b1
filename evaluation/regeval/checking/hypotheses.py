"""What participants get wrong about a field, each as the correction that would put it right.

Convention: a right field is a pull field, moving(x + u(x)), in voxels, component c along array axis c,
without the identity. A hypothesis "the file holds v, made wrongly from u" is tested by its correction v -> u.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]

# Voxels this close to 1 mm hide the difference between voxels and millimetres.
_SAME_SPACING = 0.05
_AXES = "ijk"
IDENTITY = "identity included"


class Sampler(Protocol):
    """Reads the submitted field at positions (N, 3), in voxels: (N, 3)."""

    def __call__(self, points: Vectors, /) -> Vectors:
        """Return the vectors (N, 3) at points (N, 3)."""
        ...


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way in which fields are wrong.

    Attributes:
        name: what is suspected.
        remedy: what to do about it.
        corrected: the field put right, (N, 3), at points (N, 3), from the submitted one.
        halfway: a correction of half the strength; a wrong scale is believed only if it fits better than
            this, since an imperfect registration gains from any step in the right direction.
        undecidable: why nothing can be said; empty if it can.
    """

    name: str
    remedy: str
    corrected: Callable[[Sampler, Vectors], Vectors]
    halfway: Callable[[Sampler, Vectors], Vectors] | None = None
    undecidable: str = ""


def hypotheses(shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[Hypothesis, ...]:
    """Return what can be wrong with a field on a grid.

    Args:
        shape: (I, J, K) of the fixed image.
        spacing_mm: its voxel size along each axis.
    """
    spacing = np.asarray(spacing_mm)
    same = bool(np.all(np.abs(spacing - 1) < _SAME_SPACING))
    found = [
        Hypothesis(
            IDENTITY,
            "write displacements: subtract the index of each voxel from its vector",
            lambda field, points: field(points) - points,
        ),
        Hypothesis(
            "millimetres instead of voxels",
            "divide component c by the voxel size along array axis c",
            lambda field, points: field(points) / spacing,
            lambda field, points: field(points) / np.sqrt(spacing),
            "voxels of 1 mm" if same else "",
        ),
        Hypothesis(
            "sign swapped",
            "write the pull field, fixed to moving: moving is read at x + u(x)",
            lambda field, points: -field(points),
        ),
        Hypothesis(
            "values of a grid of half resolution",
            "multiply the vectors by 2: they are in voxels of the full grid",
            lambda field, points: 2 * field(points),
            lambda field, points: np.sqrt(2) * field(points),
        ),
        *(_permuted(order) for order in ((2, 1, 0), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1))),
    ]
    if shape[0] == shape[2]:
        found.append(
            Hypothesis(
                "array in reversed axis order (k, j, i)",
                "transpose the array and reverse its components: axes as nibabel reads them",
                lambda field, points: field(points[:, ::-1])[:, ::-1],
            )
        )
    return tuple(found)


def _permuted(order: tuple[int, int, int]) -> Hypothesis:
    """Suspect another order: component c of the right field is component `order[c]` of the file."""
    held = [_AXES[order.index(component)] for component in range(3)]
    name = "components in reversed axis order" if order == (2, 1, 0) else "components in another axis order"
    return Hypothesis(
        f"{name} ({', '.join(held)})",
        "write component c along array axis c, as nibabel reads the image",
        lambda field, points: field(points)[:, order],
    )
