"""How a transform deforms: its Jacobian determinant and its strain, at the voxels of a grid.

Convention: derivatives along LPS mm, by central differences over one voxel (one-sided at the border), so that
they mean the same on oblique and anisotropic grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.lattice import displacement_on
from regtask.grid import Grid

_LPS_FROM_RAS = np.diag((-1.0, -1.0, 1.0))
_SLAB_VOXELS = 1 << 18
# Order of the six components of a strain in a file.
COMPONENTS = ("xx", "xy", "xz", "yy", "yz", "zz")
_ROWS, _COLUMNS = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Derivatives:
    """Of a transform T with gradient F = dT/dx.

    Attributes:
        determinant: (I, J, K), det F: local volume of moving per volume of fixed; 0 or less where it folds.
        strain: (I, J, K, 6), Green-Lagrange, E = (F^T F - 1) / 2, in the order of `COMPONENTS`, LPS axes.
        principal: (I, J, K, 3), the eigenvalues of E, largest first.
    """

    determinant: NDArray[np.float32]
    strain: NDArray[np.float32] | None
    principal: NDArray[np.float32] | None


def derivatives(
    transform: sitk.Transform, grid: Grid, *, strain: bool = False, principal: bool = False
) -> Derivatives:
    """Differentiate a transform at the voxels of a grid.

    Args:
        transform: from fixed to moving.
        grid: of fixed; an axis of one voxel counts as undeformed.
        strain: whether the six components are wanted.
        principal: whether the principal strains are.
    """
    displacement = displacement_on(transform, grid)
    shape = grid.shape
    determinant = np.empty(shape, np.float32)
    six = np.empty((*shape, 6), np.float32) if strain else None
    three = np.empty((*shape, 3), np.float32) if principal else None
    to_index = np.asarray(np.linalg.inv(_LPS_FROM_RAS @ grid.affine[:3, :3]), np.float64)
    rows = max(1, _SLAB_VOXELS // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], rows):
        stop = min(start + rows, shape[0])
        low, high = max(0, start - 1), min(shape[0], stop + 1)
        gradient = _gradient(displacement[low:high], to_index)[start - low : stop - low]
        determinant[start:stop] = np.linalg.det(gradient)
        if six is None and three is None:
            continue
        green = 0.5 * (np.swapaxes(gradient, -1, -2) @ gradient - np.eye(3))
        if six is not None:
            six[start:stop] = green[..., _ROWS, _COLUMNS]
        if three is not None:
            three[start:stop] = np.linalg.eigvalsh(green)[..., ::-1]
    return Derivatives(determinant, six, three)


def figures(determinant: NDArray[np.float32]) -> dict[str, Any]:
    """Return what is worth knowing of a determinant."""
    low, median, high = np.quantile(determinant, (0.01, 0.5, 0.99))
    return {
        "least": round(float(determinant.min()), 4),
        "1 %": round(float(low), 4),
        "median": round(float(median), 4),
        "99 %": round(float(high), 4),
        "largest": round(float(determinant.max()), 4),
        "folded_percent": round(100.0 * float(np.mean(determinant <= 0)), 4),
    }


def _gradient(displacement: NDArray[np.float32], to_index: NDArray[np.float64]) -> NDArray[np.float64]:
    """F[..., a, b] = dT_a / dx_b of displacements (I, J, K, 3) in LPS mm."""
    along = [
        np.zeros(displacement.shape)
        if displacement.shape[axis] == 1
        else np.gradient(displacement.astype(np.float64), axis=axis)
        for axis in range(3)
    ]
    return np.eye(3) + np.stack(along, axis=-1) @ to_index
