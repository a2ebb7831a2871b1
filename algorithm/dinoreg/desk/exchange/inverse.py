"""The inverse of a transform, and how far it misses.

x <- x - a A^-1 (T(x) - y), where A is the affine that is nearest to T: the fixed point of Chen et al. 2008
(Med Phys 35:81) for T = A + r, damped where a step does not help. It starts at A^-1 y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from dinoreg.desk.exchange.lattice import between, displacement_on, field_transform, points_of
from dinoreg.desk.exchange.parts import affine_transform, is_linear, joined, matrix_of
from dinoreg.linear.maps import inverse
from dinoreg.space.sampling import sample_linear
from regtask.grid import Grid
from regtask.physical import from_voxels, to_voxels

_ITERATIONS, _CLOSE_ENOUGH_MM = 80, 1e-3
_SLAB_POINTS, _FITTED_POINTS = 1 << 20, 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """The way from moving to fixed.

    Attributes:
        transform: exact for linear transforms, else a displacement field on the grid that was asked for.
        largest_mm: how far the place in moving that fares worst ends from where it was, to fixed and back:
            among the voxels of moving, and the centres between them, that lead into fixed.
        most_mm: the 99th percentile of that.
        worst_lps: the place that fares worst, LPS mm.
        compared: number of places; where it is 0 the residuals are too and say nothing.
    """

    transform: sitk.Transform
    largest_mm: float
    most_mm: float
    worst_lps: tuple[float, float, float]
    compared: int


def invert(
    transform: sitk.Transform, fixed: Grid, moving: Grid, *, matters: NDArray[np.bool_] | None = None
) -> Inversion:
    """Invert a transform.

    Args:
        transform: from fixed to moving.
        fixed: grid on which it is known; beyond it the inverse goes on smoothly but means nothing.
        moving: grid of the inverse.
        matters: (I, J, K) of fixed, the voxels that count for the residuals; by default all.

    Raises:
        DataError: it is linear and has no inverse.
    """
    if is_linear(transform):
        back: sitk.Transform = affine_transform(inverse(matrix_of(transform)))
    else:
        back = field_transform(_solved(displacement_on(transform, fixed), fixed, moving), moving)
    checked = [_missed(transform, back, fixed, places, matters) for places in (moving, between(moving))]
    missed = np.concatenate([lengths for lengths, _ in checked])
    at = np.concatenate([points for _, points in checked])
    if not len(missed):
        return Inversion(back, 0.0, 0.0, (0.0, 0.0, 0.0), 0)
    x, y, z = at[missed.argmax()].tolist()
    return Inversion(back, float(missed.max()), float(np.quantile(missed, 0.99)), (x, y, z), len(missed))


def _missed(
    transform: sitk.Transform,
    back: sitk.Transform,
    fixed: Grid,
    places: Grid,
    matters: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """How far places that lead into fixed end from where they were, (N,) mm; and the places, (N, 3) LPS."""
    at = points_of(places)
    index = to_voxels(at + displacement_on(back, places).reshape(-1, 3), fixed, "lps")
    inside = (index >= 0) & (index <= np.array(fixed.shape) - 1)
    counts = np.asarray(inside.all(axis=1), np.bool_)
    if matters is not None:
        counts[counts] = matters[tuple(np.rint(index[counts]).astype(int).T)]
    apart = displacement_on(joined([back, transform]), places).reshape(-1, 3)[counts]
    return np.linalg.norm(apart, axis=1), at[counts]


def _solved(vectors: NDArray[np.float32], fixed: Grid, moving: Grid) -> NDArray[np.float32]:
    """Return the inverse displacement at the voxels of moving, (I', J', K', 3) LPS mm."""
    matrix, offset = _nearest_affine(vectors, fixed)
    rest = vectors - (points_of(fixed) @ (matrix - np.eye(3)).T + offset).reshape(vectors.shape)
    # Next to the border a vector of the inverse that is interpolated may belong to a place just beyond it.
    around = [_reach(size, mm, moving) for size, mm in zip(fixed.shape, fixed.spacing_mm, strict=True)]
    rest = np.pad(rest, [*[(n, n) for n in around], (0, 0)], mode="reflect", reflect_type="odd")
    remainder = torch.from_numpy(np.moveaxis(rest, -1, 0).astype(np.float32))
    wide = _widened(fixed, around)
    found = np.empty((int(np.prod(moving.shape)), 3), np.float32)
    points = points_of(moving)
    for start in range(0, len(points), _SLAB_POINTS):
        slab = slice(start, start + _SLAB_POINTS)
        found[slab] = _iterated(points[slab], remainder, wide, matrix, offset) - points[slab]
    return found.reshape(*moving.shape, 3)


def _reach(size: int, mm: float, moving: Grid) -> int:
    """Voxels beyond a border that some cell of moving may reach; along an axis of one voxel none."""
    return min(size - 1, int(np.ceil(2 * np.linalg.norm(moving.spacing_mm) / mm)))


def _widened(grid: Grid, around: list[int]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] = grid.index_to_ras([[-n for n in around]])[0]
    return Grid(tuple(size + 2 * n for size, n in zip(grid.shape, around, strict=True)), affine)


def _iterated(
    wanted: NDArray[np.float64],
    remainder: torch.Tensor,
    grid: Grid,
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> NDArray[np.float64]:
    back = np.linalg.inv(matrix).T

    def missed(at: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        index = torch.from_numpy(np.ascontiguousarray(to_voxels(at, grid, "lps").T)).float()
        return at @ matrix.T + offset + sample_linear(remainder, index).T.double().numpy() - goal

    found = (wanted - offset) @ back
    error = missed(found, wanted)
    pace = np.ones(len(wanted))
    for _ in range(_ITERATIONS):
        open_ = np.flatnonzero(np.linalg.norm(error, axis=1) > _CLOSE_ENOUGH_MM)
        if not len(open_):
            break
        tried = found[open_] - pace[open_, None] * (error[open_] @ back)
        new = missed(tried, wanted[open_])
        better = np.linalg.norm(new, axis=1) < np.linalg.norm(error[open_], axis=1)
        kept = open_[better]
        found[kept], error[kept] = tried[better], new[better]
        # Where the field grows by more than its own length a full step overshoots.
        pace[open_] = np.where(better, np.minimum(1.0, 1.3 * pace[open_]), 0.5 * pace[open_])
    return found


def _nearest_affine(
    vectors: NDArray[np.float32], grid: Grid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return matrix and offset of the affine that is nearest to a displacement, by least squares."""
    count = int(np.prod(grid.shape))
    chosen = np.unique(np.linspace(0, count - 1, min(count, _FITTED_POINTS)).astype(np.int64))
    index = np.stack(np.unravel_index(chosen, grid.shape), axis=-1)
    at = from_voxels(index, grid, "lps")
    goals = at + vectors.reshape(-1, 3)[chosen]
    centre = at.mean(axis=0)
    # The change, not the matrix: an axis of one voxel says nothing, and then nothing changes along it.
    change, *_ = np.linalg.lstsq(at - centre, goals - at - (goals - at).mean(axis=0), rcond=1e-9)
    matrix = np.eye(3) + change.T
    if abs(np.linalg.det(matrix)) < 1e-3:  # hopeless as a guide
        matrix = np.eye(3)
    return matrix, goals.mean(axis=0) - matrix @ centre
