"""Whether two images ask for a rotation, and for which.

Between people a rigid map never fits, and one that turns fits better by chance now and then. So a rotation
has to show itself twice: in the mutual information on coarse cells, which costs little, and in what a small
deformable registration leaves of the distance of MIND features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dinoreg.encoders.mind import MindSsc
from dinoreg.linear.align import COARSE_BINS, COARSE_SAMPLES, COARSE_SHARE, STEP_SHARE, frame_of
from dinoreg.linear.levels import Placed, Resolution, compare_both
from dinoreg.linear.maps import Matrix, angle_degrees, inverse, map_points
from dinoreg.linear.move import in_voxels, read_through, scaling
from dinoreg.linear.search import Range, search_maps
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.stages import Linear
from dinoreg.space.features import Features
from dinoreg.space.lattice import finest_lattice_within, pool
from dinoreg.start.hypotheses import judge_translations

_MORE_INFORMATION = 1.1  # times the gain of the best map that hardly turns
_CANDIDATES = 3
# Cells that MIND is computed on and compared on, and the radius of the small deformable registration.
_FINE_CELLS, _JUDGED_CELLS, _RADIUS = 300_000, 24_000, 3


@dataclass(frozen=True, slots=True)
class RotationFacts:
    """What spoke for or against a rotation.

    Attributes:
        degrees: of the best map that turns; None where none told more than the start does.
        information: gain over 1 of the normalised mutual information by the best map that hardly turns, and
            by the best one that does.
        residual: mean squared feature distance that a small deformable registration leaves from the start,
            and from the rotation; None where it was not asked for, or too little overlaps.
        taken: whether the images are turned.
    """

    degrees: float | None
    information: tuple[float, ...]
    residual: tuple[float, ...] | None
    taken: bool


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """A rigid map in mm along the array axes, (4, 4); None where the images ask for none."""

    matrix: Matrix | None
    facts: RotationFacts


def find_rotation(
    fixed: PreparedImage,
    moving: PreparedImage,
    spacing_mm: tuple[float, ...],
    start: Matrix,
    settings: Linear,
) -> Rotation:
    """Look for a rotation that explains two images clearly better than a start does.

    Args:
        fixed: (I, J, K).
        moving: the same shape, joined voxel to voxel.
        spacing_mm: of both.
        start: (4, 4), mm along the array axes: what the starts found.
        settings: how many degrees and how much better.
    """
    if min(fixed.values.shape) == 1:
        return Rotation(None, RotationFacts(None, (), None, False))
    placed = Placed(fixed, scaling(spacing_mm)), Placed(moving, scaling(spacing_mm))
    about, size = frame_of(*placed)
    cell_mm = size * COARSE_SHARE
    pair = compare_both(*placed, Resolution(cell_mm, COARSE_SAMPLES, COARSE_BINS, edge=True))
    found = search_maps(
        pair,
        about,
        [map_points(start, about.centre_mm), placed[1].body()[0]],
        Range(settings.range_degrees, size * STEP_SHARE, 1),
        starts=[start],
        cell_mm=cell_mm,
        min_inside=settings.min_overlap,
    )
    back = inverse(start)
    turns = [(angle_degrees(back @ fit.matrix) >= settings.least_degrees, fit) for fit in found.fits]
    turning = [fit for turned, fit in turns if turned]
    straight = [fit.score.value for turned, fit in turns if not turned]
    base = max([pair.score(start).value, *straight]) - 1
    wanted = [fit for fit in turning if fit.score.value - 1 > _MORE_INFORMATION * base][:_CANDIDATES]
    if not wanted:
        best = tuple(round(fit.score.value - 1, 5) for fit in turning[:1])
        return Rotation(None, RotationFacts(None, (round(base, 5), *best), None, False))
    judge = _Judge(fixed, moving, spacing_mm)
    before = judge.residual(start)
    residuals = [judge.residual(fit.matrix) for fit in wanted]
    number = min(range(len(wanted)), key=residuals.__getitem__)
    best_fit, after = wanted[number], residuals[number]
    # Where the start leaves too little in common to be judged by, a rotation cannot be called better.
    known = math.isfinite(before) and math.isfinite(after)
    taken = known and after < (1 - settings.least_gain) * before
    facts = RotationFacts(
        round(angle_degrees(best_fit.matrix), 2),
        (round(base, 5), round(best_fit.score.value - 1, 5)),
        (round(before, 5), round(after, 5)) if known else None,
        taken,
    )
    return Rotation(best_fit.matrix if taken else None, facts)


class _Judge:
    """Measures what a small deformable registration leaves after a map."""

    def __init__(self, fixed: PreparedImage, moving: PreparedImage, spacing_mm: tuple[float, ...]) -> None:
        shape = fixed.values.shape
        self._moving, self._to_mm = moving, scaling(spacing_mm)
        self._fine, _ = finest_lattice_within(shape, spacing_mm, _FINE_CELLS)
        # Whole multiples, so that the features can be averaged.
        ratio = math.ceil((math.prod(self._fine.shape) / _JUDGED_CELLS) ** (1 / 3) - 1e-6)
        self._judged = self._fine.widened(max(1, ratio))
        self._features = self._encode(fixed)

    def residual(self, matrix: Matrix) -> float:
        """Return the mean squared distance of the features; infinite where too little overlaps."""
        turned = self._encode(read_through(self._moving, in_voxels(matrix, self._to_mm)))
        nowhere = torch.zeros(3, *self._judged.shape)
        radius = tuple(0 if n == 1 else _RADIUS for n in self._judged.shape)
        (found,) = judge_translations(self._features, turned, [(0.0, 0.0, 0.0)], radius, base=nowhere)
        return found.distance if found.overlap >= 0.3 else math.inf

    def _encode(self, image: PreparedImage) -> Features:
        values = pool(torch.from_numpy(image.values).unsqueeze(0), self._fine.stride)
        share = pool(torch.from_numpy(image.foreground).float().unsqueeze(0), self._fine.stride)
        features = MindSsc(radius=1, dilation=2)(values)
        return Features(features, share, self._fine).on(self._judged)
