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

from dinoreg.desk.dicom.reference import Reference, drop, hand_over, image_item
from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError

log = logging.getLogger(__name__)

# The second one cuts holes wherever outlines overlap (PS3.3, C.8.8.6), which is how both are read here.
_CLOSED, _CLOSED_XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
# Said of the contours as they were drawn: of the set, of a structure, of its contours.
_OF_THE_SET = ("SourceSeriesInformationSequence",)
_OF_A_STRUCTURE = ("ROIVolume",)
_OF_CONTOURS = ("SourceSeriesSequence", "SourcePixelPlanesCharacteristicsSequence")


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
            str(series.get("SeriesInstanceUID", ""))
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
            raise ValueError(str(source.get("Modality", "no modality")))
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in source.StructureSetROISequence}
        drawn = {int(roi.ReferencedROINumber): roi for roi in source.get("ROIContourSequence", ())}
        rois = tuple(Roi(number, name, _contours(drawn.get(number), name)) for number, name in names.items())
    except Exception as error:  # pydicom raises whatever a strange file happens to cause
        raise DataError(Fault("not a structure set", str(path), "RTSTRUCT", str(error))) from error
    if not any(roi.contours for roi in rois):
        raise DataError(Fault("structure set without a closed contour", str(path), _CLOSED))
    return Structures(rois, source)


def write_structures(
    path: Path,
    structures: Structures,
    reference: Reference,
    contours: Mapping[int, Sequence[tuple[int, NDArray[np.float64]]]],
) -> None:
    """Write a structure set with the names, colours and types of another one, on another series.

    Args:
        path: of the new file.
        structures: as they were read.
        reference: the series that the new one refers to.
        contours: number of a structure -> (slice, (N, 3) LPS mm) of each contour.

    Raises:
        DataError: the frames of a multi-frame file do not lie where its slices do.
        OutputError: it cannot be written.
    """
    made = copy.deepcopy(structures.source)
    hand_over(made, reference, without=_OF_THE_SET)
    now = datetime.datetime.now()
    made.StructureSetDate, made.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.StructureSetLabel = f"{str(made.get('StructureSetLabel') or '')[:9]} mapped".strip()
    made.StructureSetDescription = "contours mapped by image registration"
    made.ApprovalStatus = "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = [_frame(reference)]
    for roi in made.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = reference.frame
        roi.ROIGenerationAlgorithm = "AUTOMATIC"
        drop(roi, _OF_A_STRUCTURE)
    for drawn in made.ROIContourSequence:
        drop(drawn, _OF_CONTOURS)
        kind = _kind(drawn)
        drawn.ContourSequence = [
            _contour(number, kind, reference.image_of(slice_, points), points)
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
        if contour.get("ContourGeometricType") not in (_CLOSED, _CLOSED_XOR):
            left_out += 1
            continue
        points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise ValueError(f"{name}: a contour that is not finite")
        if len(points) > 2:
            found.append(points)
    if left_out:
        log.warning("%s: %d contours that are not closed are left out", name, left_out)
    return tuple(found)


def _kind(drawn: Any) -> str:
    """The type of the contours of a structure; where one is of the second type all have to be."""
    kinds = {contour.get("ContourGeometricType") for contour in drawn.get("ContourSequence", ())}
    return _CLOSED_XOR if _CLOSED_XOR in kinds else _CLOSED


def _contour(number: int, kind: str, image: Dataset, points: NDArray[np.float64]) -> Dataset:
    made = Dataset()
    made.ContourNumber = number
    made.ContourImageSequence = [image]
    made.ContourGeometricType, made.NumberOfContourPoints = kind, len(points)
    made.ContourData = [f"{value:.4f}" for value in points.ravel()]
    return made


def _frame(reference: Reference) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = reference.series.uid
    series.ContourImageSequence = [image_item(header) for header in reference.series.headers]
    study = Dataset()
    study.ReferencedSOPClassUID = (
        "1.2.840.10008.3.1.2.3.1"  # detached study management, retired but asked for
    )
    study.ReferencedSOPInstanceUID = reference.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = reference.frame, [study]
    return frame
