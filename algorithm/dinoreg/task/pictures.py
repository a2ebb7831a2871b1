"""All pictures of one registration: the pair, the features, the match of slices."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from dinoreg.pipeline.registration import Registration
from dinoreg.report.feature_picture import draw_features
from dinoreg.report.pair import draw_registration
from dinoreg.report.slice_picture import SliceComparison, draw_slices
from dinoreg.start.slice_matching import SliceMatch
from regtask.fields import read_field
from regtask.images import Volume, read_volume
from regtask.pair import Pair

log = logging.getLogger(__name__)


def draw_pictures(folder: Path, pair: Pair, fixed: Volume, moving: Volume, result: Registration) -> None:
    """Write `FIXED_MOVING.png`, and `..._features.png` and `..._slices.png` where there is what they show.

    Args:
        folder: made if absent.
        pair: names the files.
        fixed: the fixed image.
        moving: the moving image, of the same shape.
        result: of the pair.

    Raises:
        OutputError: a file cannot be written.
    """
    stem = _stem(pair)
    folder.mkdir(parents=True, exist_ok=True)
    draw_registration(folder / f"{stem}.png", pair, fixed, moving, result.displacement)
    for n, seen in enumerate(result.evidence):
        draw_features(
            folder / f"{stem}_features{n or ''}.png",
            *seen.colours,
            *seen.weights,
            result.plan.finest.spacing_mm,
            title=pair.case_key,
            affine=fixed.grid.affine,
            moving_affine=moving.grid.affine,
        )
    for n, match in enumerate(result.matches):
        slices = _comparison(match, fixed.grid.spacing_mm[match.axis])
        draw_slices(
            folder / f"{stem}_slices{n or ''}.png",
            slices,
            slices.closest_pairs(match.closest) if match.closest else np.empty((0, 2), np.intp),
            match.shift,
            title=pair.case_key,
        )


def draw_from_field(folder: Path, pair: Pair, field: Path) -> None:
    """Write `FIXED_MOVING.png` from a written field, unless it is there already.

    What else a registration can show, its features and its match of slices, is not kept in a field.

    Args:
        folder: made if absent.
        pair: of the field.
        field: as the run wrote it.

    Raises:
        DataError: the field or an image cannot be read.
        OutputError: the file cannot be written.
    """
    path = folder / f"{_stem(pair)}.png"
    if path.exists():
        return
    fixed, moving = read_volume(pair.fixed), read_volume(pair.moving)
    draw_registration(path, pair, fixed, moving, read_field(field, fixed.grid.shape))
    log.info("%s: picture drawn from the written field", pair.case_key)


def _stem(pair: Pair) -> str:
    return f"{pair.fixed_id}_{pair.moving_id}"


def _comparison(match: SliceMatch, spacing_mm: float) -> SliceComparison:
    codes = match.codes
    return SliceComparison(
        distances=codes.distances.cpu().numpy(),
        fixed_at=codes.fixed_at.cpu().numpy(),
        moving_at=codes.moving_at.cpu().numpy(),
        fixed_valid=codes.fixed_valid.cpu().numpy(),
        moving_valid=codes.moving_valid.cpu().numpy(),
        spacing_mm=spacing_mm,
        axis=match.axis,
    )
