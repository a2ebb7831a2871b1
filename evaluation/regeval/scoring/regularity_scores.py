"""How regular a field is, by every definition in use; over the whole image and within the fixed mask."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from regeval.metrics.jacobian_folds import log_spread
from regeval.scoring.pair_measures import SMALLEST_DIGITAL, Measures
from regeval.scoring.score import Score

MASKED = "_masked"
# The official evaluator adds 3 to the determinant and leaves out two voxels at every face.
_RAISE = 3
_CROP = (slice(2, -2),) * 3
# Half of all determinants at 1e-9 and half at 1e9, where log(det + 3) is clipped: it cannot spread further.
_WORST_SPREAD = math.log(1e9)
_IDENTITY = {
    "sdLogJ": 0.0,
    "sdLogJ_plus3": 0.0,
    "folds": 0.0,
    "folds_percent": 0.0,
    "digital_folds_percent": 0.0,
    "NDV_percent": 0.0,
}


def field_scores(measures: Measures, threads: int = 1) -> dict[str, Score]:
    """Return all measures of regularity; those within the mask, where there is one, end in `_masked`.

    `sdLogJ` and `sdLogJ_plus3` are the standard deviations of log(max(det, 1e-9)) and of the official
    log(det + 3); `folds` counts voxels with a determinant, by central differences, of 0 or less;
    `digital_folds_percent` and `NDV_percent` are those of `regeval.metrics.digital_folds`.

    Args:
        measures: of the field.
        threads: how much is done at once; the results do not depend on it.
    """
    masks = {"": None} if measures.truth.mask is None else {"": None, MASKED: measures.truth.mask}
    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(lambda mask: _values(measures, mask), masks.values())
        return {
            f"{name}{ending}": Score(value, value)
            for ending, values in zip(masks, results, strict=True)
            for name, value in values.items()
        }


def chosen(scores: Mapping[str, Score], name: str, masked: bool) -> float:
    """Return a measure: within the mask if that is asked for and there is one, else over the image."""
    return scores[f"{name}{MASKED}" if masked and f"{name}{MASKED}" in scores else name].mean


def _values(measures: Measures, mask: NDArray[np.bool_] | None) -> dict[str, float]:
    determinant = measures.determinant
    if measures.invented:
        return _worst(measures.truth.shape, mask)
    if determinant is None:
        return _IDENTITY
    judged = determinant.ravel() if mask is None else determinant[mask]
    folds = float(np.count_nonzero(judged <= 0))
    values = {
        "sdLogJ": log_spread(judged),
        "sdLogJ_plus3": _official_spread(determinant, mask),
        "folds": folds,
        "folds_percent": 100 * folds / judged.size,
        "digital_folds_percent": math.nan,
        "NDV_percent": math.nan,
    }
    if measures.digital is not None:
        folded, volume, size = measures.digital.within(mask)
        if size:
            values |= {"digital_folds_percent": 100 * folded / size, "NDV_percent": 100 * volume / size}
    return values


def _worst(shape: tuple[int, ...], mask: NDArray[np.bool_] | None) -> dict[str, float]:
    """Every voxel folds. What no field of this shape has a value of has none here."""
    judged = np.ones(shape, np.bool_) if mask is None else mask
    digital = min(shape) >= SMALLEST_DIGITAL and judged[1:-1, 1:-1, 1:-1].any()
    return {
        "sdLogJ": _WORST_SPREAD,
        "sdLogJ_plus3": _WORST_SPREAD if judged[_CROP].any() else math.nan,
        "folds": float(np.count_nonzero(judged)),
        "folds_percent": 100.0,
        "digital_folds_percent": 100.0 if digital else math.nan,
        "NDV_percent": 100.0 if digital else math.nan,
    }


def _official_spread(determinant: NDArray[np.float64], mask: NDArray[np.bool_] | None) -> float:
    inner = determinant[_CROP] if mask is None else determinant[_CROP][mask[_CROP]]
    if not inner.size:
        return math.nan
    logs = inner + _RAISE
    np.clip(logs, 1e-9, 1e9, out=logs)
    return float(np.log(logs, out=logs).std())
