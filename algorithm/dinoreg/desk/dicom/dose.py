"""Doses (RTDOSE): read in their unit, and written on another grid.

SimpleITK does not apply the scaling of a dose, so pydicom reads it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from dinoreg.desk.dicom.reference import Reference, hand_over
from dinoreg.desk.images import grid_of, itk_frame
from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError
from regtask.grid import Grid

_UNEVEN = 1e-2  # of a step between two planes
_LEVELS = 2**32 - 1
_LEAST = 1e-30  # a dose of zeros has a scaling too
# Said of the dose as it was computed: its histograms and normalisation, the structures and images of both.
_OF_THE_ORIGINAL = (
    "DVHNormalizationDoseValue",
    "DVHNormalizationPoint",
    "DVHSequence",
    "LargestImagePixelValue",
    "NormalizationPoint",
    "ReferencedImageSequence",
    "ReferencedStructureSetSequence",
    "SliceLocation",
    "SmallestImagePixelValue",
    "SpacingBetweenSlices",
)


@dataclass(frozen=True, slots=True, eq=False)
class Dose:
    """A dose.

    Attributes:
        values: (I, J, K), in `units`.
        grid: where it is.
        units: GY, or RELATIVE.
        source: the file that it came in, without pixels.
    """

    values: NDArray[np.float32]
    grid: Grid
    units: str
    source: Any


def is_dose(path: Path) -> bool:
    """Tell whether a file is a dose in DICOM."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"])
    except Exception:  # pydicom raises whatever a strange file happens to cause
        return False
    return bool(header.get("Modality") == "RTDOSE")


def read_dose(path: Path) -> Dose:
    """Read a dose.

    Raises:
        DataError: it is damaged, or its planes are not evenly spaced.
    """
    try:
        source = pydicom.dcmread(path)
        stored = source.pixel_array
        stored = stored if stored.ndim == 3 else stored[None]
        if stored.ndim != 3:
            raise ValueError(f"{stored.ndim - 1} axes")
        axes = np.array(source.ImageOrientationPatient, np.float64).reshape(2, 3)
        offsets = np.array(source.get("GridFrameOffsetVector", None) or [0.0], np.float64)
        scaling, units = float(source.DoseGridScaling), str(source.get("DoseUnits") or "")
        spacing = [float(v) for v in source.PixelSpacing]
        origin = np.array(source.ImagePositionPatient, np.float64)
        if not np.isfinite([scaling, *offsets]).all():
            raise ValueError("a scaling or an offset that is not finite")
    except Exception as error:  # pydicom raises whatever a strange file happens to cause
        raise DataError(Fault("not a dose that can be read", str(path), "RTDOSE", str(error))) from error
    if len(offsets) != len(stored):
        got = f"{len(stored)} planes, {len(offsets)} offsets"
        raise DataError(Fault("dose whose planes do not say where they lie", str(path), got=got))
    steps = np.diff(offsets)
    step = float(np.median(steps)) if len(steps) else 1.0
    if step == 0 or (len(steps) and np.abs(steps - step).max() > _UNEVEN * abs(step)):
        remedy = "export the dose on an even grid"
        raise DataError(Fault("planes of the dose unevenly spaced", str(path), remedy=remedy))
    normal = np.cross(axes[0], axes[1]) * np.sign(step)
    direction = np.column_stack([axes[0], axes[1], normal])
    size = stored.shape[::-1]
    grid = grid_of(size, origin.tolist(), [spacing[1], spacing[0], abs(step)], direction.ravel().tolist())
    del source.PixelData
    values = np.ascontiguousarray(stored.transpose(2, 1, 0) * scaling, dtype=np.float32)
    return Dose(values, grid, units, source)


def write_dose(path: Path, dose: Dose, values: NDArray[np.float32], reference: Reference, grid: Grid) -> None:
    """Write a dose in the form that it came in, on another grid.

    Args:
        path: `.dcm`.
        dose: as it was read.
        values: (I, J, K) in its unit.
        reference: the series whose frame of reference it lies in.
        grid: of `values`.

    Raises:
        DataError: it is negative somewhere.
        OutputError: it cannot be written.
    """
    if values.min() < 0:
        got, remedy = (
            f"down to {values.min():.4g} {dose.units}",
            "write an image: --output of .nii.gz or .mha",
        )
        raise DataError(Fault("a dose in DICOM is not negative", str(path), "0 or more", got, remedy))
    made = copy.deepcopy(dose.source)
    hand_over(made, reference, without=_OF_THE_ORIGINAL)
    frame = itk_frame(grid)
    direction = np.reshape(frame.direction, (3, 3))
    forward = float(np.sign(np.cross(direction[:, 0], direction[:, 1]) @ direction[:, 2]))
    scaling = max(float(values.max()), _LEAST) / _LEVELS
    stored = np.rint(values.astype(np.float64) / scaling).astype("<u4")
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.ImagePositionPatient = [f"{value:.6f}" for value in frame.origin]
    made.ImageOrientationPatient = [f"{value:.9f}" for value in [*direction[:, 0], *direction[:, 1]]]
    made.PixelSpacing = [f"{frame.spacing[1]:.8f}", f"{frame.spacing[0]:.8f}"]
    made.SliceThickness = f"{frame.spacing[2]:.8f}"
    made.GridFrameOffsetVector = [f"{forward * k * frame.spacing[2]:.6f}" for k in range(frame.size[2])]
    made.FrameIncrementPointer = 0x3004000C
    made.Columns, made.Rows, made.NumberOfFrames = frame.size
    made.BitsAllocated = made.BitsStored = 32
    made.HighBit, made.PixelRepresentation = 31, 0
    made.DoseGridScaling = f"{scaling:.9e}"
    made.PixelData = stored.transpose(2, 1, 0).tobytes()
    made["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_path(path) as temporary:
            made.save_as(temporary, enforce_file_format=True)
    except (ValueError, AttributeError, TypeError) as error:
        raise OutputError(Fault("cannot write the dose", str(path), got=str(error))) from error
