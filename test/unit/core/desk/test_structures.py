"""Structures and doses of moving on the series of fixed."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import uid, write_dose, write_series, write_structures
from exchange_fields import GRIDS, SHIFT_LPS, grid, rigid
from scipy import ndimage

from dinoreg.cli.main import main
from dinoreg.desk.dicom.coverage import coverage, outlines
from dinoreg.desk.images import read_any

FIXED = grid((44, 40, 16), (1.5, 1.7, 3.0), (10, -6, 4), (1, 1, 1), (-30, -32, -20))
MOVING = grid((40, 42, 26), (1.6, 1.5, 2.0), (-7, 5, 9), (1, 1, 1), (-28, -30, -22))


def circle(centre, radius, count=60):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.asarray(centre) + radius * np.column_stack([np.cos(angle), np.sin(angle)])


def test_coverage_is_an_area():
    shares = coverage([circle((7.3, 9.6), 5.2, 400)], (16, 20))
    assert shares.sum() == pytest.approx(np.pi * 5.2**2, rel=2e-3)
    at = ndimage.center_of_mass(shares)
    np.testing.assert_allclose(at, (7.3, 9.6), atol=0.01)
    ring = coverage([circle((7.3, 9.6), 5.2, 400), circle((7.3, 9.6), 2.1, 400)], (16, 20))
    assert ring.sum() == pytest.approx(np.pi * (5.2**2 - 2.1**2), rel=5e-3)
    assert ring[7, 10] == 0
    assert (shares.min(), shares.max()) == (0, 1)


def test_an_outline_of_whole_pixels_is_exact():
    """A rectangle from pixel edge to pixel edge: 1 inside, 0 outside, a half where it cuts."""
    rectangle = np.array([[1.5, 2.5], [4.5, 2.5], [4.5, 6.0], [1.5, 6.0]])
    shares = coverage([rectangle], (7, 9))
    np.testing.assert_allclose(shares[2:5, 3:6], 1)
    np.testing.assert_allclose(shares[2:5, 6], 0.5)
    assert shares.sum() == pytest.approx(3 * 3.5)


@pytest.mark.parametrize("at", [(8.2, 7.6), (0.5, 7.0)])
def test_outlines_are_found_again(at):
    """Inside the image and over its border; the line of a half is within a tenth of a pixel."""
    shares = coverage([circle(at, 4.0, 200)], (18, 16))
    (line,) = outlines(shares)
    distances = np.linalg.norm(line - at, axis=1)
    inner = (line > 0.6).all(axis=1)
    np.testing.assert_allclose(distances[inner], 4.0, atol=0.1)


def organs():
    ball = [(k, circle((20.5, 19.0), np.sqrt(81 - (2.0 / 1.55 * (k - 13)) ** 2))) for k in range(7, 20)]
    shell = [(k, circle((15.0, 24.0), 6.0)) for k in range(10, 17)]
    shell += [(k, circle((15.0, 24.0), 3.0)) for k in range(10, 17)]
    return {
        "ball": ((255, 0, 10), ball),
        "shell, with a hole": ((0, 128, 255), shell),
        "empty": ((1, 2, 3), []),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two CT series, structures and a dose on moving, and a turn from fixed to moving."""
    folder = tmp_path_factory.mktemp("rt")
    write_series(folder / "fixed", np.zeros(FIXED.shape, np.int16), FIXED, "fixed")
    write_series(folder / "moving", np.zeros(MOVING.shape, np.int16), MOVING, "moving")
    write_structures(folder / "RS.dcm", "moving", MOVING, organs())
    index = np.indices(MOVING.shape)
    dose = 2e4 + 800 * index[0] - 300 * index[1] + 500 * index[2]
    write_dose(folder / "RD.dcm", dose.astype(np.uint32), MOVING, 1e-3, "moving")
    sitk.WriteTransform(rigid((6, -4, 8), SHIFT_LPS, (0, 0, 0)), str(folder / "t.tfm"))
    return folder


def apply(folder, *words):
    common = ["--transform", folder / "t.tfm", "--reference", folder / "fixed"]
    return main([str(word) for word in ("apply", *common, *words)])


