"""Planes of one value by which scans were brought to one size, or to a grid that shows more of the body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from dinoreg.preprocess.foreground import content_box
from dinoreg.preprocess.pair import ImagePair, Margins, Scan
from dinoreg.settings.config import Preprocess

# Share of the fullest plane that the first plane beside a blank end holds where the field of view ends there:
# a head or an organ that was cut out ends in a small one.
_LEAST_END = 0.25
# Anatomy that ends there grows from its first plane on, even a flat back: the first plane of a field of view
# holds at least so much of what a plane holds that lies this share of the content deeper.
_DEPTH, _LEAST_OF_DEEPER = 0.05, 0.8
# Share of the longer content by which two images end apart where their fields of view differ. Where they end
# together the edge is one that both show, and serves.
_LEAST_APART = 0.15
# No scanner's field of view is this short along every axis, but for that of a tooth or a finger.
_LEAST_VIEW_MM = 100.0


def common_padding(pair: ImagePair) -> Margins:
    """Count the planes at each end that pad both images, where a field of view begins beside them.

    Where a field of view ends is no anatomy, and the padding would make an edge of it in both images, which
    holds them together there. Small images are left as they are: somebody cut them out around an organ, and
    their ends are placed on what they show. A blunt body of less than some 30 planes may count as cut.

    Args:
        pair: of one shape.

    Returns:
        Before and after along each axis; zeros where nothing is to go.
    """
    ends = here, there = _ends(pair.fixed.values), _ends(pair.moving.values)
    shown = np.subtract(pair.fixed.values.shape, [one.counts.sum(axis=1) for one in ends])
    if (shown * pair.fixed.grid.spacing_mm).max() < _LEAST_VIEW_MM:
        return ((0, 0),) * pair.fixed.values.ndim
    planes = np.minimum(here.counts, there.counts)
    # What begins at the padding must be cut there: a body that ends by itself needs the air around it.
    cut = np.all([one.full | (one.counts > planes) for one in ends], axis=0)
    return tuple((int(before), int(after)) for before, after in np.where(cut, planes, 0))


def as_shown(pair: ImagePair, settings: Preprocess) -> tuple[ImagePair, Margins]:
    """Return a pair as settings have its fields of view end, and the margins that were left out of both.

    Args:
        pair: of one shape.
        settings: by which the images will be prepared; where views do not go on, nothing changes.
    """
    if settings.beyond_view != "continued":
        return pair, ()
    margins = common_padding(pair)
    return with_blank_ends(pair.without(margins)), margins


def with_blank_ends(pair: ImagePair) -> ImagePair:
    """Mark what stands beside the field of view of either image at an end where the other shows more.

    Args:
        pair: of one shape.

    Returns:
        The pair; `beside` has the blank planes as well.
    """
    here, there = _ends(pair.fixed.values), _ends(pair.moving.values)
    marked: list[Scan] = []
    for scan, own, other in ((pair.fixed, here, there), (pair.moving, there, here)):
        beside = np.zeros(scan.values.shape, dtype=bool)
        for axis, n in enumerate(scan.values.shape):
            longest = n - min(own.counts[axis].sum(), other.counts[axis].sum())
            for side in range(2):
                count = int(own.counts[axis, side])
                apart = count - int(other.counts[axis, side])
                if own.full[axis, side] and apart > _LEAST_APART * longest:
                    np.moveaxis(beside, axis, 0)[slice(0, count) if side == 0 else slice(n - count, n)] = True
        marked.append(_beside(scan, beside))
    return ImagePair(*marked)


def _beside(scan: Scan, beside: Bool[np.ndarray, "*s"]) -> Scan:
    if not beside.any():
        return scan
    beside = beside if scan.beside is None else beside | scan.beside
    return scan if beside.all() else replace(scan, beside=beside)


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """The ends of an image along each axis.

    Attributes:
        counts: (rank, 2) planes of one value at each end.
        full: (rank, 2) whether a full plane lies beside them.
    """

    counts: NDArray[np.int64]
    full: NDArray[np.bool_]


def _ends(image: Float32[np.ndarray, "*s"]) -> _Ends:
    counts = np.zeros((image.ndim, 2), dtype=np.int64)
    full = np.zeros((image.ndim, 2), dtype=bool)
    for axis, box in enumerate(content_box(image)):
        counts[axis] = box.start, image.shape[axis] - box.stop
        planes = np.moveaxis(image, axis, 0)
        for side, blank in enumerate((planes[: box.start], planes[box.stop :])):
            if blank.size and blank.min() == blank.max():
                held = np.count_nonzero(planes[box] != blank.flat[0], axis=tuple(range(1, image.ndim)))
                length = box.stop - box.start
                deep = min(max(1, round(_DEPTH * length)), length - 1)
                plane, inner = (0, deep) if side == 0 else (length - 1, length - 1 - deep)
                full[axis, side] = held[plane] > max(_LEAST_END * held.max(), _LEAST_OF_DEEPER * held[inner])
    return _Ends(counts, full)
