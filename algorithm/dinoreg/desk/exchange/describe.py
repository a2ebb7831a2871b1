"""What a transform does, in figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dinoreg.desk.exchange.derivative import derivatives, figures
from dinoreg.desk.exchange.lattice import displacement_on
from dinoreg.desk.exchange.parts import defined_on, first_lattice, is_linear, lattice_of, matrix_of, parts
from regtask.grid import Grid


def describe(transform: sitk.Transform, fixed: Grid | None = None) -> dict[str, Any]:
    """Return the parts of a transform, and how far and how evenly it moves an image.

    Args:
        transform: from fixed to moving.
        fixed: grid that is looked at; by default the lattice of the field that points enter first.
    """
    facts: dict[str, Any] = {
        "direction": "points of fixed to points of moving, LPS mm",
        "parts": [_part(part) for part in parts(transform)],
    }
    if is_linear(transform):
        facts["linear"] = _linear(matrix_of(transform))
    grid = fixed or first_lattice(transform)
    if grid is None:
        return facts
    lengths = np.linalg.norm(displacement_on(transform, grid), axis=-1)
    median, most = np.quantile(lengths, (0.5, 0.99))
    facts["displacement_mm"] = {
        "median": round(float(median), 3),
        "99 %": round(float(most), 3),
        "largest": round(float(lengths.max()), 3),
    }
    facts["jacobian_determinant"] = figures(derivatives(transform, grid).determinant)
    facts["defined_percent"] = round(100.0 * float(defined_on(transform, grid).mean()), 2)
    return facts


def _part(part: sitk.Transform) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": part.GetName(), "parameters": part.GetNumberOfParameters()}
    if part.IsLinear():
        facts |= _linear(matrix_of(part))
    lattice = lattice_of(part)
    if lattice is not None:
        facts["lattice"] = list(lattice.shape)
        facts["spacing_mm"] = [round(value, 4) for value in lattice.spacing_mm]
        facts["first_voxel_lps"] = [round(float(v), 3) for v in lattice.affine[:3, 3] * (-1, -1, 1)]
    return facts


def _linear(matrix: NDArray[np.float64]) -> dict[str, Any]:
    """The polar decomposition: a rotation, and stretches along three axes."""
    left, stretches, right = np.linalg.svd(matrix[:3, :3])
    mirrored = bool(np.linalg.det(left @ right) < 0)
    degrees = 0.0 if mirrored else np.degrees(Rotation.from_matrix(left @ right).magnitude())
    return {
        "offset_mm": [round(float(value), 4) for value in matrix[:3, 3]],
        "rotation_degrees": round(float(degrees), 4),
        "stretches": [round(float(value), 5) for value in stretches],
        "mirrored": mirrored,
    }
