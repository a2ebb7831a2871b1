"""Scores by the rules of the official Learn2Reg evaluator, oddities included.

The oddities: the Jacobian determinant is raised by 3 before the logarithm and judged without two voxels at
every face; folds are counted after that and are therefore never found; HD95 is in voxels whatever the voxel
size; a label that is not in both images is NaN and ignored, one that was lost makes HD95 infinite.
(MDL-UzL/L2R, evaluation.py and utils.py at 8847509 of 2025 and 28985b7 of 2024.)
"""

import math

import numpy as np

from regeval.config import Config, Method
from regeval.measure import Measures
from regeval.score import Score, mean_of, ndv_percent

FOLDS = "num_foldings"
_RAISE = 3
_CROP = (slice(2, -2),) * 3


def official_scores(config: Config, measures: Measures) -> dict[str, Score]:
    """Return the scores of one pair under the names, and in the order, of the official metrics file."""
    scores: dict[str, Score] = {}
    for method in config.methods:
        scores[method.name] = _score(config, method, measures)
        if method.kind == "sdlogj":
            scores[FOLDS] = Score(0.0, 0.0)
    return scores


def official_sd_log_jacobian(measures: Measures, masked: bool) -> float:
    """Return the standard deviation of log(det + 3), the official form.

    Args:
        measures: of the pair.
        masked: whether only the fixed image's mask is judged, where there is one.

    Returns:
        NaN if no voxel is left to judge.
    """
    if measures.determinant is None:
        return 0.0
    inner = measures.determinant[_CROP]
    mask = measures.truth.mask if masked else None
    judged = inner if mask is None else inner[mask[_CROP]]
    return float(np.log(np.clip(judged + _RAISE, 1e-9, 1e9)).std()) if judged.size else math.nan


def _score(config: Config, method: Method, measures: Measures) -> Score:
    match method.kind:
        case "sdlogj":
            value = official_sd_log_jacobian(measures, config.masked)
            return Score(value, value)
        case "ndv":
            value = ndv_percent(measures, config.masked)
            return Score(value, value)
        case "tre":
            errors = measures.official_tre_mm.get(method.points)
            if errors is None:
                return Score(math.nan, (), reasons=(f"no {method.points}",))
            return Score(float(errors.mean()), tuple(errors.tolist()))
        case "dice" | "hd95":
            values = tuple(_label_value(method, measures, label) for label in method.labels)
            return Score(mean_of(values), values)


def _label_value(method: Method, measures: Measures, label: int) -> float:
    found = measures.labels.get(label)
    if found is None:
        return math.nan
    return found.dice if method.kind == "dice" else found.hd95_voxels