@pytest.fixture(scope="module")
def mapped(folder):
    words = ["--rtstruct", folder / "RS.dcm", "--moving", folder / "moving"]
    assert apply(folder, *words, "--output", folder / "mapped.dcm") == 0
    return pydicom.dcmread(folder / "mapped.dcm")


def test_structures_refer_to_the_fixed_series(mapped, folder):
    (frame,) = mapped.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == mapped.FrameOfReferenceUID == uid("frame of fixed")
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == uid("fixed")
    slices = {
        str(header.SOPInstanceUID): np.array(header.ImagePositionPatient, float)
        for header in map(pydicom.dcmread, (folder / "fixed").iterdir())
    }
    assert {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence} == set(slices)
    normal = np.cross(*(FIXED.affine[:3, :2].T * (-1, -1, 1) / np.array(FIXED.spacing_mm)[:2, None]))
    for drawn in mapped.ROIContourSequence:
        for contour in drawn.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            at = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            np.testing.assert_allclose((points - at) @ normal, 0, atol=1e-3)
            assert contour.NumberOfContourPoints == len(points)


def test_structures_keep_names_and_colours(mapped, folder):
    before = pydicom.dcmread(folder / "RS.dcm")
    assert [roi.ROIName for roi in mapped.StructureSetROISequence] == list(organs())
    assert [list(drawn.ROIDisplayColor) for drawn in mapped.ROIContourSequence] == [
        list(colour) for colour, _ in organs().values()
    ]
    assert mapped.RTROIObservationsSequence == before.RTROIObservationsSequence
    assert {roi.ReferencedFrameOfReferenceUID for roi in mapped.StructureSetROISequence} == {
        uid("frame of fixed")
    }
    assert mapped.SOPInstanceUID != before.SOPInstanceUID
    assert mapped.ApprovalStatus == "UNAPPROVED"
    assert len(mapped.ROIContourSequence[2].ContourSequence) == 0


def contour_mask(drawn):
    """The structure as voxels of fixed, by matplotlib's test of a point in a polygon (even-odd over all)."""
    from matplotlib.path import Path as Polygon

    mask = np.zeros(FIXED.shape, bool)
    at = np.stack(np.meshgrid(*[np.arange(n) for n in FIXED.shape[:2]], indexing="ij"), -1).reshape(-1, 2)
    for contour in drawn.ContourSequence:
        index = FIXED.ras_to_index(np.array(contour.ContourData, float).reshape(-1, 3) * (-1, -1, 1))
        inside = Polygon(index[:, :2]).contains_points(at).reshape(FIXED.shape[:2])
        mask[:, :, round(index[:, 2].mean())] ^= inside
    return mask


def test_structures_come_to_lie_where_the_transform_says(mapped, folder):
    """Against the analytic bodies, read at each voxel of fixed through SimpleITK's transform."""
    transform = sitk.ReadTransform(str(folder / "t.tfm"))
    points = FIXED.index_to_ras(np.indices(FIXED.shape).reshape(3, -1).T) * (-1, -1, 1)
    there = np.array([transform.TransformPoint(point) for point in points.tolist()])
    i, j, k = MOVING.ras_to_index(there * (-1, -1, 1)).T.reshape(3, *FIXED.shape)
    ball = (i - 20.5) ** 2 + (j - 19) ** 2 + (2.0 / 1.55 * (k - 13)) ** 2 < 81
    radius = np.hypot(i - 15, j - 24)
    shell = (radius < 6) & (radius > 3) & (k > 9.5) & (k < 16.5)
    for drawn, body in zip(mapped.ROIContourSequence, (ball, shell), strict=False):
        mask = contour_mask(drawn)
        dice = 2 * (mask & body).sum() / (mask.sum() + body.sum())
        assert dice > 0.95
        moved = np.subtract(ndimage.center_of_mass(mask), ndimage.center_of_mass(body))
        assert np.abs(moved * FIXED.spacing_mm).max() < 0.2


