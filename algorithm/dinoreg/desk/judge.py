"""Grade a transform of any program by the two scans that it is said to bring together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.lattice import displacement_on
from dinoreg.desk.exchange.parts import defined_on, joined, lattice_of, parts
from dinoreg.desk.exchange.read import Form, read_any_transform
from dinoreg.desk.linear import affine_transform, matrix_of, moved_by, verdict_of
from dinoreg.desk.scans import read_scan
from dinoreg.field_verdict import judge_field
from dinoreg.guard.linear_verdict import judge_linear
from dinoreg.guard.verdict import Evidence, LinearEvidence, Verdict
from dinoreg.guard.verdict import judge as judge_evidence
from dinoreg.linear.maps import Matrix, inverse, mirrors, nearest_map, squeezes_flat
from dinoreg.preprocess.pair import Scan
from dinoreg.preprocess.together import bring_together
from dinoreg.runtime import choose_device
from dinoreg.settings.load import load_preset
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.physical import from_voxels, lps_to_voxels

_TRIED, _SAMPLES = 20_000, 2_000  # voxels, and those that the linear part is fitted to
_SLAB = 16  # voxels along the first axis, looked at in one go
_LPS = np.array([-1.0, -1.0, 1.0])


def judge(
    fixed: Any,
    moving: Any,
    transform: Any,
    *,
    form: Form | None = None,
    fixed_mask: Any = None,
    moving_mask: Any = None,
    fixed_modality: str = "",
    moving_modality: str = "",
    fixed_series: str = "",
    moving_series: str = "",
    device: str = "auto",
) -> Verdict:
    """Grade a transform, linear or not.

    Args:
        fixed: a path, a nibabel or SimpleITK image, or (array, affine to RAS); see `read_any`.
        moving: likewise.
        transform: from points of fixed to points of moving: an ITK one (LPS mm), or the path of one of any
            program; see `read_any_transform`.
        form: of that file, where it does not tell.
        fixed_mask: what counts, on any grid; by default found in the image.
        moving_mask: likewise.
        fixed_modality: "CT" or "MR" where it is known; else the values decide.
        moving_modality: likewise.
        fixed_series: UID of the series that is meant, of a DICOM folder with several.
        moving_series: likewise.
        device: "auto", "cpu" or "cuda:N".

    Raises:
        ConfigError: a field in voxels that does not say where its images lay.
        DataError: a scan or the transform cannot be read, a scan has no contrast, or the transform says
            nothing where fixed lies.
        SpaceError: no voxel of a mask lies inside its scan.
    """
    at = choose_device(device)
    _, here = read_scan(fixed, "fixed", mask=fixed_mask, modality=fixed_modality, series=fixed_series)
    _, there = read_scan(moving, "moving", mask=moving_mask, modality=moving_modality, series=moving_series)
    for scan in (here, there):
        if not np.ptp(scan.values):
            raise DataError(Fault("constant image", f"{scan.name} image", "more than one intensity"))
    if isinstance(transform, str | Path):
        grids = {"fixed": here.grid, "moving": there.grid}
        transform = read_any_transform(Path(transform), form=form, **grids).transform
    matrix = matrix_of(transform)
    if matrix is not None:
        return _of_map(here, there, matrix)
    where = _where_defined(transform, here.grid)
    # Its linear part brings moving along by its header alone, wherever it lay.
    matrix = _linear_part(transform, here.grid, where)
    if squeezes_flat(matrix):
        return judge_evidence(Evidence(covered=0.0, residual=1.0, implausible=1.0))
    together = bring_together(here, moved_by(there, matrix), placed=True)
    if not np.ptp(together.pair.moving.values):
        return judge_evidence(Evidence(covered=0.0, residual=1.0, implausible=0.0))
    rest = joined([transform, affine_transform(inverse(matrix))])
    vectors = lps_to_voxels(displacement_on(rest, here.grid), here.grid, together.read_on)
    if not where.all():  # beyond a field nothing was registered
        vectors *= where[..., None]
    known = together.pad(where[..., None])[..., 0]
    field = together.pad(vectors)
    return judge_field(together.pair, field, at, where=known, mirrored=mirrors(matrix))


def _of_map(fixed: Scan, moving: Scan, matrix: Matrix) -> Verdict:
    """Grade a linear map, RAS mm."""
    if squeezes_flat(matrix):
        return judge_linear(LinearEvidence(0.0, 1.0, None))
    pair = bring_together(fixed, moved_by(moving, matrix), placed=True).pair
    if not np.ptp(pair.moving.values):
        return judge_linear(LinearEvidence(0.0, 1.0, None))
    evidence = verdict_of(pair, load_preset("rigid").preprocess).evidence
    assert isinstance(evidence, LinearEvidence)
    return judge_linear(replace(evidence, mirrored=mirrors(matrix)))


def _linear_part(transform: sitk.Transform, fixed: Grid, where: NDArray[np.bool_]) -> Matrix:
    """Return the linear map nearest to a transform, RAS mm, by voxels of a grid at which it is defined."""
    # At random: every so many voxels may all lie in one plane.
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, where.size, _TRIED)
    chosen = chosen[where.ravel()[chosen]][:_SAMPLES]
    if len(chosen) < _SAMPLES:
        known = np.flatnonzero(where)
        chosen = rng.choice(known, min(len(known), _SAMPLES), replace=False)
    points = from_voxels(np.stack(np.unravel_index(chosen, where.shape), axis=-1), fixed, "lps")
    leads_to = np.array([transform.TransformPoint(point) for point in points.tolist()])
    if not np.isfinite(leads_to).all():
        raise DataError(Fault("the transform is not finite", "transform", "a place for every point of fixed"))
    return nearest_map(points * _LPS, leads_to * _LPS)


def _where_defined(transform: sitk.Transform, grid: Grid) -> NDArray[np.bool_]:
    """Tell at which voxels of a grid every field of a transform holds, (I, J, K).

    Raises:
        DataError: at none.
    """
    first, *others = parts(transform)
    own = lattice_of(first)
    if all(lattice_of(part) is None for part in others) and (own is None or own.matches(grid)):
        return np.ones(grid.shape, np.bool_)
    slabs = []
    for begin in range(0, grid.shape[0], _SLAB):
        shape = (min(_SLAB, grid.shape[0] - begin), *grid.shape[1:])
        slabs.append(defined_on(transform, grid.cropped((begin, 0, 0), shape)))
    where = np.concatenate(slabs)
    if not where.any():
        remedy = "is the fixed scan the one that it begins in? The other way round takes the inverse"
        raise DataError(
            Fault("the transform says nothing where the fixed scan lies", "transform", remedy=remedy)
        )
    return where
