"""What comes before a deformable registration at the desk: an initial transform, a linear registration.

The moving scan is then taken to lie where that puts it, by its header alone. What is found afterwards and
the linear map are put together at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from dinoreg.desk.linear import align_scans, carried, matrix_of, moved_by, read_through
from dinoreg.linear.maps import inverse
from dinoreg.linear.move import then_map
from dinoreg.pipeline.registration import Registration
from dinoreg.preprocess.pair import Scan
from dinoreg.preprocess.together import Together
from dinoreg.settings.config import Config
from dinoreg.space.regrid import working_grid
from dinoreg.stage import OnStage, StageReport
from regtask.grid import Grid

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What was done before.

    Attributes:
        moving: as it is to be registered.
        moving_grid: where it lay before it was moved.
        matrix: (4, 4) RAS mm, by which it was moved; None where it was not.
        before: transform that it was read through; None where it was not.
        config: of what is left to do.
        stages: what ran.
    """

    moving: Scan
    moving_grid: Grid
    matrix: Matrix | None
    before: sitk.Transform | None
    config: Config
    stages: tuple[StageReport, ...]


def find_head(
    fixed: Scan, moving: Scan, config: Config, initial: sitk.Transform | None, on_stage: OnStage
) -> Head:
    """Apply an initial transform, and run the linear registration that a configuration asks for.

    Args:
        fixed: on its own grid.
        moving: likewise.
        config: of the whole registration.
        initial: from points of fixed to points of moving, LPS mm.
        on_stage: told when the stage begins and ends.

    Raises:
        DataError: a plane, or a transform that leads nowhere.
    """
    matrix = None if initial is None else matrix_of(initial)
    before = initial if matrix is None else None
    if before is not None:
        moving = read_through(moving, before, fixed.grid)
    stages: tuple[StageReport, ...] = ()
    if config.linear is not None and config.linear.when == "always":
        starts = [] if matrix is None else [matrix]
        matrix, report = align_scans(fixed, moving, config, starts, on_stage)
        config, stages = config.model_copy(update={"linear": None}), (report,)
    moved = moving if matrix is None else moved_by(moving, matrix)
    return Head(moved, moving.grid, matrix, before, config, stages)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """The way from fixed to moving.

    Attributes:
        displacement: (I, J, K, 3) voxels of fixed, pull, all of it.
        read_on: grid in whose voxels the displaced positions are.
        linear: (4, 4) RAS mm of fixed to those of moving, the linear part of it.
    """

    displacement: NDArray[np.float32]
    read_on: Grid
    linear: Matrix | None


def put_together(together: Together, found: Registration, head: Matrix | None, moving: Grid) -> Way:
    """Join what was found on the common grid with the linear map that went before.

    Args:
        together: the common grid.
        found: there.
        head: (4, 4) RAS mm; None where there is none.
        moving: grid of the moving scan, not yet carried along.
    """
    displacement = np.ascontiguousarray(together.crop(found.displacement))
    linear = head
    if found.linear is not None:  # in voxels of the common grid, whose moving side lies at:
        to_mm = together.pair.moving.grid.affine
        turn = to_mm @ found.linear @ inverse(to_mm)
        linear = turn if head is None else head @ turn
    if head is None:
        return Way(displacement, together.read_on, linear)
    # The displaced positions are voxels of a grid that the map carried along: count as without it.
    read_on = working_grid(together.fixed, moving)
    to_read = np.asarray(np.linalg.solve(read_on.affine, carried(together.read_on, head).affine))
    vectors = then_map(torch.from_numpy(np.moveaxis(displacement, -1, 0).copy()), to_read)
    return Way(np.ascontiguousarray(vectors.movedim(0, -1).numpy()), read_on, linear)
