"""File names: which are missing, surplus, or of the wrong generation."""

import zipfile
from pathlib import Path

import pytest

from regeval.checking.files import check_names
from regeval.inputs.submission import open_submission
from regtask import Pair


def pair(fixed="0001_0000", moving="0002_0000"):
    return Pair.of(*(Path(f"imagesTr/Knee_{name}.nii.gz") for name in (fixed, moving)))


def judged(folder, names, *pairs):
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return check_names(pairs or (pair(),), open_submission(folder))


@pytest.mark.parametrize("suffix", [".nii.gz", ".npz"])
def test_long_names_are_right(tmp_path, suffix):
    naming = judged(tmp_path, [f"disp_0001_0000_0002_0000{suffix}"])
    assert naming.faults == ()
    assert list(naming.fields.values()) == [f"disp_0001_0000_0002_0000{suffix}"]
    assert ["disp_0001_0002.nii.gz" in note for note in naming.notes] == [True]


@pytest.mark.parametrize(
    ("fixed", "moving", "accepted", "old"),
    [
        ("0003_0000", "0003_0001", True, True),
        ("0001_0000", "0002_0000", False, True),
        ("0011_0001", "0011_0000", False, False),
    ],
)
def test_short_names(tmp_path, fixed, moving, accepted, old):
    short = f"disp_{fixed[:4]}_{moving[:4]}.nii.gz"
    naming = judged(tmp_path, [short], pair(fixed, moving))
    assert list(naming.fields.values()) == [short]
    if accepted:
        assert naming.faults == ()
    else:
        (fault,) = naming.faults
        assert fault.what == "short name where the long one is due"
        assert fault.expected == f"disp_{fixed}_{moving}.nii.gz"
        assert ("2024" in fault.remedy) == old


def test_both_names_are_right(tmp_path):
    naming = judged(tmp_path, ["disp_0001_0000_0002_0000.nii.gz", "disp_0001_0002.nii.gz"])
    assert (naming.faults, naming.notes) == ((), ())


def test_missing_and_surplus(tmp_path):
    names = ["disp_0001_0000_0002_0000.nii.gz", "disp_0009_0000_0008_0000.nii.gz", "manifest.json"]
    naming = judged(tmp_path, names, pair(), pair("0003_0000", "0004_0000"))
    missing, surplus = naming.faults
    assert (missing.what, missing.expected) == ("missing file", "disp_0003_0000_0004_0000.nii.gz")
    assert "0003_0000<--0004_0000" in missing.where
    assert (surplus.what, surplus.where) == ("surplus file", names[1])
    assert any("manifest.json" in note for note in naming.notes)


def test_fixed_and_moving_exchanged(tmp_path):
    naming = judged(tmp_path, ["disp_0002_0000_0001_0000.nii.gz"])
    assert [fault.what for fault in naming.faults] == ["missing file", "surplus file"]
    assert "fixed image comes first" in naming.faults[1].remedy


def test_two_files_for_one_field(tmp_path):
    (fault,) = judged(tmp_path, [f"disp_0001_0000_0002_0000{end}" for end in (".npz", ".nii.gz")]).faults
    assert fault.what == "two files for one field"
    assert ".npz is read" in fault.remedy


def test_uncompressed_nifti_is_not_found_by_evaluators(tmp_path):
    (fault,) = judged(tmp_path, ["disp_0001_0000_0002_0000.nii"]).faults
    assert fault.what == "file not found by official evaluators"


def test_folder_within(tmp_path):
    naming = judged(tmp_path, ["results/disp_0001_0000_0002_0000.nii.gz"])
    assert naming.faults == ()
    assert any("in the folder 'results'" in note for note in naming.notes)


def test_zip(tmp_path):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("disp_0001_0000_0002_0000.nii.gz", b"x")
        archive.writestr("../disp_0003_0000_0004_0000.nii.gz", b"x")
    naming = check_names((pair(), pair("0003_0000", "0004_0000")), open_submission(path))
    assert naming.fields == {pair(): "disp_0001_0000_0002_0000.nii.gz"}
    assert "missing file" in [fault.what for fault in naming.faults]
    assert len(naming.faults) > 1  # the escape is told, too