def test_a_dose_keeps_its_gray(folder, capsys):
    assert apply(folder, "--dose", folder / "RD.dcm", "--output", folder / "dose.nii.gz") == 0
    assert "Gy" in capsys.readouterr().err
    transform = sitk.ReadTransform(str(folder / "t.tfm"))
    read = read_any(folder / "dose.nii.gz")
    seen = 0
    for voxel in np.random.default_rng(5).integers(0, FIXED.shape, (80, 3)).tolist():
        place = transform.TransformPoint((FIXED.index_to_ras([voxel])[0] * (-1, -1, 1)).tolist())
        i, j, k = MOVING.ras_to_index([np.multiply(place, (-1, -1, 1))])[0]
        if (np.array((i, j, k)) >= 0).all() and (np.array((i, j, k)) <= np.array(MOVING.shape) - 1).all():
            assert read.data[tuple(voxel)] == pytest.approx(20 + 0.8 * i - 0.3 * j + 0.5 * k, abs=2e-3)
            seen += 1
    assert seen > 20


def test_a_dose_as_dicom(folder):
    assert apply(folder, "--dose", folder / "RD.dcm", "--output", folder / "dose.dcm", "--overwrite") == 0
    assert apply(folder, "--dose", folder / "RD.dcm", "--output", folder / "dose.mha", "--overwrite") == 0
    made = pydicom.dcmread(folder / "dose.dcm")
    assert (made.DoseUnits, made.FrameOfReferenceUID) == ("GY", uid("frame of fixed"))
    values = (made.pixel_array * float(made.DoseGridScaling)).transpose(2, 1, 0)
    np.testing.assert_allclose(values, read_any(folder / "dose.mha").data, atol=1e-4)
    geometry = sitk.ReadImage(str(folder / "dose.dcm"))  # an independent reader of where it lies
    expected = sitk.ReadImage(str(folder / "dose.mha"))
    np.testing.assert_allclose(geometry.GetOrigin(), expected.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(geometry.GetSpacing(), expected.GetSpacing(), atol=1e-4)
    np.testing.assert_allclose(geometry.GetDirection(), expected.GetDirection(), atol=1e-5)
    from dinoreg.desk.dicom.dose import read_dose

    assert read_dose(folder / "dose.dcm").grid.matches(FIXED)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--rtstruct", "RD.dcm", "--moving", "moving", "--output", "x.dcm"), 3, "not a structure set"),
        (("--rtstruct", "t.tfm", "--moving", "moving", "--output", "x.dcm"), 3, "not a structure set"),
        (("--rtstruct", "RS.dcm", "--moving", "fixed", "--output", "x.dcm"), 3, "no such DICOM series"),
        (("--rtstruct", "RS.dcm", "--output", "x.dcm"), 2, "no --moving"),
        (("--rtstruct", "RS.dcm", "--moving", "moving", "--output", "x.nii.gz"), 2, "written as DICOM"),
        (("--image", "RD.dcm", "--output", "x.nii.gz"), 3, "use --dose"),
        (("--dose", "RS.dcm", "--output", "x.nii.gz"), 3, "cannot read"),
    ],
)
def test_bad_calls(words, code, message, folder, capsys):
    named = [str(folder / word) if (folder / word).exists() or "x." in word else word for word in words]
    assert apply(folder, *named) == code
    assert message in capsys.readouterr().err
    assert not list(folder.glob("x.*"))


def test_structures_off_the_slices_are_refused(folder, tmp_path, capsys):
    square = np.array([[3.0, 3], [8, 3], [8, 8], [3, 8]])
    write_structures(tmp_path / "RS.dcm", "moving", MOVING, {"liver": ((9, 9, 9), [(4.4, square)])})
    words = ["--rtstruct", tmp_path / "RS.dcm", "--moving", folder / "moving", "--output", tmp_path / "x.dcm"]
    assert apply(folder, *words) == 3
    assert "contours off the slices" in capsys.readouterr().err


def test_the_grids_are_not_the_same():
    assert not FIXED.matches(MOVING)
    assert GRIDS["oblique"].shape != FIXED.shape
