"""Landmarks of a pair: inside the image and the body, and written in the form that their images speak for."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from regeval.checking.evidence import mutual_information
from regeval.checking.task.body import body_of
from regeval.checking.task.point_forms import Form, Points, forms
from regtask.errors import DataError, Fault
from regtask.images import Volume, read_volume
from regtask.landmarks import read_landmarks
from regtask.pair import Pair

Kind = Literal["landmarks", "keypoints"]
Role = Literal["fixed", "moving"]

# The neighbourhood of a landmark that is compared, in voxels to either side.
_REACH = 3
_BINS = 24
# How much more alike the neighbourhoods have to be (mutual information above that of chance) in another form;
# few points are alike by chance more easily, so the gain is that for so many.
_FACTOR, _LEAST_GAIN, _MANY = 1.5, 0.025, 30
_FEW = 4
# Where no mask tells, the body is found roughly: open lungs and cut fields of view hide a part of it.
_OUTSIDE_BODY, _OUTSIDE_NOTED = 0.4, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One image and its points as in the file."""

    role: Role
    points: Points
    volume: Volume
    body: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Fit:
    """How well points fit their images.

    Attributes:
        outside: number of points outside either image.
        in_body: share of the points that lie in the body; nan where no body is known.
        alike: mutual information of the neighbourhoods above that of ones that do not belong together.
    """

    outside: int
    in_body: float
    alike: float


def point_faults(pair: Pair, kind: Kind) -> tuple[list[Fault], list[str]]:
    """Return the faults of a pair's points, and notes.

    Raises:
        DataError: an image cannot be read.
    """
    files = pair.landmarks() if kind == "landmarks" else pair.keypoints()
    where = f"{kind} of {pair.case_key}"
    if files.fixed is None and files.moving is None:
        return [], []
    if files.fixed is None or files.moving is None:
        lone = files.fixed or files.moving
        return [Fault(f"{kind} of one image only", where, "a csv file of both images", str(lone))], []
    try:
        fixed, moving = read_landmarks(files.fixed), read_landmarks(files.moving)
    except DataError as error:
        return list(error.faults), []
    if len(fixed) != len(moving):
        got = f"{len(fixed)} and {len(moving)}"
        return [Fault(f"{kind} do not correspond", where, "as many points in both images", got)], []
    sides = []
    both: tuple[tuple[Role, Points], ...] = (("fixed", fixed), ("moving", moving))
    for role, points in both:
        volume = read_volume(getattr(pair, role))
        body = body_of(volume.data, volume.grid.spacing_mm, pair.masks(), role)
        sides.append(_Side(role, points, volume, body))
    written = fit(sides, None)
    faults = list(_judged(where, sides, written))
    notes = []
    if not faults and written.in_body < 1 - _OUTSIDE_NOTED:
        notes.append(
            f"{where}: {1 - written.in_body:.0%} of the points lie outside the body, as far as it is found"
        )
    if repeated := len(fixed) - len(np.unique(np.hstack([fixed, moving]), axis=0)):
        notes.append(f"{where}: {repeated} of {len(fixed)} points are listed twice")
    return faults, notes


def _judged(where: str, sides: Sequence[_Side], written: Fit) -> Iterator[Fault]:
    suspects = [(form, fit(sides, form)) for form in forms()]
    believed = [
        (form, one) for form, one in suspects if _is_believed(form, one, written, len(sides[0].points))
    ]
    if believed:
        form, one = max(believed, key=lambda item: (-item[1].outside, item[1].alike))
        got = f"{_said(written)} as written; {_said(one)} if put right"
        yield Fault(form.name, where, "voxels of each image, counted from 0", got, form.remedy)
        return
    total = len(sides[0].points)
    if written.outside:
        places = [
            f"row {row + 1} of the {side.role} image: {_text(side.points[row])}"
            for side in sides
            for row in np.flatnonzero(~_inside(side.points, side.volume.data.shape))
        ]
        got = f"{written.outside} of {total}: {'; '.join(places[:3])}"
        shapes = " and ".join(str(side.volume.data.shape) for side in sides)
        yield Fault("landmarks outside the image", where, f"voxels within {shapes}", got)
    elif written.in_body < 1 - _OUTSIDE_BODY:
        share = f"{1 - written.in_body:.0%} of {total} points"
        yield Fault("landmarks outside the body", where, "points in the body or the mask", share)


def _is_believed(form: Form, corrected: Fit, written: Fit, count: int) -> bool:
    """Tell whether a correction is better beyond doubt: it brings points in, or neighbourhoods together."""
    if corrected.outside or corrected.in_body < written.in_body - _OUTSIDE_NOTED:
        return False
    gain = corrected.alike - written.alike
    if form.name == "landmarks counted from 1":
        # Both images move along: only points that would lie outside tell.
        return written.outside > 0
    least = _LEAST_GAIN * max(1.0, math.sqrt(_MANY / count))
    better = gain > least and corrected.alike > _FACTOR * max(written.alike, 0)
    return better or (written.outside > 0 and gain > 0 and corrected.alike > least)


def fit(sides: Sequence[_Side], form: Form | None) -> Fit:
    """Measure how well points fit, as written or put right."""
    points = [
        side.points if form is None else form.apply(side.points, side.volume.grid, side.role)
        for side in sides
    ]
    inside = [_inside(of, side.volume.data.shape) for of, side in zip(points, sides, strict=True)]
    both = inside[0] & inside[1]
    shares = [
        float(np.mean(side.body[tuple(np.rint(of[both]).astype(np.intp).T)]))
        for of, side in zip(points, sides, strict=True)
        if side.body is not None and both.any()
    ]
    alike = 0.0
    if both.sum() >= _FEW:
        here = [_neighbourhoods(side.volume.data, of[both]) for of, side in zip(points, sides, strict=True)]
        # By chance: each landmark beside the next one's neighbourhood.
        chance = mutual_information(_binned(here[0]), _binned(np.roll(here[1], 1, axis=0)), _BINS)
        alike = mutual_information(_binned(here[0]), _binned(here[1]), _BINS) - chance
    return Fit(int((~both).sum()), min(shares, default=float("nan")), alike)


def _inside(points: Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(((points > -0.5) & (points < np.array(shape) - 0.5)).all(axis=1))


def _neighbourhoods(volume: NDArray[np.floating], points: Points) -> NDArray[np.float64]:
    """Return the intensities around points, (N, M), linearly interpolated."""
    steps = np.arange(-_REACH, _REACH + 1)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    places = (points[:, None] + offsets).reshape(-1, 3)
    values = map_coordinates(volume, places.T, order=1, mode="nearest", output=np.float64)
    return np.asarray(values.reshape(len(points), -1))


def _binned(values: NDArray[np.float64]) -> NDArray[np.intp]:
    edges = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.asarray(np.digitize(values.ravel(), edges))


def _said(one: Fit) -> str:
    body = "" if np.isnan(one.in_body) else f", {one.in_body:.0%} in the body"
    return f"{one.outside} points outside the image{body}, likeness {one.alike:.3f}"


def _text(point: Points) -> str:
    return ", ".join(f"{value:g}" for value in point)
