"""Structure sets (RTSTRUCT): read, and written with other contours on another series."""

from __future__ import annotations

import copy
import datetime
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dinoreg.desk.dicom.series import Series
from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError

log = logging.getLogger(__name__)

_CLOSED = "CLOSED_PLANAR"
# Of the patient and the study: those of the series that is referred to.
_FROM_SERIES = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """One structure: its name and closed contours, (N, 3) LPS mm each."""

    number: int
    name: str
    contours: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Structures:
    """A structure set, and the file that it came in."""

    rois: tuple[Roi, ...]
    source: Any

    @property
    def series(self) -> set[str]:
        """UIDs of the series that it was drawn on, as far as it says."""
        return {
            str(series.SeriesInstanceUID)
            for frame in self.source.get("ReferencedFrameOfReferenceSequence", ())
            for study in frame.get("RTReferencedStudySequence", ())
            for series in study.get("RTReferencedSeriesSequence", ())
        }


def read_structures(path: Path) -> Structures:
    """Read a structure set.

    Raises:
        DataError: it is none, or holds no closed contour.
    """
    try:
        source = pydicom.dcmread(path)
        if source.get("Modality") != "RTSTRUCT":
            raise DataError(
                Fault(
                    "not a structure set", str(path), "RTSTRUCT", str(source.get("Modality", "no modality"))
                )
            )
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in source.StructureSetROISequence}
        drawn = {int(roi.ReferencedROINumber): roi for roi in source.get("ROIContourSequence", ())}
        rois = tuple(Roi(number, name, _contours(drawn.get(number), name)) for number, name in names.items())
    except (OSError, AttributeError, ValueError, TypeError, pydicom.errors.InvalidDicomError) as error:
        raise DataError(Fault("not a structure set", str(path), "RTSTRUCT", str(error))) from error
    if not any(roi.contours for roi in rois):
        raise DataError(Fault("structure set without a closed contour", str(path), _CLOSED))
    return Structures(rois, source)


def write_structures(
    path: Path,
    structures: Structures,
    fixed: Series,
    contours: Mapping[int, Sequence[tuple[int, NDArray[np.float64]]]],
) -> None:
    """Write a structure set with the names, colours and types of another one, on another series.

    Args:
        path: of the new file.
        structures: as they were read.
        fixed: the series that the new one refers to, in the order of its slices.
        contours: number of a structure -> (slice, (N, 3) LPS mm) of each contour.

    Raises:
        OutputError: it cannot be written.
    """
    made = copy.deepcopy(structures.source)
    header = pydicom.dcmread(fixed.paths[0], stop_before_pixels=True)
    for tag in _FROM_SERIES:
        if tag in header:
            made[tag] = header[tag]
    frame = str(header.FrameOfReferenceUID)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID = generate_uid()
    now = datetime.datetime.now()
    made.StructureSetDate, made.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.StructureSetLabel = f"{made.get('StructureSetLabel', '')[:9]} mapped".strip()
    made.StructureSetDescription = "contours mapped by image registration"
    made.ApprovalStatus = "UNAPPROVED"
    made.FrameOfReferenceUID = frame
    made.ReferencedFrameOfReferenceSequence = [_frame(frame, header, fixed)]
    for roi in made.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = frame
        roi.ROIGenerationAlgorithm = "AUTOMATIC"
    for drawn in made.ROIContourSequence:
        drawn.ContourSequence = [
            _contour(number, fixed.headers[slice_], points)
            for number, (slice_, points) in enumerate(contours.get(int(drawn.ReferencedROINumber), ()), 1)
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_path(path) as temporary:
            made.save_as(temporary, enforce_file_format=True)
    except (ValueError, AttributeError, TypeError) as error:
        raise OutputError(Fault("cannot write the structure set", str(path), got=str(error))) from error


def _contours(drawn: Any, name: str) -> tuple[NDArray[np.float64], ...]:
    found, left_out = [], 0
    for contour in drawn.get("ContourSequence", ()) if drawn is not None else ():
        if contour.get("ContourGeometricType") != _CLOSED:
            left_out += 1
            continue
        points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
        if len(points) > 2:
            found.append(points)
    if left_out:
        log.warning("%s: %d contours that are not closed are left out", name, left_out)
    return tuple(found)


def _contour(number: int, header: Any, points: NDArray[np.float64]) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    made = Dataset()
    made.ContourNumber = number
    made.ContourImageSequence = [image]
    made.ContourGeometricType, made.NumberOfContourPoints = _CLOSED, len(points)
    made.ContourData = [f"{value:.4f}" for value in points.ravel()]
    return made


def _frame(uid: str, header: Any, fixed: Series) -> Dataset:
    images = []
    for slice_ in fixed.headers:
        image = Dataset()
        image.ReferencedSOPClassUID = slice_.SOPClassUID
        image.ReferencedSOPInstanceUID = slice_.SOPInstanceUID
        images.append(image)
    series = Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = fixed.uid, images
    study = Dataset()
    study.ReferencedSOPClassUID = (
        "1.2.840.10008.3.1.2.3.1"  # detached study management, retired but asked for
    )
    study.ReferencedSOPInstanceUID = header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = uid, [study]
    return frame
