"""The series that a mapped structure set or dose refers to: what is taken from it, and what may not stay.

Patient, study and frame of reference become those of the series; whatever was said of the original alone,
such as an approval, a signature or a volume, goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dinoreg.desk.dicom.series import Series
from regtask.errors import DataError, Fault

_UNICODE = "ISO_IR 192"
_OF_THE_SERIES, _OF_SLICES = ("StudyInstanceUID", "FrameOfReferenceUID"), ("SOPClassUID", "SOPInstanceUID")
# Of the patient and the study. What the series lacks is emptied: it would be that of another study.
_TAKEN = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)
_OF_THE_ORIGINAL = (
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "ReferencedStudySequence",
    "ReviewDate",
    "ReviewTime",
    "ReviewerName",
)
_OFF_FRAME_MM = 0.05  # positions are rounded


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A series that something is to refer to.

    Attributes:
        series: in the order of its slices.
        header: of its first file, whole, its text decoded.
    """

    series: Series
    header: Any

    @property
    def frame(self) -> str:
        """UID of its frame of reference."""
        return str(self.header.FrameOfReferenceUID)

    def image_of(self, slice_: int, points: NDArray[np.float64]) -> Dataset:
        """Return the item that names the image of a slice, and its frame in a file of several.

        Args:
            slice_: counts from 0.
            points: (N, 3) LPS mm, in the plane of the slice; they tell the frame.

        Raises:
            DataError: no frame of the file lies there.
        """
        headers = self.series.headers
        if int(headers[0].get("NumberOfFrames", 1) or 1) == 1:
            return image_item(headers[slice_])
        item = image_item(headers[0])
        item.ReferencedFrameNumber = _frame_at(self.header, points, str(self.series.paths[0]))
        return item


def refer_to(series: Series) -> Reference:
    """Return a series as something can refer to it.

    Raises:
        DataError: it lacks an identifier that is referred by.
    """
    header = pydicom.dcmread(series.paths[0], stop_before_pixels=True)
    header.decode()
    lacking = [key for key in _OF_THE_SERIES if not header.get(key)]
    lacking += [key for key in _OF_SLICES if not all(one.get(key) for one in series.headers)]
    if lacking:
        where, got = f"{series.paths[0].parent}, series {series.uid}", f"none of {', '.join(lacking)}"
        remedy = "export the series again, with its identifiers"
        raise DataError(Fault("nothing can refer to the series", where, "identifiers", got, remedy))
    return Reference(series, header)


def image_item(header: Any) -> Dataset:
    """Return an item that refers to the file of a header."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item


def hand_over(made: Any, reference: Reference, *, without: Iterable[str]) -> None:
    """Make a copy of an original an object of its own that belongs to a series; its text becomes UTF-8.

    Args:
        made: the copy, which is changed.
        reference: the series.
        without: keywords of what else was said of the original alone.
    """
    made.decode()  # before the name of its character set changes
    made.SpecificCharacterSet = _UNICODE
    for keyword in _TAKEN:
        if keyword in reference.header:
            made[keyword] = reference.header[keyword]
        elif keyword in made:
            setattr(made, keyword, "")
    drop(made, [*_OF_THE_ORIGINAL, *without])
    if "ApprovalStatus" in made:
        made.ApprovalStatus = "UNAPPROVED"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID = generate_uid()


def drop(made: Any, keywords: Iterable[str]) -> None:
    """Take elements out of a data set, where it has them."""
    for keyword in keywords:
        if keyword in made:
            delattr(made, keyword)


def _frame_at(header: Any, points: NDArray[np.float64], where: str) -> int:
    """Number, from 1, of the frame in whose plane points lie, by the functional groups of the file."""
    try:
        shared = header.SharedFunctionalGroupsSequence[0].get("PlaneOrientationSequence")
        frames = header.PerFrameFunctionalGroupsSequence
        axes = (shared or frames[0].PlaneOrientationSequence)[0].ImageOrientationPatient
        places = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
        normal = np.cross(*np.array(axes, np.float64).reshape(2, 3))
        apart = np.abs((np.array(places, np.float64).reshape(-1, 3) - points.mean(axis=0)) @ normal)
    except Exception as error:  # pydicom raises whatever a strange file happens to cause
        expected = "position and orientation of every frame"
        raise DataError(
            Fault("frames that do not say where they lie", where, expected, str(error))
        ) from error
    nearest = int(apart.argmin())
    if not apart[nearest] < _OFF_FRAME_MM:
        got = f"the nearest {apart[nearest]:.2f} mm from a slice"
        raise DataError(Fault("frames beside the slices of the image", where, got=got))
    return nearest + 1
