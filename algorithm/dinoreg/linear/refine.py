"""From a map to the best one nearby: quasi-Newton steps on the information that two images share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dinoreg.linear.information import BothWays, Score
from dinoreg.linear.maps import PARAMETERS, About, Matrix, Model, derivative, moved

_HALVINGS = 5  # of a step that does not pay, before it is given up
_SUFFICIENT = 1e-4  # share of the promised gain that a step has to bring


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A map, and how well the images agree under it."""

    matrix: Matrix
    score: Score


def refine(
    pair: BothWays,
    start: Matrix,
    model: Model,
    about: About,
    *,
    first_step_mm: float,
    tolerance_mm: float,
    iterations: int,
    min_inside: float,
) -> Fit:
    """Climb from a map by BFGS with halved steps.

    Args:
        pair: the two images.
        start: (4, 4).
        model: what may change.
        about: what rotations go about.
        first_step_mm: length of the first step, and of the longest.
        tolerance_mm: steps below it end the climb.
        iterations: at most.
        min_inside: share of the samples of either image that have to lie inside the other.
    """
    count = PARAMETERS[model]
    at = np.zeros(count)
    score, slope = _along(pair, start, at, about)
    inverse_hessian = np.eye(count)
    scaled = False
    for _ in range(iterations):
        step = inverse_hessian @ slope
        length = float(np.linalg.norm(step))
        if length == 0 or step @ slope <= 0:
            break
        if not scaled or length > first_step_mm:
            step *= first_step_mm / length
        for _ in range(_HALVINGS):
            new_score, new_slope = _along(pair, start, at + step, about)
            enough = score.value + _SUFFICIENT * float(step @ slope)
            if new_score.inside >= min_inside and new_score.value >= enough:
                break
            step = 0.4 * step
        else:
            break
        change = slope - new_slope  # of the loss, which is minus the score
        curvature = float(step @ change)
        if curvature > 0:
            if not scaled:
                inverse_hessian = np.eye(count) * curvature / float(change @ change)
                scaled = True
            inverse_hessian = _updated(inverse_hessian, step, change, curvature)
        at, score, slope = at + step, new_score, new_slope
        if np.linalg.norm(step) < tolerance_mm:
            break
    return Fit(moved(start, at, about), score)


def _updated(
    inverse: NDArray[np.float64], step: NDArray[np.float64], change: NDArray[np.float64], curvature: float
) -> NDArray[np.float64]:
    """The BFGS update of an inverse Hessian (Nocedal and Wright 2006, eq. 6.17)."""
    left = np.eye(len(step)) - np.outer(step, change) / curvature
    return np.asarray(left @ inverse @ left.T + np.outer(step, step) / curvature)


def _along(
    pair: BothWays, start: Matrix, parameters: NDArray[np.float64], about: About
) -> tuple[Score, NDArray[np.float64]]:
    score, gradient = pair.score_gradient(moved(start, parameters, about))
    return score, np.tensordot(derivative(start, parameters, about), gradient, axes=2)
