"""Folders of DICOM slices: what makes a volume is read whole, what does not is refused by name."""

import json

import numpy as np
import pytest
from dicom_files import MR, uid, write_dose, write_enhanced, write_series, write_structures
from exchange_fields import GRIDS

from dinoreg.cli.main import main
from dinoreg.desk.images import read_any
from regtask.errors import DataError

GRID = GRIDS["oblique"]
STORED = np.random.default_rng(0).integers(0, 2000, GRID.shape).astype(np.int16)


@pytest.mark.parametrize("grid", ["oblique", "anisotropic", "flipped"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, 5), (0.37, 0)])
def test_a_series_is_read_in_its_place(grid, slope, intercept, tmp_path):
    grid = GRIDS[grid]
    stored = np.random.default_rng(1).integers(-900, 2000, grid.shape).astype(np.int16)
    read = read_any(write_series(tmp_path / "ct", stored, grid, slope=slope, intercept=intercept))
    at = np.random.default_rng(2).integers(0, grid.shape, (50, 3))
    # Slices run with the normal of their rows and columns: a left-handed grid comes the other way round.
    index = np.rint(read.grid.ras_to_index(grid.index_to_ras(at))).astype(int)
    np.testing.assert_allclose(read.grid.index_to_ras(index), grid.index_to_ras(at), atol=1e-4)
    expected = stored[tuple(at.T)] * slope + intercept
    np.testing.assert_allclose(read.data[tuple(index.T)], expected, atol=1e-3)


def test_slopes_may_differ_from_slice_to_slice(tmp_path):
    import pydicom

    folder = write_series(tmp_path / "pet", STORED, GRID, slope=1, intercept=0)
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        made.RescaleSlope = 1 + 0.25 * made.InstanceNumber
        made.save_as(path)
    expected = STORED * (1 + 0.25 * np.arange(1, GRID.shape[2] + 1))
    np.testing.assert_allclose(read_any(folder).data, expected, rtol=1e-5)


def test_an_empty_slope_is_one(tmp_path):
    """Some exporters leave the element without a value."""
    import pydicom

    folder = write_series(tmp_path / "mr", STORED, GRID, slope=1, intercept=0)
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        made.RescaleSlope = made.RescaleIntercept = None
        made.save_as(path)
    np.testing.assert_array_equal(read_any(folder).data, STORED)


def test_other_files_beside_a_series_are_no_series(tmp_path):
    folder = write_series(tmp_path / "ct", STORED, GRID)
    square = np.array([[3.0, 3], [8, 3], [8, 8], [3, 8]])
    write_structures(folder / "RS.dcm", "ct", GRID, {"liver": ((9, 9, 9), [(4, square)])})
    write_dose(folder / "RD.dcm", np.ones(GRID.shape, np.uint32), GRID, 1e-3)
    (folder / "notes.txt").write_text("nothing")
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    assert read_any(folder).grid.matches(GRID)


def test_several_series_are_listed(tmp_path):
    folder = write_series(tmp_path / "scans", STORED, GRID, "early")
    write_series(folder, STORED // 2, GRID, "late", sop_class=MR)
    with pytest.raises(DataError) as caught:
        read_any(folder, option="--fixed-series")
    message = str(caught.value)
    assert "--fixed-series UID" in message
    for name, kind in (("early", "CT"), ("late", "MR")):
        assert f"{uid(name)} ({kind} {name} series, 14 files)" in message
    np.testing.assert_array_equal(read_any(folder, series=uid("late")).data, STORED // 2 - 1024.0)
    with pytest.raises(DataError, match="no such DICOM series"):
        read_any(folder, series="1.2.3")


def missing(folder):
    write_series(folder, STORED, GRID, slices=[k for k in range(14) if k not in (6, 7)])


def uneven(folder):
    write_series(folder, STORED, GRID, places={k: k if k < 7 else k + 0.4 * (k - 7) for k in range(14)})


def doubled(folder):
    write_series(folder, STORED, GRID)
    write_again(folder)


def tilted(folder):
    change(folder, lambda made, k: move(made, 0.3 * k))


def turned(folder):
    change(folder, lambda made, k: k != 3 or setattr(made, "ImageOrientationPatient", [1, 0, 0, 0, 1, 0]))


def resized(folder):
    change(folder, lambda made, k: k != 3 or setattr(made, "PixelSpacing", [3, 3]))


def placeless(folder):
    change(folder, lambda made, k: delattr(made, "ImagePositionPatient"))


def unplaced(folder):
    change(folder, lambda made, k: k != 4 or setattr(made, "ImagePositionPatient", None))


def flat_places(folder):
    change(folder, lambda made, k: k != 4 or setattr(made, "ImagePositionPatient", [1, 2]))


def endless_places(folder):
    change(folder, lambda made, k: k != 4 or setattr(made, "ImagePositionPatient", [1, 2, "1e999"]))


def unturned(folder):
    change(folder, lambda made, k: k != 4 or setattr(made, "ImageOrientationPatient", None))


def unsized(folder):
    change(folder, lambda made, k: k != 4 or setattr(made, "PixelSpacing", None))


def move(made, mm):
    row = np.array(made.ImageOrientationPatient[:3], float)
    made.ImagePositionPatient = (np.array(made.ImagePositionPatient, float) + mm * row).tolist()


def change(folder, how):
    import pydicom

    write_series(folder, STORED, GRID)
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        how(made, made.InstanceNumber - 1)
        made.save_as(path)


def write_again(folder):
    import pydicom

    for number, path in enumerate(sorted(folder.iterdir())):
        made = pydicom.dcmread(path)
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid(f"again {number}")
        made.save_as(folder / f"again_{number}.dcm")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "2 missing slices"),
        (uneven, "slices unevenly spaced"),
        (doubled, "several slices at one place"),
        (tilted, "gantry tilt"),
        (turned, "slices turned"),
        (resized, "several sizes"),
        *[
            (make, "do not say where they lie")
            for make in (placeless, unplaced, flat_places, endless_places, unturned, unsized)
        ],
    ],
)
def test_what_is_not_one_volume_is_refused(make, message, tmp_path, capsys):
    make(tmp_path / "ct")
    words = ["register", "--fixed", str(tmp_path / "ct"), "--moving", str(tmp_path / "ct")]
    assert main([*words, "--output", str(tmp_path / "out")]) == 3
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_a_missing_slice_is_named(tmp_path):
    missing(tmp_path / "ct")
    first = GRID.index_to_ras([[0, 0, 5]])[0] * (-1, -1, 1)
    lps = GRID.affine[:3, :3] * np.array([[-1], [-1], [1]]) / GRID.spacing_mm
    place = first @ np.cross(lps[:, 0], lps[:, 1])
    with pytest.raises(DataError, match=f"{place:.2f} to {place + 3 * 2.5:.2f} mm"):
        read_any(tmp_path / "ct")


