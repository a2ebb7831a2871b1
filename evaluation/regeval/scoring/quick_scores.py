"""The scores that a developer looks at first, of one pair or a task, without a configuration.

Convention: pull fields, voxels of the fixed grid; None in place of a field is the identity, "before".
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regeval.inputs.config import Config, Method
from regeval.inputs.ground_truth import read_truth
from regeval.inputs.submission import missing_fields, open_submission
from regeval.scoring.pair_measures import measure
from regeval.scoring.regularity_scores import chosen, field_scores
from regtask.dataset import Dataset, Split
from regtask.errors import DataError, Fault, SpaceError
from regtask.images import read_header, read_labels
from regtask.pair import Pair
from regtask.verify import raise_for

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
        official_hd95_voxels: as Learn2Reg's evaluator has it, mean over the same labels.
        official_sd_log_jacobian: likewise, of the determinant plus 3.
    """

    case: str
    dice: float | None
    dice_per_label: Mapping[int, float]
    hd95_mm: float | None
    tre_mm: float | None
    folding_percent: float
    sd_log_jacobian: float
    official_hd95_voxels: float | None = None
    official_sd_log_jacobian: float | None = None


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
        DataError: a file cannot be read, or the images, label maps and the mask are not of one shape.
        SpaceError: the field is of another shape.
    """
    present = _labels(pair)
    methods = (Method("Dice", "dice", present), Method("TRE", "tre"))
    config = Config("", methods, (pair,), None, masked=True, complete=False)
    truth = read_truth(config, pair)
    if field is not None and field.shape != (*truth.shape, 3):
        expected = f"shape {(*truth.shape, 3)}"
        raise SpaceError(Fault("field of another shape", pair.case_key, expected, str(field.shape)))
    measures = measure(config, truth, field)
    regularity = field_scores(measures)
    return CaseScores(
        case=pair.case_key,
        dice=_mean(label.dice for label in measures.labels.values()),
        dice_per_label=dict.fromkeys(present, math.nan) | {k: v.dice for k, v in measures.labels.items()},
        hd95_mm=_mean(label.hd95_mm for label in measures.labels.values()),
        tre_mm=_mean(measures.tre_mm.get("landmarks", ())),
        folding_percent=chosen(regularity, "folds_percent", masked=True),
        sd_log_jacobian=chosen(regularity, "sdLogJ", masked=True),
        official_hd95_voxels=_mean(label.hd95_voxels for label in measures.labels.values()),
        official_sd_log_jacobian=chosen(regularity, "sdLogJ_plus3", masked=True),
    )


def score_task(dataset: Dataset, predictions: Path | None, split: Split = "auto") -> tuple[CaseScores, ...]:
    """Score all pairs of a split.

    Args:
        dataset: the task.
        predictions: folder or zip archive of displacement fields; None scores the identity.
        split: which pairs.

    Returns:
        One entry per pair, in the order of the dataset.

    Raises:
        DataError: fields are missing (all are listed, before any is scored), or files cannot be used (all
            that were found).
    """
    pairs = dataset.pairs(split)
    submission = None if predictions is None else open_submission(predictions)
    if submission is not None:
        raise_for([*submission.faults, *missing_fields(pairs, submission)])
    scores: list[CaseScores] = []
    faults: list[Fault] = []
    for pair in pairs:
        try:
            name = submission and submission.field_name(pair)
            field = None
            if submission is not None and name:
                field = submission.read_field(name, read_header(pair.fixed).grid.shape)
            scores.append(score_case(pair, field))
        except DataError as error:
            faults.extend(error.faults)
    raise_for(dict.fromkeys(faults))
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


def _labels(pair: Pair) -> tuple[int, ...]:
    """Return the labels above 0 in either label map; none unless there are both."""
    files = pair.labels()
    if files.fixed is None or files.moving is None:
        return ()
    present = {label for path in files if path for label in np.unique(read_labels(path)[0]).tolist()}
    return tuple(sorted(label for label in present if label > 0))


def _mean(values: Iterable[float]) -> float | None:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else None
