"""Rigid and affine registration at the desk: on the scans' own grids, before they are brought onto one.

Convention: a map is a (4, 4) matrix from RAS mm of fixed to RAS mm of moving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from dinoreg.desk.images import from_itk, to_itk
from dinoreg.errors import ConfigError
from dinoreg.guard.linear_verdict import judge_map
from dinoreg.guard.verdict import Verdict
from dinoreg.linear.align import Alignment, align
from dinoreg.linear.levels import Placed
from dinoreg.linear.maps import inverse
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.preprocess.prepare import prepare_scan
from dinoreg.settings.config import Config, Linear, Preprocess
from dinoreg.stage import OnStage, StageClock, StageReport
from regtask.errors import DataError, Fault
from regtask.grid import Grid

Matrix = NDArray[np.float64]
_TURN = np.diag((-1.0, -1.0, 1.0, 1.0))  # RAS to LPS and back
# What is kept of moving beside fixed when it is read through a transform that is not linear.
_MARGIN_MM = 50.0


def with_head(config: Config) -> Config:
    """Have a deformable registration look for a rotation, where its configuration does not say otherwise."""
    if config.linear is not None or config.published or not deforms(config):
        return config
    return config.model_copy(update={"linear": Linear(when="evidence")})


def deforms(config: Config) -> bool:
    """Tell whether any stage of a configuration finds a displacement."""
    return bool(config.start or config.discrete or config.adam or config.ffd)


def align_scans(
    fixed: Scan, moving: Scan, config: Config, starts: Sequence[Matrix], on_stage: OnStage
) -> tuple[Matrix, StageReport]:
    """Find the linear map that a configuration asks for, each scan on its own grid.

    Raises:
        ConfigError: the configuration asks for none.
        DataError: a scan is a plane.
    """
    settings = config.linear
    if settings is None:
        raise ConfigError(Fault("no linear registration in this configuration", config.name))

    def found() -> Alignment:
        placed = [Placed(prepare_scan(scan, config.preprocess), scan.grid.affine) for scan in (fixed, moving)]
        return align(placed[0], placed[1], settings, starts=starts)

    clock = StageClock(torch.device("cpu"), on_stage)
    matrix = clock.timed("linear", found).matrix
    return matrix, clock.reports[0]


def verdict_of(pair: ImagePair, settings: Preprocess) -> Verdict:
    """Grade the map that has brought moving to where it lies on the voxels of fixed."""
    fixed, moving = (prepare_scan(scan, settings) for scan in (pair.fixed, pair.moving))
    return judge_map(fixed, moving, pair.fixed.grid.spacing_mm)


def moved_by(scan: Scan, matrix: Matrix) -> Scan:
    """Return a scan of moving as if it lay where a map finds it in fixed: another header, the same voxels."""
    return replace(scan, grid=carried(scan.grid, inverse(matrix)))


def carried(grid: Grid, matrix: Matrix) -> Grid:
    """Return a grid whose points a map has carried along."""
    affine = matrix @ grid.affine
    affine[3] = (0, 0, 0, 1)
    return Grid(grid.shape, affine)


def matrix_of(transform: sitk.Transform) -> Matrix | None:
    """Return a linear ITK transform as a map; None for any other.

    Raises:
        DataError: it is not one of space.
    """
    if transform.GetDimension() != 3:
        got = f"{transform.GetDimension()}"
        raise DataError(Fault("not a transform of space", transform.GetName(), "3 dimensions", got))
    if not transform.IsLinear():
        return None
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    # Half a metre away: what rounding does to the differences does not show.
    ends = [np.array(transform.TransformPoint(tuple(500.0 * axis))) for axis in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = (np.stack(ends, axis=1) - origin[:, None]) / 500.0
    matrix[:3, 3] = origin
    return np.asarray(_TURN @ matrix @ _TURN)


def affine_transform(matrix: Matrix) -> sitk.AffineTransform:
    """Return a map as an ITK transform, with all its digits."""
    lps = _TURN @ matrix @ _TURN
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].flatten().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def read_through(scan: Scan, transform: sitk.Transform, fixed: Grid) -> Scan:
    """Read a scan of moving through a transform, on the voxels of fixed and a margin of 50 mm.

    Raises:
        DataError: the transform leads beside the scan everywhere.
    """
    margin = tuple(
        0 if n == 1 else round(_MARGIN_MM / mm) for n, mm in zip(fixed.shape, fixed.spacing_mm, strict=True)
    )
    affine = fixed.affine.copy()
    affine[:3, 3] = fixed.index_to_ras([[-m for m in margin]])[0]
    grid = Grid(tuple(n + 2 * m for n, m in zip(fixed.shape, margin, strict=True)), affine)

    def moved(values: NDArray[np.generic], interpolator: int, outside: float) -> NDArray[np.float32]:
        reference = to_itk(np.zeros(grid.shape, np.uint8), grid)
        image = to_itk(np.asarray(values, dtype=np.float32), scan.grid)
        return from_itk(sitk.Resample(image, reference, transform, interpolator, outside), scan.name).data

    inside = moved(np.ones(scan.values.shape), sitk.sitkNearestNeighbor, 0.0) > 0
    if not inside.any():
        raise DataError(Fault("the initial transform leads beside the moving image", scan.name))
    values = moved(scan.values, sitk.sitkLinear, float(scan.values.min()))
    mask = None if scan.mask is None else moved(scan.mask, sitk.sitkNearestNeighbor, 0.0) > 0
    lacking = None if scan.invalid is None else moved(scan.invalid, sitk.sitkLinear, 0.0) > 0
    beside = moved(np.zeros(scan.values.shape), sitk.sitkLinear, 1.0) > 0
    return replace(scan, values=values, grid=grid, mask=mask, invalid=lacking, beside=beside)