def test_a_multi_frame_file(tmp_path):
    """Enhanced CT: position, spacing and rescaling in functional groups."""
    write_enhanced(tmp_path / "ct", STORED, GRID, slope=2, intercept=-1000)
    read = read_any(tmp_path / "ct")
    assert read.grid.matches(GRID, tolerance_mm=0.01)
    np.testing.assert_array_equal(read.data, 2.0 * STORED - 1000)


def test_one_folder_may_hold_the_series_of_all(tmp_path):
    """What is noted of each is the series that it was read from, so that the report shows the same."""
    study = tmp_path / "study"
    labels = (STORED > 1000).astype(np.int16)
    for name, values in (("planning", STORED), ("second", STORED + 5), ("drawn", labels)):
        write_series(study, values, GRID, name, intercept=0)
    words = ["register", "--preset", "identity", "--fixed", study, "--fixed-series", uid("planning")]
    words += ["--moving", study, "--moving-series", uid("second"), "--output", tmp_path / "out"]
    words += ["--labels", study, "--series", uid("drawn")]
    assert main([str(word) for word in words]) == 0
    inputs = json.loads((tmp_path / "out" / "register.json").read_text())["inputs"]
    noted = {role: one["series"] for role, one in inputs.items()}
    assert noted == {
        "fixed": uid("planning"),
        "moving": uid("second"),
        "labels_study.nii.gz": uid("drawn"),
    }
    assert main(["report", str(tmp_path / "out")]) == 0


def test_what_comes_along_with_register_may_be_one_of_several_series(tmp_path):
    """Image, label map and mask in folders of two series each, told by --series, and shown again."""
    labels = (STORED > 1000).astype(np.int16)
    scan = write_series(tmp_path / "scan", STORED, GRID)
    for name, values in (("pet", STORED // 3), ("drawn", labels), ("body", np.ones_like(STORED))):
        write_series(tmp_path / name, values, GRID, f"{name} one", intercept=0)
        write_series(tmp_path / name, 0 * values, GRID, f"{name} two", intercept=0)
    words = [
        "register",
        "--preset",
        "identity",
        "--fixed",
        scan,
        "--moving",
        scan,
        "--output",
        tmp_path / "out",
    ]
    words += ["--image", tmp_path / "pet", "--labels", tmp_path / "drawn", "--fixed-mask", tmp_path / "body"]
    words += ["--series", *(uid(f"{name} one") for name in ("pet", "drawn", "body"))]
    assert main([str(word) for word in words]) == 0
    np.testing.assert_array_equal(read_any(tmp_path / "out" / "labels_drawn.nii.gz").data, labels)
    np.testing.assert_allclose(read_any(tmp_path / "out" / "image_pet.nii.gz").data, STORED // 3)
    inputs = json.loads((tmp_path / "out" / "register.json").read_text())["inputs"]
    assert inputs["labels_drawn.nii.gz"]["series"] == uid("drawn one")
    assert inputs["fixed_mask"]["series"] == uid("body one")
    assert inputs["moving"]["series"] == ""
    assert main(["report", str(tmp_path / "out")]) == 0
