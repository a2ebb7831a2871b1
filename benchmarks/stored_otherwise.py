"""The same two scans as another scanner or archive would have stored them, and how to score them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import NDArray
from scipy import ndimage

from dinoreg.preprocess.intensity import image_family
from dinoreg.preprocess.pair import ImagePair, Scan
from image_pairs import read_image_pair
from regtask.dataset import Dataset
from regtask.grid import Grid
from regtask.images import read_labels
from regtask.landmarks import read_landmark_pair
from regtask.pair import Pair

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A pair and its truth.

    Attributes:
        images: joined voxel to voxel.
        labels: (I, J, K) of fixed and of moving; None where there are none.
        points: (N, 3) voxels of fixed and of moving; None where there are none.
    """

    images: ImagePair
    labels: tuple[NDArray[Any], NDArray[Any]] | None
    points: tuple[Points, Points] | None

    @property
    def unit(self) -> str:
        """Of its score."""
        return "mm" if self.labels is None else "Dice"


def preset_parser(words: str | None, tasks: Sequence[str], results: Path) -> argparse.ArgumentParser:
    """Return the options of a benchmark that registers cases of tasks by one preset.

    Args:
        words: that describe it.
        tasks: by default.
        results: file of the rows, by default.
    """
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--tasks", nargs="+", default=list(tasks))
    parser.add_argument("--output", type=Path, default=results)
    return parser


def read_case(dataset: Dataset, pair: Pair) -> Case:
    """Read a pair of a task with its labels or landmarks."""
    labels, marks = pair.labels(), read_landmark_pair(pair)
    return Case(
        read_image_pair(dataset, pair),
        (read_labels(labels.fixed)[0], read_labels(labels.moving)[0])
        if labels.fixed and labels.moving
        else None,
        None if marks is None else (marks.fixed, marks.moving),
    )


def score(case: Case, displacement: NDArray[np.float32]) -> float:
    """Return the mean Dice of the labels in both, or the mean distance of the landmarks in mm.

    Args:
        case: with labels or landmarks.
        displacement: (I, J, K, 3) voxels, pull.
    """
    if case.labels is not None:
        fixed, moving = case.labels
        where = np.indices(fixed.shape) + np.moveaxis(displacement, -1, 0)
        warped = ndimage.map_coordinates(moving, where, order=0, mode="nearest")
        both = (set(np.unique(fixed).tolist()) & set(np.unique(moving).tolist())) - {0}
        overlap = [
            2 * ((fixed == k) & (warped == k)).sum() / ((fixed == k).sum() + (warped == k).sum())
            for k in both
        ]
        return float(np.mean(overlap))
    assert case.points is not None
    fixed_points, moving_points = case.points
    moved = [
        ndimage.map_coordinates(displacement[..., axis], fixed_points.T, order=1, mode="nearest")
        for axis in range(3)
    ]
    error = fixed_points + np.stack(moved, axis=-1) - moving_points
    return float(np.linalg.norm(error * case.images.fixed.grid.spacing_mm, axis=1).mean())


def as_stored(case: Case) -> Case:
    """Leave everything as it is."""
    return case


def turned(case: Case, codes: str = "PIR") -> Case:
    """Store both scans with other axes, the headers saying so; RAS before, whatever the file says."""
    orientation = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    shape = case.images.fixed.values.shape

    def array(values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(apply_orientation(values, orientation))

    def grid(old: Grid) -> Grid:
        straight = np.diag([*old.spacing_mm, 1.0])
        straight[:3, 3] = 1.0  # an origin of zero would read as a header that knows nothing
        return Grid(array(np.empty(shape, bool)).shape, straight @ inv_ornt_aff(orientation, shape))

    back = np.linalg.inv(inv_ornt_aff(orientation, shape))
    return _changed(case, array, array, grid, lambda points: points @ back[:3, :3].T + back[:3, 3])


def padded(case: Case, margin: int = 11) -> Case:
    """Put a margin of the lowest value around both."""

    def values(image: NDArray[Any]) -> NDArray[Any]:
        return np.pad(image, margin, constant_values=image.min())

    return _changed(
        case, values, lambda mask: np.pad(mask, margin), _grid_grown(margin), lambda p: p + margin
    )


def finer(case: Case, axis: int = 1) -> Case:
    """Halve the voxels along one axis."""

    def along(old: NDArray[Any], order: int) -> NDArray[Any]:
        where = [np.arange(n, dtype=np.float64) for n in old.shape]
        where[axis] = np.arange(2 * old.shape[axis]) / 2 - 0.25
        places = np.meshgrid(*where, indexing="ij")
        return ndimage.map_coordinates(old, places, order=order, mode="nearest")

    def grid(old: Grid) -> Grid:
        affine = old.affine.copy()
        affine[:3, axis] /= 2
        affine[:3, 3] -= affine[:3, axis] / 2
        return Grid(tuple(n * (1 + (a == axis)) for a, n in enumerate(old.shape)), affine)

    def place(points: Points) -> Points:
        out = points.copy()
        out[:, axis] = 2 * out[:, axis] + 0.5
        return out

    def values(image: NDArray[Any]) -> NDArray[Any]:
        return along(image, 1)

    return _changed(
        case, values, lambda mask: along(mask.astype(np.uint8), 0).astype(mask.dtype), grid, place
    )


def rescaled(case: Case) -> Case:
    """Give the moving scan other units: an MR a scale and an offset, a CT the offset of unsigned storage."""
    moving = case.images.moving
    ct = image_family(moving.modality, moving.values) == "ct"
    values = (moving.values + 1024 if ct else 3.7 * moving.values + 250).astype(np.float32)
    return replace(case, images=replace(case.images, moving=replace(moving, values=values)))


WAYS: Mapping[str, Callable[[Case], Case]] = MappingProxyType(
    {"as stored": as_stored, "turned": turned, "padded": padded, "finer": finer, "rescaled": rescaled}
)


def _grid_grown(margin: int) -> Callable[[Grid], Grid]:
    def grid(old: Grid) -> Grid:
        affine = old.affine.copy()
        affine[:3, 3] -= affine[:3, :3].sum(axis=1) * margin
        return Grid(tuple(n + 2 * margin for n in old.shape), affine)

    return grid


def _changed(
    case: Case,
    values: Callable[[NDArray[Any]], NDArray[Any]],
    mask: Callable[[NDArray[Any]], NDArray[Any]],
    grid: Callable[[Grid], Grid],
    place: Callable[[Points], Points],
) -> Case:
    """Apply one change to everything that a case consists of."""

    def scan(old: Scan) -> Scan:
        return replace(
            old,
            values=values(old.values),
            grid=grid(old.grid),
            mask=None if old.mask is None else mask(old.mask),
            invalid=None if old.invalid is None else mask(old.invalid),
        )

    labels, points = case.labels, case.points
    return Case(
        ImagePair(scan(case.images.fixed), scan(case.images.moving)),
        None if labels is None else (mask(labels[0]), mask(labels[1])),
        None if points is None else (place(points[0]), place(points[1])),
    )
