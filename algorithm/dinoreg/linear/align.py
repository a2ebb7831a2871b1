"""Rigid and affine registration of two scans, each on its own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dinoreg.linear.levels import Placed, Resolution, compare_both
from dinoreg.linear.maps import About, Matrix, Model, angle_degrees, map_points
from dinoreg.linear.refine import refine
from dinoreg.linear.search import Range, apart, search_maps
from dinoreg.settings.stages import Linear
from regtask.errors import DataError, Fault

# All lengths are shares of the size of the smaller body: a head and a hippocampus are treated alike.
COARSE_SHARE, _MIDDLE_SHARE, _FINE_SHARE = 1 / 36, 1 / 72, 1 / 200
RADIUS_SHARE, STEP_SHARE = 0.3, 1 / 5
COARSE_SAMPLES, COARSE_BINS = 6_000, 20
_MIDDLE_SAMPLES, _FINE_SAMPLES, _BINS = 15_000, 50_000, 32
_FINALISTS = 3  # of the coarse level
_WORTH_A_LOOK = 0.6  # share of the best one's gain that another finalist needs
_ITERATIONS = 30
_NOTHING = 1e-9  # gain in mutual information that rounding makes


@dataclass(frozen=True, slots=True)
class LinearFacts:
    """How a linear registration went.

    Attributes:
        model: rigid or affine.
        starts: that were scored.
        information_before: normalised mutual information where the scanner's coordinates put the images.
        information: at the end, on the same cells.
        margin: by how much the gain of the best start is larger than that of the next one that leads
            elsewhere, as a share of it; 1 where there is no other.
        overlap: share of the samples of one image that lie inside the other, of as many as can; the smaller
            one.
        degrees: of the rotation.
        translation_mm: of the centre of the fixed foreground, along R, A, S or, where no header was given,
            the array axes.
    """

    model: Model
    starts: int
    information_before: float
    information: float
    margin: float
    overlap: float
    degrees: float
    translation_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """A linear map, (4, 4) from mm of fixed to mm of moving, and how it was found."""

    matrix: Matrix
    facts: LinearFacts


def align(fixed: Placed, moving: Placed, settings: Linear, *, starts: Sequence[Matrix] = ()) -> Alignment:
    """Register by normalised mutual information, from coarse to fine.

    Many rotations and translations are scored on coarse cells; the best climb; those of them that stay close
    to the best one climb on on finer cells. An affine goes on from the best rigid map.

    Args:
        fixed: any volume.
        moving: any other.
        settings: model and range.
        starts: maps to climb from, in any case, beside the one by which the scanners' coordinates agree.

    Raises:
        DataError: an image is a plane, or has no contrast inside its foreground.
    """
    check_volumes(fixed, moving)
    about, size = frame_of(fixed, moving)
    place = moving.body()[0]
    coarse = size * COARSE_SHARE
    least = settings.min_overlap
    pair = compare_both(fixed, moving, Resolution(coarse, COARSE_SAMPLES, COARSE_BINS, edge=True))
    within = Range(settings.range_degrees, size * STEP_SHARE, round(settings.range_share / STEP_SHARE))
    places = [*(map_points(start, about.centre_mm) for start in starts), about.centre_mm, place]
    found = search_maps(
        pair,
        about,
        places,
        within,
        starts=[*starts, np.eye(4)],
        cell_mm=coarse,
        min_inside=least,
    )
    gains = [fit.score.value - 1 for fit in found.fits]
    if gains[0] <= _NOTHING:
        raise DataError(
            Fault(
                "the images tell nothing of one another",
                "linear registration",
                "contrast inside the foreground of both",
                "the same brightness everywhere inside",
                "for label maps or masks, set preprocess.normalise to false",
            )
        )
    margin = 1 - gains[1] / gains[0] if len(gains) > 1 and gains[0] > 0 else 1.0
    chosen = [fit for fit, gain in zip(found.fits, gains, strict=True) if gain >= _WORTH_A_LOOK * gains[0]]
    middle = compare_both(fixed, moving, Resolution(size * _MIDDLE_SHARE, _MIDDLE_SAMPLES, _BINS, edge=True))
    fits = [
        refine(
            middle,
            fit.matrix,
            "rigid",
            about,
            first_step_mm=coarse,
            tolerance_mm=0.01 * coarse,
            iterations=_ITERATIONS,
            min_inside=least,
        )
        for fit in chosen[:_FINALISTS]
    ]
    best = apart(fits, about, least_mm=coarse)[0].matrix
    before = middle.score(np.eye(4)).value
    fine = compare_both(fixed, moving, Resolution(size * _FINE_SHARE, _FINE_SAMPLES, _BINS, edge=False))
    levels = [(fine, 0.25)] if settings.model == "rigid" else [(middle, 0.5), (fine, 0.25)]
    for level, first in levels:
        best = refine(
            level,
            best,
            settings.model,
            about,
            first_step_mm=first * coarse,
            tolerance_mm=0.002 * coarse,
            iterations=_ITERATIONS,
            min_inside=least,
        ).matrix
    after = middle.score(best)
    facts = LinearFacts(
        settings.model,
        found.tried,
        round(before, 5),
        round(after.value, 5),
        round(margin, 4),
        round(after.inside, 4),
        round(angle_degrees(best), 3),
        tuple(np.round(map_points(best, about.centre_mm) - about.centre_mm, 3).tolist()),
    )
    return Alignment(best, facts)


def frame_of(fixed: Placed, moving: Placed) -> tuple[About, float]:
    """Return what rotations go about, and the size of the smaller body in mm."""
    centre, size = fixed.body()
    size = min(size, moving.body()[1])
    return About(centre, size * RADIUS_SHARE), size


def check_volumes(fixed: Placed, moving: Placed) -> None:
    """Refuse planes.

    Raises:
        DataError: an axis of either image has one voxel only.
    """
    for role, placed in (("fixed", fixed), ("moving", moving)):
        shape = placed.image.values.shape
        if min(shape) == 1:
            raise DataError(
                Fault(
                    "a plane cannot be turned in space",
                    f"{role} image",
                    "a volume for rigid and affine registration",
                    str(shape),
                )
            )
