"""Scores that mean what a reader expects: millimetres, true folds, and no reward for what was lost.

A label is judged if it is in the fixed and in the un-warped moving image. If warping lost it, its Dice is 0
and its HD95 the diagonal of the fixed image, the largest distance there is. Lost and absent
labels are listed.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regeval.config import Config, Method
from regeval.measure import Measures
from regeval.official import FOLDS, official_sd_log_jacobian
from regeval.regularity import log_spread
from regeval.score import Score, mean_of, ndv_percent

# The share of the landmarks that are the hardest, and their name in the metrics file.
HARDEST = 0.3
HARDEST_NAME = "hardest30"


def strict_scores(config: Config, measures: Measures, before: Measures) -> dict[str, Score]:
    """Return the scores of one pair under the names of the configuration.

    Args:
        config: what to score.
        measures: of the field.
        before: of the identity, which tells the hardest landmarks.
    """
    scores: dict[str, Score] = {}
    for method in config.methods:
        scores[method.name] = _score(config, method, measures, before)
        if method.kind == "sdlogj":
            scores[FOLDS] = _single(float(np.count_nonzero(_judged(measures, config.masked) <= 0)))
    return scores


def regularity_scores(measures: Measures) -> dict[str, Score]:
    """Return all measures of regularity, over the whole image and, with `_masked`, within the fixed mask."""
    scores: dict[str, Score] = {}
    for masked in (False, True) if measures.truth.mask is not None else (False,):
        ending = "_masked" if masked else ""
        judged = _judged(measures, masked)
        folds = float(np.count_nonzero(judged <= 0))
        digital, size = 0.0, 1
        if measures.digital is not None:
            digital, _, size = measures.digital.within(measures.truth.mask if masked else None)
        flat = measures.digital is None and measures.determinant is not None
        values = {
            "sdLogJ": log_spread(judged),
            "sdLogJ_plus3": official_sd_log_jacobian(measures, masked),
            "folds": folds,
            "folds_percent": 100 * folds / judged.size,
            "digital_folds_percent": 100 * digital / size if size and not flat else math.nan,
            "NDV_percent": ndv_percent(measures, masked),
        }
        scores |= {f"{name}{ending}": _single(value) for name, value in values.items()}
    return scores


def hardest(initial: Sequence[float] | NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices of the 30 % of landmarks with the largest initial error, at least one."""
    count = max(1, round(HARDEST * len(initial)))
    return np.argsort(-np.asarray(initial), kind="stable")[:count]


def _score(config: Config, method: Method, measures: Measures, before: Measures) -> Score:
    match method.kind:
        case "sdlogj":
            return _single(log_spread(_judged(measures, config.masked)), _mask_note(config, measures))
        case "ndv":
            return _single(ndv_percent(measures, config.masked), _mask_note(config, measures))
        case "tre":
            return _tre(method, measures, before)
        case "dice" | "hd95":
            return _labels(method, measures)


def _tre(method: Method, measures: Measures, before: Measures) -> Score:
    errors = measures.tre_mm.get(method.points)
    if errors is None:
        return Score(math.nan, (), reasons=(f"no {method.points}",))
    hard = errors[hardest(before.tre_mm[method.points])]
    return Score(float(errors.mean()), tuple(errors.tolist()), {HARDEST_NAME: float(hard.mean())})


def _labels(method: Method, measures: Measures) -> Score:
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
            values.append(_diagonal_mm(measures) if found.lost else found.hd95_mm)
        if found is not None and found.lost:
            lost.append(label)
    reasons = [f"label {label}: not in both images" for label in absent]
    if measures.truth.labels is None:
        reasons = ["no label maps"]
    worst = "Dice 0" if method.kind == "dice" else "the diagonal of the image"
    reasons += [f"label {label}: lost in warping, counted as {worst}" for label in lost]
    more = {"absent_labels": absent, "lost_labels": lost}
    return Score(mean_of(values), tuple(values), more, tuple(reasons))


def _diagonal_mm(measures: Measures) -> float:
    spacing = measures.truth.fixed_spacing_mm or (1.0, 1.0, 1.0)
    return math.dist(
        (0, 0, 0), [size * step for size, step in zip(measures.truth.shape, spacing, strict=True)]
    )


def _judged(measures: Measures, masked: bool) -> NDArray[np.float64]:
    """Return the determinants that count; that of the identity is 1."""
    if measures.determinant is None:
        return np.ones(1)
    mask = measures.truth.mask if masked else None
    return measures.determinant.ravel() if mask is None else measures.determinant[mask]


def _mask_note(config: Config, measures: Measures) -> tuple[str, ...]:
    return ("no mask: judged everywhere",) if config.masked and measures.truth.mask is None else ()


def _single(value: float, reasons: tuple[str, ...] = ()) -> Score:
    return Score(value, value, reasons=reasons)
