"""Cubic B-spline free-form deformation (Rueckert et al. 1999): a lattice of control points moves the image.

Convention: along an axis the domain is the full extent of the image, [-0.5, n - 0.5] voxels, cut into
`mesh` equal spans; `mesh` + 3 control points lie at the ends of the spans, one of them before the domain and
one behind it. It is that of ITK's BSplineTransform.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinoreg.optimise.parameterise import Parameterisation
from dinoreg.space.lattice import Lattice
from dinoreg.space.separable import apply_along_axes

ORDER = 3
_SAMPLES_PER_SPAN = 4  # of the least-squares fit; a cubic piece is determined by as many


class BSpline(Parameterisation):
    """u(x) = base(x) + sum of control points weighted by tensor products of cubic B-splines.

    Attributes:
        control: (rank, *(mesh + 3)), cells of the lattice; an axis of size 1 has a single control point.
    """

    def __init__(self, control: Tensor, lattice: Lattice, *, base: Tensor | None = None) -> None:
        """Begin at given control points.

        Args:
            control: copied.
            lattice: where the displacement is wanted.
            base: (rank, *lattice.shape) cells, a displacement that stays as it is.
        """
        super().__init__()
        self.control = nn.Parameter(control.clone())
        self._base = base
        sizes = zip(lattice.image_shape, lattice.stride, mesh_of(control), strict=True)
        self._matrices = [basis_matrix(n, mesh, stride=s).to(control) for n, s, mesh in sizes]

    def displacement(self) -> Float[Tensor, "rank *s"]:
        """Return (rank, *S), cells."""
        found = apply_along_axes(self.control, self._matrices)
        return found if self._base is None else found + self._base


def choose_mesh(lattice: Lattice, control_mm: float) -> tuple[int, ...]:
    """Return the number of spans per axis that come closest to `control_mm`; 0 along an axis of size 1."""
    voxel_mm = [c / s for c, s in zip(lattice.spacing_mm, lattice.stride, strict=True)]
    return tuple(
        0 if n == 1 else max(1, round(n * v / control_mm))
        for n, v in zip(lattice.image_shape, voxel_mm, strict=True)
    )


def zero_control(mesh: Sequence[int], *, device: torch.device | str = "cpu") -> Float[Tensor, "rank *m"]:
    """Return control points of the identity for a mesh, (rank, *(mesh + 3)); one where the mesh is 0."""
    return torch.zeros(len(mesh), *(m + ORDER if m else 1 for m in mesh), device=device)


def mesh_of(control: Tensor) -> tuple[int, ...]:
    """Return the number of spans per axis; 0 along an axis with a single control point.

    Raises:
        ValueError: 2 or 3 control points along an axis, which make no span.
    """
    sizes = tuple(control.shape[1:])
    if any(1 < size <= ORDER for size in sizes):
        raise ValueError(f"control points: 1 or at least {ORDER + 1} along each axis, got {sizes}")
    return tuple(size - ORDER if size > 1 else 0 for size in sizes)


def basis_matrix(image_size: int, mesh: int, *, stride: int = 1) -> Float[Tensor, "n m"]:
    """Return the weight of every control point at every cell centre of a lattice, float64.

    Args:
        image_size: voxels along the axis; cell c of the lattice lies at (c + 0.5) * stride - 0.5 voxels.
        mesh: number of spans; 0 for a single control point that holds everywhere.
        stride: voxels per cell. A centre beyond the image counts as on its edge.

    Returns:
        (cells, mesh + 3), rows sum to 1.
    """
    cells = -(-image_size // stride)
    if mesh == 0:
        return torch.ones(cells, 1, dtype=torch.float64)
    centres = (torch.arange(cells, dtype=torch.float64) + 0.5) * stride
    return _weights((centres / image_size).clamp(max=1) * mesh, mesh)


def refine_control(control: Float[Tensor, "rank *m"], mesh: Sequence[int]) -> Float[Tensor, "rank *n"]:
    """Bring control points to another mesh over the same domain.

    Where every number of spans is a multiple of the old one the function stays exactly the same (knot
    insertion: the old splines are sums of the new ones); else it is the least-squares fit.

    Args:
        control: (rank, *(old mesh + 3)).
        mesh: new number of spans per axis.

    Returns:
        (rank, *(mesh + 3)) in the same units.
    """
    matrices = []
    for old, new in zip(mesh_of(control), mesh, strict=True):
        if (old == 0) != (new == 0):
            raise ValueError(f"mesh {tuple(mesh)} for control points of mesh {mesh_of(control)}")
        matrices.append(_refinement(old, new).to(control))
    return apply_along_axes(control, matrices)


def _refinement(old: int, new: int) -> Tensor:
    """(new + 3, old + 3), float64."""
    if old == new:
        return torch.eye(old + ORDER if old else 1, dtype=torch.float64)
    share = torch.linspace(0, 1, _SAMPLES_PER_SPAN * max(old, new) + 1, dtype=torch.float64)
    coarse, fine = _weights(share * old, old), _weights(share * new, new)
    solution: Tensor = torch.linalg.lstsq(fine, coarse, driver="gelsd").solution
    return solution


def _weights(position: Tensor, mesh: int) -> Tensor:
    """Uniform cubic B-splines at positions in spans, [0, mesh]: (N, mesh + 3)."""
    span = position.floor().clamp(max=mesh - 1)
    t = position - span
    pieces = torch.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], dim=1
    )
    columns = span.long().unsqueeze(1) + torch.arange(ORDER + 1)
    matrix = torch.zeros(len(position), mesh + ORDER, dtype=position.dtype)
    return matrix.scatter_(1, columns, pieces / 6)
