"""Images, label maps and doses through a transform.

What is to be stored keeps its type. It is checked before that the transform says something at the reference,
and that the image lies where moving lay.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.lattice import coarse_grid
from dinoreg.desk.exchange.parts import defined_on, first_lattice, lattice_of, parts
from dinoreg.desk.images import from_itk, to_itk
from regtask.documents import read_json_object
from regtask.errors import DataError, Fault, SpaceError
from regtask.grid import Grid
from regtask.images import Volume

log = logging.getLogger(__name__)

Interpolation = Literal["linear", "nearest", "bspline", "smooth"]
INTERPOLATORS = MappingProxyType(
    {
        "linear": sitk.sitkLinear,
        "nearest": sitk.sitkNearestNeighbor,
        "bspline": sitk.sitkBSpline,
        "smooth": sitk.sitkLabelLinear,
    }
)
_LOOKED_AT = 1 << 18  # voxels of the reference, to see how much of it a transform covers
_FACTS = "register.json"
# Headers of one scan differ by rounding, voxels.
_SAME_PLACE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """What was read through a transform.

    Attributes:
        values: (I, J, K) on the reference, in the type of the image.
        covered: share of the reference that shows the image, 0 to 1.
    """

    values: NDArray[np.generic]
    covered: float


def resample(
    volume: Volume,
    target: Grid,
    transform: sitk.Transform,
    *,
    labels: bool = False,
    outside: float | None = None,
) -> Volume:
    """Read a volume on another grid through a transform from that grid to it.

    Args:
        volume: to be read.
        target: grid of the result.
        transform: from points of the target to points of the volume.
        labels: nearest neighbour instead of linear.
        outside: value beyond the volume; by default 0 for labels, else the lowest value.
    """
    if outside is None:
        outside = 0.0 if labels else float(volume.data.min())
    reference = to_itk(np.zeros(target.shape, np.uint8), target)
    moved = sitk.Resample(
        to_itk(volume.data, volume.grid),
        reference,
        transform,
        sitk.sitkNearestNeighbor if labels else sitk.sitkLinear,
        outside,
    )
    return Volume(from_itk(moved, "resampled").data, target)


def resample_stored(
    values: NDArray[np.generic],
    grid: Grid,
    reference: Grid,
    transform: sitk.Transform,
    interpolation: Interpolation,
    outside: float,
    where: str,
) -> Resampled:
    """Read an image on another grid, in its own type.

    Args:
        values: (I', J', K').
        grid: where they are.
        reference: grid of the result.
        transform: from points of the reference to points of the image.
        interpolation: `smooth` is for labels: each label's share is interpolated, the largest one wins.
        outside: value where the image does not reach.
        where: the image came from, for messages.

    Raises:
        DataError: nothing of the image comes to lie inside the reference.
    """
    frame = to_itk(np.zeros(reference.shape, np.uint8), reference)
    seen = sitk.Resample(
        to_itk(np.ones(values.shape, np.uint8), grid), frame, transform, sitk.sitkNearestNeighbor, 0
    )
    covered = float(sitk.GetArrayViewFromImage(seen).mean())
    if covered == 0:
        remedy = "is it an image of the moving scan, and --reference one of the fixed scan?"
        raise DataError(Fault("nothing of it comes to lie inside the reference", where, remedy=remedy))
    moved = sitk.Resample(to_itk(values, grid), frame, transform, INTERPOLATORS[interpolation], outside)
    return Resampled(sitk.GetArrayFromImage(moved).transpose(2, 1, 0).astype(values.dtype), covered)


def refuse_undefined(transform: sitk.Transform, reference: Grid, where: Path) -> None:
    """Refuse a reference where a field of the transform says nothing; warn where it does so in part.

    Beyond the lattice of a field ITK moves nothing: such a result looks right, but is not registered.

    Raises:
        DataError: the transform says nothing anywhere in the reference.
    """
    if all(lattice_of(part) is None for part in parts(transform)):
        return
    first = first_lattice(transform)
    if len(parts(transform)) == 1 and first is not None and first.matches(reference):
        return
    stride = max(1, int(np.ceil((np.prod(reference.shape) / _LOOKED_AT) ** (1 / 3))))
    share = float(defined_on(transform, coarse_grid(reference, stride)).mean())
    if share == 0:
        remedy = "is --reference in the space of the fixed image? The other way round takes the inverse"
        raise DataError(
            Fault("the transform says nothing where the reference lies", str(where), remedy=remedy)
        )
    if share < 0.999:
        percent = 100 * (1 - share)
        log.warning("%s: %.0f %% of it lies beyond the transform, which moves nothing there", where, percent)


def noted_grid(transform: Path, role: Literal["fixed", "moving"]) -> Grid | None:
    """Return a grid that `dinoreg register` noted beside its transform, or None."""
    path = transform.parent / _FACTS
    if not path.is_file():
        return None
    try:
        noted: Any = read_json_object(path, "a record of a registration")["grids"][role]
        return Grid(tuple(int(n) for n in noted["shape"]), np.array(noted["affine"], np.float64))
    except (DataError, KeyError, TypeError, ValueError):
        return None


def refuse_apart(grid: Grid, other: Grid, where: str, what: str) -> None:
    """Refuse an image that shares no place with the one it is said to belong to.

    Raises:
        SpaceError: the boxes of their voxels do not meet.
    """
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    index = other.ras_to_index(grid.index_to_ras(corners * np.array(grid.shape) - 0.5))
    low, high = index.min(axis=0), index.max(axis=0)
    if (high < -0.5).any() or (low > np.array(other.shape) - 0.5).any():
        remedy = "is it of that scan? Else its header is wrong"
        raise SpaceError(Fault(f"lies beside {what}", where, f"a place inside {what}", remedy=remedy))


def refuse_other_header(grid: Grid, registered: Grid, where: str, what: str) -> None:
    """Refuse an image that has the shape of the registered one and lies elsewhere.

    Raises:
        SpaceError: its header is mirrored, turned or shifted against that of the registered image.
    """
    tolerance_mm = _SAME_PLACE * min(registered.spacing_mm)
    if grid.shape != registered.shape or grid.matches(registered, tolerance_mm):
        return
    inner = np.linalg.solve(registered.affine, grid.affine)
    mirrored = [name for name, row in zip("ijk", np.diag(inner)[:3], strict=True) if row < -0.5]
    kind = f"mirrored along {', '.join(mirrored)}" if mirrored else "in another place"
    raise SpaceError(
        Fault(
            f"header {kind}",
            where,
            f"that of {what}, whose shape it has",
            registered.differences(grid),
            "correct the header; if it is right, say --other-header",
        )
    )
