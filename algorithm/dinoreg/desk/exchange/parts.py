"""What a transform is made of: its parts, the lattices of its fields, its linear matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.lattice import displacement_on, points_of
from dinoreg.desk.images import grid_of
from regtask.grid import Grid
from regtask.physical import to_voxels

# Of the order of a scanner: the further apart the points, the better the matrix.
_APART_MM = 1000.0


def parts(transform: sitk.Transform) -> list[sitk.Transform]:
    """Return the parts of a transform in the order in which a point goes through them; composites opened."""
    if transform.GetName() != "CompositeTransform":
        return [transform.Downcast()]
    composite = sitk.CompositeTransform(transform)
    # ITK applies what was added last first.
    last = composite.GetNumberOfTransforms() - 1
    return [part for n in range(last, -1, -1) for part in parts(composite.GetNthTransform(n))]


def joined(transforms: Sequence[sitk.Transform]) -> sitk.CompositeTransform:
    """Return the transform that leads a point through several in turn; nothing is resampled.

    Args:
        transforms: the first one is applied first, to points of fixed.
    """
    composite = sitk.CompositeTransform(3)
    for part in reversed([part for transform in transforms for part in parts(transform)]):
        composite.AddTransform(part)
    return composite


def identity() -> sitk.Transform:
    """Return the transform that moves nothing."""
    return sitk.Transform(3, sitk.sitkIdentity)


def is_linear(transform: sitk.Transform) -> bool:
    """Tell whether every part is a matrix and an offset."""
    return all(part.IsLinear() for part in parts(transform))


def matrix_of(transform: sitk.Transform) -> NDArray[np.float64]:
    """Return the matrix of a linear transform, (4, 4), LPS mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis, point in enumerate(_APART_MM * np.eye(3)):
        matrix[:3, axis] = (np.array(transform.TransformPoint(point.tolist())) - matrix[:3, 3]) / _APART_MM
    return matrix


def affine_transform(matrix: NDArray[np.float64]) -> sitk.AffineTransform:
    """Return a matrix, (4, 4) LPS mm, as a transform."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def lattice_of(part: sitk.Transform) -> Grid | None:
    """Return the lattice beyond which a part moves nothing; None for what holds everywhere."""
    if part.GetName() == "DisplacementFieldTransform":
        field = sitk.DisplacementFieldTransform(part).GetDisplacementField()
        return grid_of(field.GetSize(), field.GetOrigin(), field.GetSpacing(), field.GetDirection())
    if part.GetName() == "BSplineTransform":
        spline = sitk.BSplineTransform(part)
        cells = np.array(spline.GetTransformDomainMeshSize())
        cell_mm = np.array(spline.GetTransformDomainPhysicalDimensions()) / cells
        direction = np.array(spline.GetTransformDomainDirection())
        # The domain begins at the corner of the first cell, a lattice at its centre.
        centre = direction.reshape(3, 3) @ (0.5 * cell_mm)
        origin = np.array(spline.GetTransformDomainOrigin()) + centre
        return grid_of(cells.tolist(), origin.tolist(), cell_mm.tolist(), direction.tolist())
    return None


def only_field(transform: sitk.Transform) -> Grid | None:
    """Return the lattice of a transform that is one displacement field and nothing else."""
    found = parts(transform)
    single = len(found) == 1 and found[0].GetName() == "DisplacementFieldTransform"
    return lattice_of(found[0]) if single else None


def first_lattice(transform: sitk.Transform) -> Grid | None:
    """Return the lattice of a field that points of fixed enter first; None where that says nothing."""
    return lattice_of(parts(transform)[0])


def defined_on(transform: sitk.Transform, grid: Grid) -> NDArray[np.bool_]:
    """Tell at which voxels of a grid every field of a transform holds, (I, J, K)."""
    holds = np.ones(grid.shape, np.bool_)
    gone: list[sitk.Transform] = []
    for part in parts(transform):
        lattice = lattice_of(part)
        if lattice is not None:
            at = points_of(grid)
            if gone:
                at = at + displacement_on(joined(gone), grid).reshape(-1, 3)
            index = to_voxels(at, lattice, "lps")
            inside = ((index >= -0.5) & (index <= np.array(lattice.shape) - 0.5)).all(axis=1)
            holds &= inside.reshape(grid.shape)
        gone.append(part)
    return holds
