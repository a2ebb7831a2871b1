"""What a mapped structure set or dose says of itself: whose it is, what it refers to, what it dropped."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import uid, write_dose, write_enhanced, write_series, write_structures
from exchange_fields import grid
from pydicom.dataset import Dataset

from dinoreg.cli.main import main
from dinoreg.desk.dicom.structures import read_structures

FIXED = grid((14, 12, 9), (1.5, 1.7, 3.0), (10, -6, 4), (1, 1, 1), (-30, -32, -20))
MOVING = grid((13, 15, 12), (1.6, 1.5, 2.0), (-7, 5, 9), (1, 1, 1), (-28, -30, -22))
SQUARE = np.array([[3.0, 3], [9, 3], [9, 10], [3, 10]])
ORGANS = {"Leber groß": ((9, 9, 9), [(k, SQUARE) for k in range(3, 9)])}


@pytest.fixture
def folder(tmp_path):
    """Two CT series, structures and a dose on moving, and a transform that moves nothing."""
    write_series(tmp_path / "fixed", np.zeros(FIXED.shape, np.int16), FIXED, "fixed")
    write_series(tmp_path / "moving", np.zeros(MOVING.shape, np.int16), MOVING, "moving")
    write_structures(tmp_path / "RS.dcm", "moving", MOVING, {"liver": next(iter(ORGANS.values()))})
    stored = np.random.default_rng(0).integers(1, 90_000, MOVING.shape)
    write_dose(tmp_path / "RD.dcm", stored.astype(np.uint32), MOVING, 1e-3, "moving")
    sitk.WriteTransform(sitk.TranslationTransform(3), str(tmp_path / "t.tfm"))
    return tmp_path


def change(paths, how):
    for path in [paths] if paths.is_file() else sorted(paths.iterdir()):
        made = pydicom.dcmread(path)
        made.decode()
        how(made)
        made.save_as(path)


def apply(folder, what, *words, output="new.dcm"):
    source = ("--dose", folder / "RD.dcm")
    if what == "structures":
        source = ("--rtstruct", folder / "RS.dcm", "--moving", folder / "moving")
    common = ("--transform", folder / "t.tfm", "--reference", folder / "fixed", "--output", folder / output)
    return main([str(word) for word in ("apply", *common, *source, *words)])


BOTH = pytest.mark.parametrize("what", ["structures", "dose"])


@BOTH
def test_names_survive_other_character_sets(what, folder):
    """A Cyrillic patient on a set in Latin 1: neither character set can write the names of the other."""

    def patient(made):
        made.SpecificCharacterSet = "ISO_IR 144"
        made.PatientName = "Иванов^Пётр"

    def latin(made):
        made.SpecificCharacterSet = "ISO_IR 100"
        made.Manufacturer = "Gerät"
        if what == "structures":
            made.StructureSetROISequence[0].ROIName = "Leber groß"

    change(folder / "fixed", patient)
    change(folder / ("RS.dcm" if what == "structures" else "RD.dcm"), latin)
    assert apply(folder, what) == 0
    made = pydicom.dcmread(folder / "new.dcm")
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert (made.PatientName, made.Manufacturer) == ("Иванов^Пётр", "Gerät")
    if what == "structures":
        assert made.StructureSetROISequence[0].ROIName == "Leber groß"
    raw = (folder / "new.dcm").read_bytes()
    assert "Иванов^Пётр".encode() in raw
    assert "Gerät".encode() in raw


@BOTH
def test_patient_and_study_are_those_of_the_series(what, folder):
    def other_study(made):
        made.StudyInstanceUID, made.StudyDate, made.StudyID = uid("another study"), "20270203", "7"
        del made.AccessionNumber, made.PatientName

    change(folder / "fixed", other_study)
    for name in ("RS.dcm", "RD.dcm"):
        change(folder / name, lambda made: setattr(made, "AccessionNumber", "of the old study"))
    assert apply(folder, what) == 0
    made = pydicom.dcmread(folder / "new.dcm")
    assert (made.StudyInstanceUID, made.StudyDate, made.StudyID) == (uid("another study"), "20270203", "7")
    assert not made.AccessionNumber
    assert not made.PatientName
    assert made.FrameOfReferenceUID == uid("frame of fixed")


def test_a_mapped_dose_keeps_nothing_of_the_old_plan(folder):
    def planned(made):
        made.DVHSequence, made.ReferencedStructureSetSequence = [Dataset()], [Dataset()]
        made.DVHNormalizationPoint, made.DVHNormalizationDoseValue = [1, 2, 3], "60"
        made.NormalizationPoint, made.SliceThickness, made.DoseComment = [1, 2, 3], "2", "boost"

    change(folder / "RD.dcm", planned)
    assert apply(folder, "dose") == 0
    made = pydicom.dcmread(folder / "new.dcm")
    for gone in ("DVHSequence", "DVHNormalizationPoint", "DVHNormalizationDoseValue", "NormalizationPoint"):
        assert gone not in made
    assert "ReferencedStructureSetSequence" not in made
    assert (made.DoseComment, made.SliceThickness) == ("boost", 3)


def test_mapped_structures_are_not_those_that_were_approved(folder):
    def approved(made):
        made.ApprovalStatus, made.ReviewerName = "APPROVED", "Dr^Who"
        made.ReviewDate, made.ReviewTime = "20260101", "120000"
        made.StructureSetLabel = None
        made.StructureSetROISequence[0].ROIVolume = "12.5"
        made.ROIContourSequence[0].SourceSeriesSequence = [Dataset()]

    change(folder / "RS.dcm", approved)
    assert apply(folder, "structures") == 0
    made = pydicom.dcmread(folder / "new.dcm")
    assert (made.ApprovalStatus, made.StructureSetLabel) == ("UNAPPROVED", "mapped")
    assert not {"ReviewerName", "ReviewDate", "ReviewTime"} & set(made.dir())
    assert "ROIVolume" not in made.StructureSetROISequence[0]
    assert "SourceSeriesSequence" not in made.ROIContourSequence[0]


def test_a_dose_with_negative_values_is_an_image(folder, capsys):
    """A difference of two plans: half of it would be lost."""

    def signed(made):
        made.PixelRepresentation = 1
        half = made.pixel_array.astype(np.int32) - 40_000
        made.PixelData = half.astype("<i4").tobytes()

    change(folder / "RD.dcm", signed)
    assert apply(folder, "dose") == 3
    assert "a dose in DICOM is not negative" in capsys.readouterr().err
    assert not (folder / "new.dcm").exists()
    assert apply(folder, "dose", output="new.mha") == 0
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "new.mha"))).min() < -10


@BOTH
@pytest.mark.parametrize("gone", ["FrameOfReferenceUID", "StudyInstanceUID", "SOPClassUID", "SOPInstanceUID"])
def test_a_series_that_nothing_can_refer_to(what, gone, folder, capsys, monkeypatch):
    """Before the mapping, which takes its time."""

    def late(*_):
        raise AssertionError("mapped first")

    monkeypatch.setattr("dinoreg.desk.dicom.carry.carry_structures", late)
    monkeypatch.setattr("dinoreg.desk.resampling.resample_stored", late)
    change(folder / "fixed", lambda made: delattr(made, gone))
    assert apply(folder, what) == 3
    printed = capsys.readouterr().err
    assert "nothing can refer to the series" in printed
    assert gone in printed


def test_contours_on_a_multi_frame_file_name_its_frames(folder):
    for path in (folder / "fixed").iterdir():
        path.unlink()
    write_enhanced(folder / "fixed", np.zeros(FIXED.shape, np.int16), FIXED, "fixed")
    assert apply(folder, "structures") == 0
    header = pydicom.dcmread(folder / "fixed" / "fixed.dcm")
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in frames(header)]
    normal = np.cross(*(FIXED.affine[:3, :2].T * (-1, -1, 1) / np.array(FIXED.spacing_mm)[:2, None]))
    contours = pydicom.dcmread(folder / "new.dcm").ROIContourSequence[0].ContourSequence
    named = set()
    for contour in contours:
        (image,) = contour.ContourImageSequence
        assert image.ReferencedSOPInstanceUID == header.SOPInstanceUID
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        at = np.array(places[image.ReferencedFrameNumber - 1], float)
        np.testing.assert_allclose((points - at) @ normal, 0, atol=1e-3)
        named.add(int(image.ReferencedFrameNumber))
    assert len(named) > 2


def frames(header):
    return header.PerFrameFunctionalGroupsSequence


@pytest.mark.parametrize("far", [False, True])
def test_frames_that_do_not_say_where_they_lie(far, folder, capsys):
    for path in (folder / "fixed").iterdir():
        path.unlink()
    write_enhanced(folder / "fixed", np.zeros(FIXED.shape, np.int16), FIXED, "fixed")

    def misplace(made):
        for group in frames(made)[2:]:
            if far:
                group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 900]
            else:
                del group.PlanePositionSequence

    change(folder / "fixed", misplace)
    assert apply(folder, "structures") == 3
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("known", [("moving", "elsewhere"), ("elsewhere", "moving")])
def test_a_set_on_several_series_takes_the_one_at_hand(known, folder):
    def both(made):
        study = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        study.RTReferencedSeriesSequence = [Dataset(), Dataset()]
        for series, name in zip(study.RTReferencedSeriesSequence, known, strict=True):
            series.SeriesInstanceUID = uid(name)

    change(folder / "RS.dcm", both)
    assert apply(folder, "structures") == 0


def test_a_folder_with_several_of_the_series_asks_which(folder, capsys):
    def both(made):
        study = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        study.RTReferencedSeriesSequence.append(Dataset())
        study.RTReferencedSeriesSequence[1].SeriesInstanceUID = uid("again")

    change(folder / "RS.dcm", both)
    write_series(folder / "moving", np.zeros(MOVING.shape, np.int16), MOVING, "again")
    assert apply(folder, "structures") == 3
    assert "--moving-series UID" in capsys.readouterr().err
    assert apply(folder, "structures", "--moving-series", uid("moving")) == 0


def test_outlines_that_cut_holes_are_closed_too(folder):
    """CLOSEDPLANAR_XOR of PS3.3; the new contours are of the same type."""

    def holes(made):
        for contour in made.ROIContourSequence[0].ContourSequence:
            contour.ContourGeometricType = "CLOSEDPLANAR_XOR"

    change(folder / "RS.dcm", holes)
    assert len(read_structures(folder / "RS.dcm").rois[0].contours) == 6
    assert apply(folder, "structures") == 0
    (drawn,) = pydicom.dcmread(folder / "new.dcm").ROIContourSequence
    assert {contour.ContourGeometricType for contour in drawn.ContourSequence} == {"CLOSEDPLANAR_XOR"}


def test_contours_that_are_not_finite_are_refused(folder, capsys):
    def damage(made):
        made.ROIContourSequence[0].ContourSequence[1].ContourData[4] = "1e999"

    change(folder / "RS.dcm", damage)
    assert apply(folder, "structures") == 3
    assert "not finite" in capsys.readouterr().err
