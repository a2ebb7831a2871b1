"""Everything that is measured on one pair, before any rule says how it counts.

Convention: pull fields, voxels of the fixed grid; None in place of a field is the identity.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from regeval.inputs.config import Config, Points
from regeval.inputs.ground_truth import Labels, Truth
from regeval.metrics.digital_folds import DigitalFolds
from regeval.metrics.hd95 import hd95_mm
from regeval.metrics.hd95_official import hd95_voxels
from regeval.metrics.jacobian_folds import jacobian_determinant
from regeval.metrics.landmark_error import tre_mm
from regeval.metrics.overlap import dice, labels_in_both
from regeval.metrics.warp import warp_labels

SMALLEST_DIGITAL = 3  # voxels along each axis


@dataclass(frozen=True, slots=True)
class LabelMeasures:
    """How one label that is in the fixed and in the un-warped moving image came out.

    Attributes:
        dice: 0 to 1.
        hd95_voxels: the official value; inf if the label was lost in warping.
        hd95_mm: inf if the label was lost.
    """

    dice: float
    hd95_voxels: float
    hd95_mm: float

    @property
    def lost(self) -> bool:
        """Whether warping removed the label altogether."""
        return math.isinf(self.hd95_voxels)


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """What a field did to one pair.

    Attributes:
        truth: what it was judged by.
        labels: label -> its measures, of the labels that are in both images.
        tre_mm: points -> (N,) errors, the field interpolated linearly.
        official_tre_mm: points -> (N,) errors as the official evaluator takes them.
        determinant: (I, J, K), by central differences; None for the identity, where it is 1.
        digital: where the field folds between voxels; None for the identity and for flat images.
        invented: whether the field was missing, and these are the worst that one could have done.
    """

    truth: Truth
    labels: Mapping[int, LabelMeasures]
    tre_mm: Mapping[Points, NDArray[np.float64]]
    official_tre_mm: Mapping[Points, NDArray[np.float64]]
    determinant: NDArray[np.float64] | None
    digital: DigitalFolds | None
    invented: bool = False


def measure(
    config: Config, truth: Truth, field: NDArray[np.float32] | None, threads: int = 1, npz: bool = False
) -> Measures:
    """Measure one field by everything that the configuration asks for, and its regularity.

    Args:
        config: what to measure.
        truth: of the pair.
        field: (I, J, K, 3) voxels, or None.
        threads: how much is done at once; the results do not depend on it.
        npz: whether the field comes from an npz file, which the official evaluator rounds differently.
    """
    judged = dict.fromkeys(label for method in config.methods for label in method.labels)
    labels: Mapping[int, LabelMeasures] = {}
    if truth.labels is not None and judged:
        fixed, moving = truth.labels
        counted = [label for label in labels_in_both(fixed, moving) if label in judged]
        warped = moving if field is None else warp_labels(moving, field, threads)
        spacing_mm = truth.fixed_spacing_mm or (1.0, 1.0, 1.0)
        labels = _label_measures(fixed, warped, counted, spacing_mm, threads)
    moving_mm = truth.moving_spacing_mm or (1.0, 1.0, 1.0)
    official_mm = truth.official_spacing_mm or moving_mm
    regular = field is None or min(field.shape[:3]) < SMALLEST_DIGITAL
    return Measures(
        truth=truth,
        labels=labels,
        tre_mm={kind: tre_mm(*points, field, moving_mm) for kind, points in truth.points.items()},
        official_tre_mm={
            kind: tre_mm(*points, field, official_mm, "official_npz" if npz else "official")
            for kind, points in truth.official_points.items()
        },
        determinant=None if field is None else jacobian_determinant(field, threads),
        digital=None if field is None or regular else DigitalFolds.of(field, threads),
    )


def diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float] | None) -> float:
    """Return the diagonal of an image, the largest distance in it; in voxels where the spacing is unknown."""
    sizes_mm = [size * step for size, step in zip(shape, spacing_mm or (1.0, 1.0, 1.0), strict=True)]
    return math.dist((0, 0, 0), sizes_mm)


def _label_measures(
    fixed: Labels, warped: Labels, counted: Iterable[int], spacing_mm: tuple[float, ...], threads: int
) -> dict[int, LabelMeasures]:
    """Measure each label within the box that holds it in both maps."""
    boxes = [_boxes(labels) for labels in (fixed, warped)]

    def one(label: int) -> LabelMeasures:
        found = [box[label] for box in boxes if label in box]
        box = tuple(_around([one_box[axis] for one_box in found], fixed.shape[axis]) for axis in range(3))
        a, b = fixed[box], warped[box]
        in_a, in_b = a == label, b == label
        return LabelMeasures(
            dice=dice(a, b, (label,))[label],
            hd95_voxels=hd95_voxels(in_a, in_b),
            hd95_mm=hd95_mm(in_a, in_b, spacing_mm),
        )

    names = list(counted)
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def _around(spans: Sequence[slice], size: int) -> slice:
    """Return the span of all with a margin: a span of one voxel would look like an axis of one voxel."""
    return slice(max(min(s.start for s in spans) - 1, 0), min(max(s.stop for s in spans) + 1, size))


def _boxes(labels: Labels) -> dict[int, tuple[slice, ...]]:
    """Return the bounding box of each label above 0."""
    boxes = ndimage.find_objects(np.maximum(labels, 0))
    return {label: box for label, box in enumerate(boxes, 1) if box is not None}
