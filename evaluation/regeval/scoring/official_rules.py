"""Scores by the rules of the official Learn2Reg evaluator, oddities included.

The oddities: the Jacobian determinant is raised by 3 before the logarithm and judged without two voxels at
every face; folds are counted after that and are therefore never found; HD95 is in voxels whatever the voxel
size; a label that is not in both images is NaN and ignored, one that was lost makes HD95 infinite.
(MDL-UzL/L2R, evaluation.py and utils.py at 8847509 of 2025 and 28985b7 of 2024.)
"""

import math
from collections.abc import Mapping

from regeval.inputs.config import Config, Method
from regeval.scoring.pair_measures import Measures
from regeval.scoring.regularity_scores import chosen
from regeval.scoring.score import Score, mean_of

FOLDS = "num_foldings"


def official_scores(config: Config, measures: Measures, regularity: Mapping[str, Score]) -> dict[str, Score]:
    """Return the scores of one pair under the names, and in the order, of the official metrics file.

    Args:
        config: what to score.
        measures: of the field.
        regularity: the same field's `regeval.scoring.regularity_scores`.
    """
    scores: dict[str, Score] = {}
    for method in config.methods:
        scores[method.name] = _score(config, method, measures, regularity)
        if method.kind == "sdlogj":
            folds = chosen(regularity, "folds", config.masked) if measures.invented else 0.0
            scores[FOLDS] = Score(folds, folds)
    return scores


def _score(config: Config, method: Method, measures: Measures, regularity: Mapping[str, Score]) -> Score:
    match method.kind:
        case "sdlogj":
            value = chosen(regularity, "sdLogJ_plus3", config.masked)
            return Score(value, value)
        case "ndv":
            value = chosen(regularity, "NDV_percent", config.masked)
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
