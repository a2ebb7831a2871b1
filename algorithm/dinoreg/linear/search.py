"""Many rotations and translations on coarse images, and a climb from the best of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dinoreg.linear.information import BothWays, Comparison, information
from dinoreg.linear.maps import About, Matrix, about_centre, angle_degrees, map_points, rotation
from dinoreg.linear.refine import Fit, refine

_SAMPLES = 2_500  # that a start is scored by
_CLIMBS = 14
_CLIMB_ITERATIONS = 12
_BEYOND_DEGREES = 25.0  # that a climb may turn further than the starts


@dataclass(frozen=True, slots=True)
class Range:
    """Which starts are tried.

    Attributes:
        degrees: about each axis of the scanner, both ways.
        step_mm: between neighbouring translations.
        steps: both ways along each axis.
    """

    degrees: float
    step_mm: float
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search found.

    Attributes:
        tried: starts that were scored.
        fits: after the climb, those that differ, best first.
    """

    tried: int
    fits: tuple[Fit, ...]


def search_maps(
    pair: BothWays,
    about: About,
    places_mm: Sequence[NDArray[np.float64]],
    within: Range,
    *,
    starts: Sequence[Matrix] = (),
    cell_mm: float,
    min_inside: float,
) -> Found:
    """Score every start, and climb from the given ones and from the best translation of each rotation.

    Args:
        pair: on coarse cells.
        about: the centre of fixed.
        places_mm: (3,) places of moving that the centre may lead to; each is the middle of a lattice.
        within: rotations, and the lattice of translations.
        starts: maps to climb from in any case.
        cell_mm: of the comparison.
        min_inside: share of the samples that have to lie inside the other image.
    """
    few = _fewer(pair.forward, _SAMPLES)
    places = _lattices(places_mm, within)
    best: list[Fit] = []
    tried = 0
    for linear in _rotations(within.degrees):
        matrices = [about_centre(linear, about.centre_mm, place) for place in places]
        fits = [Fit(matrix, information(few, matrix)) for matrix in matrices]
        tried += len(fits)
        inside = [fit for fit in fits if fit.score.inside >= min_inside]
        best += sorted(inside, key=_worst_first)[-1:]
    ranked = sorted(best, key=_worst_first, reverse=True)[:_CLIMBS]
    limit = np.sqrt(3) * within.degrees + _BEYOND_DEGREES

    def climb(start: Matrix) -> Fit:
        return refine(
            pair,
            start,
            "rigid",
            about,
            first_step_mm=2 * cell_mm,
            tolerance_mm=0.05 * cell_mm,
            iterations=_CLIMB_ITERATIONS,
            min_inside=min_inside,
        )

    climbed = [climb(fit.matrix) for fit in ranked]
    allowed = [fit for fit in climbed if angle_degrees(fit.matrix) <= limit]
    allowed += [climb(start) for start in starts]
    return Found(tried, tuple(apart(allowed, about, least_mm=cell_mm)))


def apart(fits: Sequence[Fit], about: About, *, least_mm: float) -> list[Fit]:
    """Order by score, best first, and leave out those that are nearly the same as a better one."""
    corners = about.centre_mm + about.radius_mm * np.array(list(itertools.product((-1, 1), repeat=3)))
    kept: list[tuple[Fit, NDArray[np.float64]]] = []
    for fit in sorted(fits, key=_worst_first, reverse=True):
        leads = map_points(fit.matrix, corners)
        if all(np.linalg.norm(leads - other, axis=1).mean() >= least_mm for _, other in kept):
            kept.append((fit, leads))
    return [fit for fit, _ in kept]


def _rotations(degrees: float) -> list[Matrix]:
    """About all combinations of the three axes by -, none and +."""
    turns = itertools.product((-1.0, 0.0, 1.0), repeat=3) if degrees else [(0.0, 0.0, 0.0)]
    return [rotation(np.radians(degrees) * np.array(turn)) for turn in turns]


def _lattices(places_mm: Sequence[NDArray[np.float64]], within: Range) -> list[NDArray[np.float64]]:
    """Lattices of translations about several places; what lies close to an earlier point is left out."""
    axis = np.arange(-within.steps, within.steps + 1) * within.step_mm
    offsets = np.array(list(itertools.product(axis, repeat=3)))
    found = np.empty((0, 3))
    for place in places_mm:
        points = place + offsets
        if len(found):
            distance = np.abs(points[:, None] - found[None]).max(axis=2).min(axis=1)
            points = points[distance > 0.4 * within.step_mm]
        found = np.concatenate([found, points])
    return list(found)


def _fewer(comparison: Comparison, samples: int) -> Comparison:
    stride = max(1, len(comparison.points) // samples)
    return Comparison(
        np.ascontiguousarray(comparison.points[::stride]),
        np.ascontiguousarray(comparison.fixed[::stride]),
        comparison.moving,
        comparison.to_index,
        comparison.bins,
        comparison.reach,
    )


def _worst_first(fit: Fit) -> float:
    return fit.score.value
