"""Which slice of a pair shows best what went wrong.

Convention: pull fields, voxels of the fixed grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regeval.inputs.ground_truth import Labels, Truth
from regeval.metrics.landmark_error import tre_mm
from regeval.metrics.overlap import dice, labels_in_both


@dataclass(frozen=True, slots=True)
class Focus:
    """What a picture looks at.

    Attributes:
        index: of the slice along the axis that is cut.
        text: why this slice, in a line.
        label: the label with the least overlap; None without labels.
        point: (3,) voxels of the fixed image, the landmark with the largest error; None with labels.
    """

    index: int
    text: str
    label: int | None = None
    point: tuple[float, ...] | None = None


def focus_on(truth: Truth, warped: Labels | None, field: NDArray[np.float32], axis: int) -> Focus:
    """Look at the worst label where it is largest, else at the worst landmark, else at the middle.

    Args:
        truth: of the pair.
        warped: (I, J, K), the moving label map on the fixed grid; None without label maps.
        field: (I, J, K, 3) voxels.
        axis: array axis that is cut across.
    """
    if truth.labels is not None and warped is not None and (both := labels_in_both(*truth.labels)):
        fixed, moving = truth.labels
        before, after = dice(fixed, moving, both), dice(fixed, warped, both)
        label = min(both, key=lambda one: (after[one], one))
        text = f"label {label}, the worst: Dice {before[label]:.3f} before, {after[label]:.3f} after"
        return Focus(_largest(fixed == label, axis), text, label)
    for kind, points in truth.points.items():
        if not len(points.fixed):
            continue
        errors = tre_mm(*points, field, truth.moving_spacing_mm or (1.0, 1.0, 1.0))
        worst = int(errors.argmax())
        place = tuple(float(value) for value in points.fixed[worst])
        index = int(np.clip(round(place[axis]), 0, truth.shape[axis] - 1))
        text = f"cross: the worst of the {kind}, number {worst + 1}: error {errors[worst]:.2f} mm"
        return Focus(index, text, point=place)
    return Focus(truth.shape[axis] // 2, "the middle")


def _largest(mask: NDArray[np.bool_], axis: int) -> int:
    """Return the slice with most voxels; of several the one closest to the middle of the mask."""
    sizes = np.count_nonzero(mask, axis=tuple(one for one in range(3) if one != axis))
    candidates = np.flatnonzero(sizes == sizes.max())
    middle = np.flatnonzero(sizes).mean()
    return int(candidates[np.abs(candidates - middle).argmin()])
