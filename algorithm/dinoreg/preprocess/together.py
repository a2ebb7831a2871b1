"""Two scans on grids of their own, brought onto one: what a registration voxel to voxel begins from.

Moving is read at the voxels of fixed. What moving shows beyond the field of view of fixed may belong inside
it once it is registered, so fixed gets a margin there, without a value, and the displacement is
cut back to the fixed grid afterwards.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.space.regrid import regrid, working_grid
from regtask.grid import Grid

T = TypeVar("T", bound=np.generic)
log = logging.getLogger(__name__)

# Anatomy further away is out of reach of every start.
_LARGEST_MARGIN_MM = 150.0
# Less than this beside fixed is not worth more voxels.
_LEAST_MARGIN_MM = 10.0
_ROUNDING = 1e-3  # of an interpolated weight


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """A pair on one grid, and the way back.

    Attributes:
        pair: fixed with a margin, and moving on the same voxels.
        fixed: grid of fixed as it was.
        read_on: grid with the voxels of fixed on which moving was read; `fixed` itself, or moved where the
            two scans hardly overlap in the scanner.
        margin: voxels before fixed along each axis of the pair.
    """

    pair: ImagePair
    fixed: Grid
    read_on: Grid
    margin: tuple[int, ...]

    def crop(self, displacement: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cut a displacement of the pair, (*S, 3), back to the voxels of fixed."""
        window = tuple(slice(m, m + n) for m, n in zip(self.margin, self.fixed.shape, strict=True))
        return displacement[window]

    def pad(self, values: NDArray[T]) -> NDArray[T]:
        """Bring vectors on the voxels of fixed, (*S, C), to those of the pair; those at the border hold."""
        sizes = zip(self.margin, self.fixed.shape, self.pair.fixed.values.shape, strict=True)
        around = [(before, wide - before - n) for before, n, wide in sizes]
        return np.pad(values, (*around, (0, 0)), mode="edge")


def bring_together(fixed: Scan, moving: Scan, *, placed: bool = False) -> Together:
    """Read moving, and its mask, on the voxels of fixed.

    Args:
        fixed: on any grid.
        moving: on any other.
        placed: whether moving lies where a registration put it, however little of the grids overlaps;
            otherwise scans that hardly overlap are brought centre on centre.
    """
    read_on = fixed.grid if placed else working_grid(fixed.grid, moving.grid)
    if read_on is not fixed.grid:
        log.warning("fixed and moving hardly overlap in the scanner: brought centre on centre")
    before, after = _margins(read_on, moving.grid)
    wide = _widened(read_on, before, after)
    both = list(zip(before, after, strict=True))
    mask = None if fixed.mask is None else np.pad(fixed.mask, both)
    padded = np.pad(fixed.values, both, constant_values=fixed.values.min())
    moving_mask = None
    if moving.mask is not None:
        stored = moving.mask.astype(np.float32)
        moving_mask = regrid(stored, moving.grid, wide, order=0, outside=0.0) > 0
    lacking = None
    if moving.invalid is not None:  # what is interpolated with a voxel without a value has none
        share = regrid(moving.invalid.astype(np.float32), moving.grid, wide, order=1, outside=0.0)
        lacking = share > _ROUNDING
    without = None if fixed.invalid is None else np.pad(fixed.invalid, both)
    # A single slice is as thick as it is: nothing is interpolated across it.
    order: Literal[0, 1] = 0 if 1 in (*moving.grid.shape, *wide.shape) else 1
    known = np.ones(moving.grid.shape, bool) if moving.beside is None else ~moving.beside
    there = regrid(known.astype(np.float32), moving.grid, wide, order=order, outside=0.0)
    moved = regrid(moving.values, moving.grid, wide, order=1, outside=float(moving.values.min()))
    pair = ImagePair(
        replace(
            fixed,
            values=padded,
            grid=_widened(fixed.grid, before, after),
            mask=mask,
            invalid=without,
            beside=_where_any(np.pad(np.zeros(fixed.grid.shape, bool), both, constant_values=True)),
        ),
        replace(
            moving,
            values=moved,
            grid=wide,
            mask=moving_mask,
            invalid=lacking,
            beside=_where_any(there < 1 - _ROUNDING),
        ),
    )
    return Together(pair, fixed.grid, read_on, before)


def _where_any(beside: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """None too where there is no value at all: then it is the contrast that is missed."""
    return beside if beside.any() and not beside.all() else None


def _margins(grid: Grid, moving: Grid) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many voxels moving reaches beyond a grid, before and after, along each of its axes."""
    corners = list(itertools.product(*[(-0.5, n - 0.5) for n in moving.shape]))
    reached = grid.ras_to_index(moving.index_to_ras(corners))
    low, high = reached.min(axis=0), reached.max(axis=0)
    before: list[int] = []
    after: list[int] = []
    for axis, (n, mm) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)):
        most = int(_LARGEST_MARGIN_MM / mm)
        for margin, beyond in ((before, -0.5 - low[axis]), (after, high[axis] - (n - 0.5))):
            enough = n > 1 and beyond * mm >= _LEAST_MARGIN_MM
            margin.append(min(most, int(np.ceil(beyond))) if enough else 0)
    return tuple(before), tuple(after)


def _widened(grid: Grid, before: tuple[int, ...], after: tuple[int, ...]) -> Grid:
    shape = tuple(b + n + a for b, n, a in zip(before, grid.shape, after, strict=True))
    affine = grid.affine.copy()
    affine[:3, 3] = grid.index_to_ras([[-b for b in before]])[0]
    return Grid(shape, affine)
