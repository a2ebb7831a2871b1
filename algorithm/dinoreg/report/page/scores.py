"""How well labels and landmarks agree, for a page. The scores of a challenge are those of `regeval`.

The two share no code: an error in one shows in the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dinoreg.report.page.shown import Points, Shown
from dinoreg.space.regrid import regrid

Labels = NDArray[np.integer]


class OrganScore(NamedTuple):
    """Overlap of one label, 0 to 1, without and with the registration."""

    label: int
    name: str
    before: float
    after: float


class PointErrors(NamedTuple):
    """Distances between where points belong and where they are taken, (N,) mm, without and with it."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]


def organ_scores(shown: Shown) -> list[OrganScore]:
    """Return Dice of every label that both images have; none where one has no labels."""
    fixed, warped, moving = shown.fixed_labels, shown.warped_labels, shown.moving_labels
    if fixed is None or warped is None or moving is None:
        return []
    before = regrid(moving.astype(np.float32), shown.moving.grid, shown.read_on, order=0, outside=0)
    common = np.intersect1d(np.unique(fixed[fixed > 0]), np.unique(moving[moving > 0]))
    return [
        OrganScore(
            int(label),
            shown.label_names.get(int(label), f"label {label}"),
            _dice(fixed == label, before == label),
            _dice(fixed == label, warped == label),
        )
        for label in common
    ]


def point_errors(points: Points | None, shown: Shown) -> PointErrors | None:
    """Return errors of landmarks; None where it is not known where they belong."""
    if points is None or points.true is None:
        return None
    to_moving, linear = shown.to_moving, shown.moving.grid.affine[:3, :3]
    resting = points.fixed @ to_moving[:3, :3].T + to_moving[:3, 3]
    errors = [np.linalg.norm((at - points.true) @ linear.T, axis=1) for at in (resting, points.found)]
    return PointErrors(*errors)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))
