"""How well a displacement joins two images, by the best that a data set offers; on few points, so quickly.

Convention: a score is a function of displacements u (N, 3) in voxels at the evidence's points (N, 3) of the
fixed image; larger is better.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from regeval.metrics.overlap import labels_in_both
from regtask.images import read_header, read_labels, read_mask, read_volume
from regtask.landmarks import read_landmark_pair
from regtask.pair import Pair

Vectors = NDArray[np.float64]
Kind = Literal["landmarks", "keypoints", "labels", "images"]

_MAX_POINTS = 20_000
_MIN_LANDMARKS = 4
_BINS = 32


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for or against a field of one pair.

    Attributes:
        kind: where it comes from.
        points: (N, 3) voxels of the fixed image, float64.
        score: displacements (N, 3) at these points -> score.
    """

    kind: Kind
    points: Vectors
    score: Callable[[Vectors], float]


def gather(pair: Pair) -> tuple[Evidence, ...]:
    """Return what can be said about a pair: by its anatomy, where it is known, and by the images themselves.

    Anatomy is the first there is of landmarks, labels and key points.

    Raises:
        DataError: a file of the data set cannot be used.
    """
    known = _of_points(pair, "landmarks") or _of_labels(pair) or _of_points(pair, "keypoints")
    return (_of_images(pair),) if known is None else (known, _of_images(pair))


def _of_points(pair: Pair, kind: Literal["landmarks", "keypoints"]) -> Evidence | None:
    """Score: share of the initial distance that is gone, 1 - TRE / TRE of the identity."""
    found = read_landmark_pair(pair, kind)
    if found is None or len(found.fixed) < _MIN_LANDMARKS:
        return None
    fixed, moving = found
    spacing_mm = np.asarray(read_header(pair.moving).grid.spacing_mm)
    before = float(np.linalg.norm((fixed - moving) * spacing_mm, axis=1).mean())

    def score(displacements: Vectors) -> float:
        distances_mm = np.linalg.norm((fixed + displacements - moving) * spacing_mm, axis=1)
        return 1 - float(distances_mm.mean()) / max(before, 1e-6)

    return Evidence(kind, fixed, score)


def _of_labels(pair: Pair) -> Evidence | None:
    """Score: mean Dice of the labels in both images, counted on a lattice of voxels."""
    files = pair.labels()
    if files.fixed is None or files.moving is None:
        return None
    fixed, moving = read_labels(files.fixed)[0], read_labels(files.moving)[0]
    counted = labels_in_both(fixed, moving)
    if fixed.shape != moving.shape or not counted:
        return None
    points = _lattice(np.isin(fixed, counted) | np.isin(moving, counted))
    fixed_here = fixed[tuple(points.T)]

    def score(displacements: Vectors) -> float:
        warped = _nearest(moving, points + displacements)
        shares = []
        for label in counted:
            a, b = fixed_here == label, warped == label
            sizes = np.count_nonzero(a) + np.count_nonzero(b)
            if sizes:  # a small organ may lie between the points of the lattice
                shares.append(2 * np.count_nonzero(a & b) / sizes)
        return float(np.mean(shares)) if shares else 0.0

    return Evidence("labels", points.astype(np.float64), score)


def _of_images(pair: Pair) -> Evidence:
    """Score: normalised mutual information (Studholme 1999), 1 to 2, over the fixed foreground."""
    fixed, moving = read_volume(pair.fixed).data, read_volume(pair.moving).data
    mask_file = pair.masks().fixed
    mask = None if mask_file is None else read_mask(mask_file)
    if mask is None or mask.shape != fixed.shape or not mask.any():
        mask = fixed > np.median(fixed) if fixed.min() < np.median(fixed) else fixed > fixed.min()
    points = _lattice(mask, mask)
    fixed_bins = _binned(fixed[tuple(points.T)])
    edges = _edges(moving)
    outside = float(moving.min())

    def score(displacements: Vectors) -> float:
        positions = (points + displacements).T
        values = map_coordinates(moving, positions, order=1, mode="constant", cval=outside)
        return mutual_information(fixed_bins, np.digitize(values, edges), _BINS)

    return Evidence("images", points.astype(np.float64), score)


def _lattice(region: NDArray[np.bool_], inside: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """Return points (N, 3) on a lattice over the box around a region, at most some ten thousand.

    Args:
        region: (I, J, K).
        inside: (I, J, K), keeps only the points in it; None keeps all.
    """
    if not region.any():
        region = np.ones_like(region)
    ranges = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(region.any(axis=others))
        ranges.append((int(occupied[0]), int(occupied[-1]) + 1))
    voxels = np.prod([stop - start for start, stop in ranges]) if inside is None else inside.sum()
    step = max(1, int(np.ceil((voxels / _MAX_POINTS) ** (1 / 3))))
    axes = [np.arange(start + min(step // 2, (stop - start) // 2), stop, step) for start, stop in ranges]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return points if inside is None else points[inside[tuple(points.T)]]


def _nearest(volume: NDArray[np.integer], positions: Vectors) -> NDArray[np.integer]:
    """Read labels at positions (N, 3); 0 outside."""
    indices = np.rint(np.clip(positions, -10, np.array(volume.shape) + 10)).astype(np.intp)
    inside = ((indices >= 0) & (indices < volume.shape)).all(axis=1)
    labels = np.zeros(len(positions), volume.dtype)
    labels[inside] = volume[tuple(indices[inside].T)]
    return labels


def _edges(values: NDArray[np.floating]) -> NDArray[np.float64]:
    low, high = np.percentile(values, (1, 99))
    return np.linspace(low, high, _BINS - 1)


def _binned(values: NDArray[np.floating]) -> NDArray[np.intp]:
    return np.asarray(np.digitize(values, _edges(values)))


def mutual_information(a: NDArray[np.intp], b: NDArray[np.intp], bins: int) -> float:
    """Return the normalised mutual information, 1 to 2, of two series of bin numbers, (N,) each."""
    joint = np.bincount(a * bins + b, minlength=bins * bins).reshape(bins, bins) / len(a)
    both = _entropy(joint)
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / both if both > 0 else 1.0


def _entropy(shares: NDArray[np.floating]) -> float:
    filled = shares[shares > 0]
    return float(-(filled * np.log(filled)).sum())
