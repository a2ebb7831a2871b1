"""Scores of one pair and of a whole task.

Convention: pull fields, voxels of the fixed grid; None in place of a field is the identity, "before".
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regeval.landmarks import tre_mm
from regeval.overlap import dice, labels_in_both
from regeval.predictions import find_fields
from regeval.regularity import folded_share, jacobian_determinant, log_spread
from regeval.surface import hd95_mm
from regeval.warp import warp_labels
from regtask.dataset import Dataset, Split
from regtask.errors import DataError, Fault, SpaceError
from regtask.fields import read_field
from regtask.grid import Grid
from regtask.images import read_header, read_labels, read_mask
from regtask.landmarks import read_landmark_pair
from regtask.pair import Pair

Field = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CaseScores:
    """Scores of one pair; None where the pair has nothing to measure them with.

    Attributes:
        case: name of the pair, such as `0001_0000<--0001_0001`.
        dice: mean over the labels that are in both images, 0 to 1.
        dice_per_label: label -> Dice; nan for a label that is in one of the two images only.
        hd95_mm: mean over the labels that are in both images; inf if one was lost.
        tre_mm: mean over the manual landmarks.
        folding_percent: share of voxels with a Jacobian determinant of 0 or less, within the fixed image's
            mask where there is one.
        sd_log_jacobian: over the same voxels.
    """

    case: str
    dice: float | None
    dice_per_label: Mapping[int, float]
    hd95_mm: float | None
    tre_mm: float | None
    folding_percent: float
    sd_log_jacobian: float


@dataclass(frozen=True, slots=True)
class MeanScores:
    """Means over the cases that have the score; None where none has."""

    dice: float | None
    hd95_mm: float | None
    tre_mm: float | None
    folding_percent: float | None
    sd_log_jacobian: float | None


def score_case(pair: Pair, field: Field | None) -> CaseScores:
    """Score the registration of one pair with whatever labels, landmarks and mask lie beside its images.

    Args:
        pair: the two images; only their headers are read.
        field: (I, J, K, 3) voxels of the fixed image, or None for the identity.

    Raises:
        DataError: a file cannot be read.
        SpaceError: the images, the label maps, the mask or the field are not of one shape.
    """
    fixed, moving = read_header(pair.fixed).grid, read_header(pair.moving).grid
    _refuse_shape(pair, "moving image", moving.shape, fixed.shape)
    if field is not None:
        _refuse_shape(pair, "field", field.shape, (*fixed.shape, 3))
    per_label, distances_mm = _label_scores(pair, fixed, field)
    points = read_landmark_pair(pair)
    folding, spread = _regularity(pair, fixed, field)
    return CaseScores(
        case=pair.case_key,
        dice=_mean(score for score in per_label.values() if not math.isnan(score)),
        dice_per_label=per_label,
        hd95_mm=_mean(distances_mm),
        tre_mm=None if points is None else _mean(tre_mm(*points, field, moving.spacing_mm)),
        folding_percent=100 * folding,
        sd_log_jacobian=spread,
    )


def score_task(
    dataset: Dataset, predictions_dir: Path | None, split: Split = "auto"
) -> tuple[CaseScores, ...]:
    """Score all pairs of a split.

    Args:
        dataset: the task.
        predictions_dir: folder of displacement fields, named in either way (see
            `regeval.predictions.find_field`); None scores the identity.
        split: which pairs.

    Returns:
        One entry per pair, in the order of the dataset.

    Raises:
        DataError: fields are missing (all are listed, before any is scored), or files cannot be used (all
            that were found).
    """
    pairs = dataset.pairs(split)
    fields = [None] * len(pairs) if predictions_dir is None else find_fields(pairs, predictions_dir)
    scores: list[CaseScores] = []
    faults: list[Fault] = []
    for pair, path in zip(pairs, fields, strict=True):
        try:
            field = None if path is None else read_field(path, read_header(pair.fixed).grid.shape)
            scores.append(score_case(pair, field))
        except DataError as error:
            faults.extend(error.faults)
    if faults:
        raise DataError(*dict.fromkeys(faults))
    return tuple(scores)


def mean_scores(scores: Sequence[CaseScores]) -> MeanScores:
    """Average over cases. An infinite HD95, from a lost organ, makes the mean infinite."""
    return MeanScores(
        dice=_mean(s.dice for s in scores if s.dice is not None),
        hd95_mm=_mean(s.hd95_mm for s in scores if s.hd95_mm is not None),
        tre_mm=_mean(s.tre_mm for s in scores if s.tre_mm is not None),
        folding_percent=_mean(s.folding_percent for s in scores),
        sd_log_jacobian=_mean(s.sd_log_jacobian for s in scores),
    )


def _label_scores(pair: Pair, fixed: Grid, field: Field | None) -> tuple[dict[int, float], list[float]]:
    """Dice of every label, and the HD95 in mm of those in both images."""
    files = pair.labels()
    if files.fixed is None or files.moving is None:
        return {}, []
    fixed_labels, moving_labels = read_labels(files.fixed)[0], read_labels(files.moving)[0]
    _refuse_shape(pair, "fixed label map", fixed_labels.shape, fixed.shape)
    _refuse_shape(pair, "moving label map", moving_labels.shape, fixed.shape)
    counted = labels_in_both(fixed_labels, moving_labels)
    present = sorted(int(label) for label in np.union1d(fixed_labels, moving_labels) if label > 0)
    warped = moving_labels if field is None else warp_labels(moving_labels, field)
    per_label = dict.fromkeys(present, math.nan) | dice(fixed_labels, warped, counted)
    distances_mm = [hd95_mm(fixed_labels == label, warped == label, fixed.spacing_mm) for label in counted]
    return per_label, distances_mm


def _regularity(pair: Pair, fixed: Grid, field: Field | None) -> tuple[float, float]:
    """Folding fraction and spread of log det, within the fixed image's mask where there is one."""
    if field is None:
        return 0.0, 0.0
    file = pair.masks().fixed
    mask = None if file is None else read_mask(file)
    if mask is not None:
        _refuse_shape(pair, "fixed mask", mask.shape, fixed.shape)
        if not mask.any():
            raise DataError(Fault("empty mask", str(file), "at least one voxel of 1"))
    determinants = jacobian_determinant(field)
    judged = determinants if mask is None else determinants[mask]
    return folded_share(judged), log_spread(judged)


def _refuse_shape(pair: Pair, what: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        remedy = "resample all files of a pair to the grid of the fixed image"
        raise SpaceError(
            Fault(f"{what} of another shape", pair.case_key, f"shape {expected}", str(got), remedy)
        )


def _mean(values: Iterable[float]) -> float | None:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else None
