"""Linear maps between two scanner spaces, and the parameters that a search moves them by.

Convention: a map is a (4, 4) matrix from mm of fixed to mm of moving. Parameters are millimetres too: a
rotation or a stretch counts by how far it moves a point at a radius from a centre, so that a step is worth
the same along every parameter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regtask.errors import DataError, Fault

Model = Literal["rigid", "affine"]
Matrix = NDArray[np.float64]
PARAMETERS: dict[Model, int] = {"rigid": 6, "affine": 12}
_STEP_MM = 1e-4  # of a difference quotient
_SQUEEZED = 0.01
_FLAT = 1e-9  # of the largest stretch of a map; a matrix read as differences of points is flat up to rounding


@dataclass(frozen=True, slots=True, eq=False)
class About:
    """What rotations and stretches go about.

    Attributes:
        centre_mm: (3,), in fixed.
        radius_mm: distance from it at which a parameter of 1 mm moves a point by 1 mm.
    """

    centre_mm: NDArray[np.float64]
    radius_mm: float


def inverse(matrix: Matrix) -> Matrix:
    """Return the map from moving back to fixed.

    Raises:
        DataError: there is none: the map squeezes space flat, or is not finite.
    """
    linear = matrix[:3, :3]
    # By shares, not by the determinant: that of a grid in micrometres is tiny.
    stretches = np.linalg.svd(linear, compute_uv=False) if np.isfinite(matrix).all() else np.zeros(3)
    if not stretches[-1] > _FLAT * stretches[0]:
        rows = "; ".join(" ".join(f"{value:.4g}" for value in row) for row in linear)
        remedy = "give one that can be undone"
        raise DataError(Fault("linear map without an inverse", "matrix", "no flattened axis", rows, remedy))
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def rotation(vector: Sequence[float] | NDArray[np.float64]) -> Matrix:
    """Return the (3, 3) rotation about a vector by its length in radians (Rodrigues)."""
    x, y, z = (float(v) for v in vector)
    angle = math.sqrt(x * x + y * y + z * z)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-9:
        return np.asarray(np.eye(3) + cross, dtype=np.float64)
    turn = math.sin(angle) / angle * cross + (1 - math.cos(angle)) / angle**2 * (cross @ cross)
    return np.asarray(np.eye(3) + turn, dtype=np.float64)


def squeezes_flat(matrix: Matrix) -> bool:
    """Tell whether a map leaves less than a hundredth of all lengths along some direction."""
    return bool(np.linalg.svd(matrix[:3, :3], compute_uv=False)[-1] < _SQUEEZED)


def mirrors(matrix: Matrix) -> bool:
    """Tell whether a map turns right into left."""
    return bool(np.linalg.det(matrix[:3, :3]) < 0)


def angle_degrees(matrix: Matrix) -> float:
    """Return the angle of the rotation that is nearest to the linear part of a map."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    cosine = (float(np.trace(left @ right)) - 1) / 2
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def map_points(matrix: Matrix, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return where points lead, (N, 3) mm."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def nearest_map(points: NDArray[np.floating], leads_to: NDArray[np.floating]) -> Matrix:
    """Return the map that leads points to others with the least squared error.

    Args:
        points: (N, 3) mm; where they lie in a plane, nothing changes across it.
        leads_to: (N, 3) mm.
    """
    centre = points.mean(axis=0)
    known = np.hstack([points - centre, np.ones((len(points), 1))])
    found, *_ = np.linalg.lstsq(known, leads_to - points, rcond=_FLAT)
    return about_centre(np.eye(3) + found[:3].T, centre, centre + found[3])


def about_centre(linear: Matrix, centre_mm: NDArray[np.float64], leads_to_mm: NDArray[np.float64]) -> Matrix:
    """Return the map with a (3, 3) linear part that brings a centre to a place."""
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = leads_to_mm - linear @ centre_mm
    return matrix


def moved(start: Matrix, parameters: NDArray[np.float64], about: About) -> Matrix:
    """Return the map that goes by parameters first and then by the start.

    Args:
        start: (4, 4).
        parameters: three of a translation and three of a rotation; six more of a symmetric stretch.
        about: what the latter go about.
    """
    linear = rotation(parameters[3:6] / about.radius_mm)
    if len(parameters) == 12:
        a, b, c, d, e, f = parameters[6:] / about.radius_mm
        linear = linear @ (np.eye(3) + np.array([[a, d, e], [d, b, f], [e, f, c]]))
    return start @ about_centre(linear, about.centre_mm, about.centre_mm + parameters[:3])


def derivative(start: Matrix, parameters: NDArray[np.float64], about: About) -> NDArray[np.float64]:
    """Return the derivative of the matrix of `moved` by each parameter, (parameters, 4, 4)."""
    slopes = []
    for n in range(len(parameters)):
        step = np.zeros(len(parameters))
        step[n] = _STEP_MM
        ahead, behind = (moved(start, parameters + s, about) for s in (step, -step))
        slopes.append((ahead - behind) / (2 * _STEP_MM))
    return np.stack(slopes)
