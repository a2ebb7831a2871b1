"""Scores that mean what a reader expects: millimetres, true folds, and no reward for what was lost.

A label is judged if it is in the fixed and in the un-warped moving image. If warping lost it, its Dice is 0
and its HD95 the diagonal of the fixed image, the largest distance there is. Lost and absent
labels are listed.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regeval.inputs.config import Config, Method
from regeval.scoring.official_rules import FOLDS
from regeval.scoring.pair_measures import Measures, diagonal_mm
from regeval.scoring.regularity_scores import chosen
from regeval.scoring.score import Score, mean_of

# The share of the landmarks that are the hardest, and their name in the metrics file.
HARDEST = 0.3
HARDEST_NAME = "hardest30"


def strict_scores(
    config: Config, measures: Measures, regularity: Mapping[str, Score], before: Measures
) -> dict[str, Score]:
    """Return the scores of one pair under the names of the configuration.

    Args:
        config: what to score.
        measures: of the field.
        regularity: the same field's `regeval.scoring.regularity_scores`.
        before: of the identity, which tells the hardest landmarks.
    """
    scores: dict[str, Score] = {}
    for method in config.methods:
        match method.kind:
            case "sdlogj":
                scores[method.name] = _regularity(config, measures, regularity, "sdLogJ")
                scores[FOLDS] = _regularity(config, measures, regularity, "folds")
            case "ndv":
                scores[method.name] = _regularity(config, measures, regularity, "NDV_percent")
            case "tre":
                scores[method.name] = _tre(method, measures, before)
            case "dice" | "hd95":
                scores[method.name] = _labels(method, measures)
    return scores


def hardest(initial: Sequence[float] | NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices of the 30 % of landmarks with the largest initial error, at least one."""
    count = max(1, round(HARDEST * len(initial)))
    return np.argsort(-np.asarray(initial), kind="stable")[:count]


def _regularity(config: Config, measures: Measures, regularity: Mapping[str, Score], name: str) -> Score:
    value = chosen(regularity, name, config.masked)
    lacking = config.masked and measures.truth.mask is None
    return Score(value, value, reasons=("no mask: judged everywhere",) if lacking else ())


def _tre(method: Method, measures: Measures, before: Measures) -> Score:
    errors = measures.tre_mm.get(method.points)
    if errors is None:
        return Score(math.nan, (), reasons=(f"no {method.points}",))
    hard = errors[hardest(before.tre_mm[method.points])]
    return Score(float(errors.mean()), tuple(errors.tolist()), {HARDEST_NAME: float(hard.mean())})


def _labels(method: Method, measures: Measures) -> Score:
    farthest_mm = diagonal_mm(measures.truth.shape, measures.truth.fixed_spacing_mm)
    values: list[float] = []
    absent: list[int] = []
    lost: list[int] = []
    for label in method.labels:
        found = measures.labels.get(label)
        if found is None:
            absent.append(label)
            values.append(math.nan)
        elif method.kind == "dice":
            values.append(found.dice)
        else:
            values.append(farthest_mm if found.lost else found.hd95_mm)
        if found is not None and found.lost and not measures.invented:
            lost.append(label)
    reasons = [f"label {label}: not in both images" for label in absent]
    if measures.truth.labels is None:
        reasons = ["no label maps"]
    worst = "Dice 0" if method.kind == "dice" else "the diagonal of the image"
    reasons += [f"label {label}: lost in warping, counted as {worst}" for label in lost]
    more = {"absent_labels": absent, "lost_labels": lost}
    return Score(mean_of(values), tuple(values), more, tuple(reasons))
