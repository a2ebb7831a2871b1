"""Scans from files of any format and from memory, and the way back to ITK images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.dicom.series import choose_series, read_series
from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError
from regtask.grid import Grid
from regtask.images import Volume, read_header, read_volume
from regtask.nifti import read_nifti
from regtask.values import as_float32, fill_invalid, nonfinite_fault

_RAS_FROM_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))
_NIFTI = (".nii", ".nii.gz")
# From here on float32 does not tell every integer from the next one.
_INEXACT = 2.0**24
# What holds a volume and its place in one file. ITK writes more, and loses one or the other without a word.
WRITTEN = (".nii.gz", ".nii", ".mha", ".nrrd")


def read_any(source: Any, *, series: str = "", what: str = "image", option: str = "") -> Volume:
    """Read an image from wherever it is; see `read_typed`."""
    return read_typed(source, series=series, what=what, option=option)[0]


def read_typed(
    source: Any, *, series: str = "", what: str = "image", option: str = ""
) -> tuple[Volume, np.dtype[np.generic]]:
    """Read an image from wherever it is, and tell the type that its voxels are stored in.

    Args:
        source: a path (NIfTI, MetaImage, NRRD, or a DICOM file or folder), a nibabel or a SimpleITK image, a
            volume, or a pair (array of shape (I, J, K), 4 x 4 affine to RAS mm).
        series: of a DICOM folder with several, the UID of the one that is meant.
        what: it is, for messages.
        option: of the command that names a series, for messages.

    Returns:
        (I, J, K) float32 and its grid, and the stored type, in this machine's byte order; float32 where
        the values are not those that are stored but follow from them by slope and intercept.

    Raises:
        DataError: it cannot be read, or has other than three axes.
    """
    if isinstance(source, Volume):
        return source, np.dtype(np.float32)
    if isinstance(source, sitk.Image):
        return _from_itk(source, what)
    if isinstance(source, tuple):
        values, affine = source
        return _checked(np.asarray(values), np.asarray(affine, dtype=np.float64), what)
    if hasattr(source, "dataobj") and hasattr(source, "affine"):
        return _checked(np.asarray(source.dataobj), np.asarray(source.affine, dtype=np.float64), what)
    path = Path(source)
    if not path.exists():
        raise DataError(Fault("no such file or folder", str(path), expected=f"the {what}"))
    if path.name.lower().endswith(_NIFTI):
        header = read_header(path)
        stored = np.dtype(np.float32) if header.scaled else header.dtype.newbyteorder("=")
        return read_volume(path), stored
    return _from_itk(_read_folder(path, series, option) if path.is_dir() else _read_file(path), str(path))


def read_label_map(source: Any, *, series: str = "", option: str = "") -> tuple[Volume, np.dtype[np.generic]]:
    """Read a label map, and the type that it is stored in; the arguments are those of `read_typed`.

    Raises:
        DataError: it cannot be read, or holds values that are no labels, or labels that float32 changes.
    """
    volume, dtype = read_typed(source, series=series, what="label map", option=option)
    where = str(source) if isinstance(source, str | Path) else "label map"
    if not np.array_equal(volume.data, np.rint(volume.data)):
        raise DataError(Fault("not a label map", where, "whole numbers", remedy="use --image"))
    largest = float(np.abs(volume.data).max())
    if largest >= _INEXACT:
        remedy = "number them anew, or bring them along afterwards: dinoreg apply --labels keeps any integer"
        raise DataError(
            Fault("labels too large to be kept", where, f"below {_INEXACT:g}", f"{largest:.0f}", remedy)
        )
    return volume, dtype


def read_stored(
    source: Path, *, series: str = "", what: str = "image", option: str = "--series"
) -> tuple[NDArray[np.generic], Grid]:
    """Read an image in the type that its voxels are stored in; with a slope or an intercept as float32.

    Raises:
        DataError: see `read_typed`; or a voxel is NaN or infinite.
    """
    if not source.exists():
        raise DataError(Fault("no such file or folder", str(source), expected=f"the {what}"))
    if source.name.lower().endswith(_NIFTI):
        header = read_header(source)
        array = read_nifti(source)[0].reshape(header.grid.shape, order="F")
        values = as_float32(array) if header.scaled else array.astype(array.dtype.newbyteorder("="))
        grid = header.grid
    else:
        image = _read_folder(source, series, option) if source.is_dir() else _read_file(source)
        values, grid = _single(image, str(source))
    if values.dtype.kind not in "biuf":
        raise DataError(Fault("not one volume of grey values", str(source), got=str(values.dtype)))
    if values.dtype.kind == "f" and (fault := nonfinite_fault(values, str(source))):
        raise DataError(fault)
    return values, grid


def to_itk(values: NDArray[np.generic], grid: Grid) -> sitk.Image:
    """Return an ITK image of (I, J, K) values, or of (I, J, K, C) vectors."""
    vectors = values.ndim == 4
    order = (2, 1, 0, 3) if vectors else (2, 1, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(order)), isVector=vectors)
    frame = itk_frame(grid)
    image.SetSpacing(frame.spacing)
    image.SetOrigin(frame.origin)
    image.SetDirection(frame.direction)
    return image


def read_grid(source: Any, *, series: str = "", what: str = "image", option: str = "") -> Grid:
    """Read where an image lies; the voxels of NIfTI files are not read. See `read_typed`."""
    if isinstance(source, str | Path) and str(source).lower().endswith(_NIFTI) and Path(source).exists():
        return read_header(Path(source)).grid
    return read_typed(source, series=series, what=what, option=option)[0].grid


class ItkFrame(NamedTuple):
    """A grid as ITK has it, LPS mm; the direction matrix row by row."""

    size: list[int]
    origin: list[float]
    spacing: list[float]
    direction: list[float]


def itk_frame(grid: Grid) -> ItkFrame:
    """Return a grid as ITK has it."""
    lps = _RAS_FROM_LPS @ grid.affine
    spacing = np.array(grid.spacing_mm)
    direction = (lps[:3, :3] / spacing).flatten()
    return ItkFrame(list(grid.shape), lps[:3, 3].tolist(), spacing.tolist(), direction.tolist())


def grid_of(
    size: Sequence[int], origin: Sequence[float], spacing: Sequence[float], direction: Sequence[float]
) -> Grid:
    """Return a grid that ITK describes; the inverse of `itk_frame`.

    Raises:
        SpaceError: the numbers do not make a grid.
    """
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(direction, (3, 3)) * np.asarray(spacing)
    lps[:3, 3] = origin
    return Grid(tuple(size), _RAS_FROM_LPS @ lps)


def from_itk(image: sitk.Image, where: str) -> Volume:
    """Return an ITK image as a volume.

    Raises:
        DataError: it has other than three axes, or colours.
    """
    return _from_itk(image, where)[0]


def _from_itk(image: sitk.Image, where: str) -> tuple[Volume, np.dtype[np.generic]]:
    values, grid = _single(image, where)
    return _checked(values, grid.affine, where)


def _single(image: sitk.Image, where: str) -> tuple[NDArray[Any], Grid]:
    """The (I, J, K) values of an image of one volume, as they are, and its grid."""
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        got = f"{image.GetSize()} with {image.GetNumberOfComponentsPerPixel()} values per voxel"
        raise DataError(Fault("not one volume of grey values", where, "three axes, one value per voxel", got))
    grid = grid_of(image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), grid


def refuse_unwritten(path: Path) -> None:
    """Refuse the name of an image that is to be written, by its suffix.

    Raises:
        OutputError: it is none of `WRITTEN`.
    """
    if not path.name.endswith(WRITTEN):
        got = f"the suffix {path.suffix}" if path.suffix else "no suffix"
        raise OutputError(Fault("cannot write an image of this kind", str(path), ", ".join(WRITTEN), got))


def write_any(path: Path, values: NDArray[np.generic], grid: Grid) -> None:
    """Write an image in the format of its suffix, whole or not at all, with the type of its values.

    Raises:
        OutputError: it cannot be written, or the suffix is none of `WRITTEN`.
    """
    refuse_unwritten(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            sitk.WriteImage(to_itk(values, grid), str(temporary), useCompression=True)
    except (OSError, RuntimeError) as error:
        raise OutputError(Fault("cannot write", str(path), "a folder to write to", _last(error))) from error


def _read_file(path: Path) -> sitk.Image:
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(
            Fault("cannot read", str(path), "NIfTI, MetaImage, NRRD, or a DICOM folder", _last(error))
        ) from error


def _read_folder(folder: Path, series: str, option: str) -> sitk.Image:
    return read_series(choose_series(folder, series, option=option), folder)


def _checked(
    values: NDArray[Any], affine: NDArray[np.float64], where: str
) -> tuple[Volume, np.dtype[np.generic]]:
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.dtype.kind not in "biuf":
        raise DataError(
            Fault("not one volume of grey values", where, "three axes", f"{values.shape} of {values.dtype}")
        )
    data, invalid = fill_invalid(as_float32(values), where)
    return Volume(data, Grid(data.shape, affine), invalid), values.dtype.newbyteorder("=")


def _last(error: Exception) -> str:
    """The line of an ITK message that says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
