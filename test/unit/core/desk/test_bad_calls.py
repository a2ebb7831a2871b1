"""Calls that cannot work: each ends with its exit code and says why, and nothing is written or registered."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import uid, write_series
from exchange_fields import overlapping, wavy_transform

from dinoreg.cli.main import main
from dinoreg.desk.images import to_itk
from regtask.grid import Grid

SCANS = ("--fixed", "fixed.nii.gz", "--moving", "moving.mha")
APPLY = ("apply", "--transform", "t.h5", "--reference", "fixed.nii.gz", "--output", "out.nii.gz")
IMAGE = ("--image", "moving.mha")


def bare(*without):
    """APPLY without some options and their values."""
    words = list(APPLY)
    for name in without:
        at = words.index(name)
        del words[at : at + 2]
    return tuple(words)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Good files and bad ones."""
    folder = tmp_path_factory.mktemp("calls")
    fixed, moving = overlapping("oblique", "flipped")
    rng = np.random.default_rng(0)

    def save(name, values, grid):
        sitk.WriteImage(to_itk(values, grid), str(folder / name))

    save("fixed.nii.gz", rng.normal(0, 1, fixed.shape).astype(np.float32), fixed)
    values = rng.integers(0, 9, moving.shape).astype(np.int16)
    save("moving.mha", values, moving)
    turned = np.array(moving.affine)
    turned[:3, 3] += (moving.shape[1] - 1) * turned[:3, 1]
    turned[:3, 1] *= -1
    save("mirrored.nii.gz", values, Grid(moving.shape, turned))
    far = np.array(moving.affine)
    far[:3, 3] += 4000
    save("far.nrrd", np.ones((5, 6, 7), np.uint8), Grid((5, 6, 7), far))
    save("far_reference.nrrd", np.ones((5, 6, 7), np.uint8), Grid((5, 6, 7), far))
    save("empty_labels.nrrd", np.zeros((6, 6, 6), np.uint8), Grid((6, 6, 6), moving.affine))
    save("real.nrrd", rng.normal(0, 1, (6, 6, 6)).astype(np.float32), Grid((6, 6, 6), moving.affine))
    sitk.WriteImage(
        sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(folder / "rgb.mha")
    )
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.float32), np.eye(4)), folder / "four.nii.gz")
    nib.save(nib.Nifti1Image(np.full((4, 5, 6), np.nan, np.float32), np.eye(4)), folder / "nan.nii.gz")
    nib.save(
        nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.diag((1, 1, 5e5, 1))), folder / "spacing.nii.gz"
    )
    whole = (folder / "fixed.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(gzip.compress(gzip.decompress(whole)[:5000]))
    (folder / "nothing.nii.gz").write_bytes(b"")
    (folder / "text.nii.gz").write_text("no image")
    (folder / "picture.png").write_text("no image")
    (folder / "p.csv").write_text("1,2,3\n")
    (folder / "far.csv").write_text("900,2,3\n")
    (folder / "far.fcsv").write_text("# CoordinateSystem = LPS\nv,900,2,3\n")
    (folder / "folder").mkdir()
    for name in ("early", "late"):
        write_series(folder / "two", np.zeros(fixed.shape, np.int16), fixed, name)
    sitk.WriteTransform(wavy_transform(fixed), str(folder / "t.h5"))
    sitk.WriteTransform(sitk.Euler2DTransform(), str(folder / "flat.tfm"))
    (folder / "old").mkdir()
    (folder / "old" / "register.json").write_text("{}")
    return folder


CALLS = [
    # register: scans
    (("register", "--fixed", "text.nii.gz", "--moving", "moving.mha"), 3, "suffix does not fit the content"),
    (("register", "--fixed", "nothing.nii.gz", "--moving", "moving.mha"), 3, "empty file"),
    (("register", "--fixed", "cut.nii.gz", "--moving", "moving.mha"), 3, "file ends too early"),
    (("register", "--fixed", "four.nii.gz", "--moving", "moving.mha"), 3, "not a single volume"),
    (("register", "--fixed", "rgb.mha", "--moving", "moving.mha"), 3, "one value per voxel"),
    (("register", "--fixed", "nan.nii.gz", "--moving", "moving.mha"), 3, "not finite"),
    (("register", "--fixed", "spacing.nii.gz", "--moving", "moving.mha"), 3, "impossible voxel size"),
    (("register", "--fixed", "two", "--moving", "moving.mha"), 3, "--fixed-series UID"),
    (("register", "--fixed", "fixed.nii.gz", "--moving", "two"), 3, "--moving-series UID"),
    (
        ("register", "--fixed", "two", "--fixed-series", "1.2", "--moving", "moving.mha"),
        3,
        "no such DICOM series",
    ),
    (("register", "--fixed", "folder", "--moving", "moving.mha"), 3, "no DICOM series"),
    *(
        (("register", *SCANS, option, "two"), 3, "name one with --series UID")
        for option in ("--image", "--labels", "--fixed-mask", "--moving-mask")
    ),
    (("register", *SCANS, "--image", "two", "--series", "1.2"), 2, "--fixed-series and --moving-series"),
    (
        ("register", *SCANS, "--image", "two", "--series", uid("early"), uid("late")),
        3,
        "two series of one DICOM folder",
    ),
    (("register", "--fixed", "picture.png", "--moving", "moving.mha"), 3, "cannot read"),
    (("register", "--fixed", "p.csv", "--moving", "moving.mha"), 3, "cannot read"),
    # register: what comes along, and the output
    (("register", *SCANS, "--labels", "mirrored.nii.gz"), 3, "header mirrored along j"),
    (("register", *SCANS, "--labels", "far.nrrd"), 3, "lies beside moving"),
    (("register", *SCANS, "--labels", "real.nrrd"), 3, "not a label map"),
    (("register", *SCANS, "--image", "far.nrrd"), 3, "lies beside moving"),
    (("register", *SCANS, "--points", "far.csv", "--space", "lps"), 3, "outside the fixed image"),
    (("register", *SCANS, "--points", "far.fcsv"), 3, "outside the fixed image"),
    (("register", *SCANS, "--fixed-mask", "far.nrrd"), 3, "mask without a voxel inside"),
    (("register", *SCANS, "--output", "old"), 4, "--overwrite"),
    (("register", *SCANS, "--output", "p.csv"), 4, "output folder not usable"),
    (("register", *SCANS, "--config", "p.csv"), 2, "p.csv"),
    # apply
    ((*APPLY, "--image", "mirrored.nii.gz", "--transform", "none.h5"), 3, "cannot read"),
    ((*APPLY, *IMAGE, "--transform", "moving.mha"), 3, "not a displacement image"),
    ((*APPLY, *IMAGE, "--transform", "flat.tfm"), 3, "2D"),
    ((*bare("--reference"), *IMAGE), 2, "no --reference"),
    ((*APPLY, *IMAGE, "--reference", "far_reference.nrrd"), 3, "the transform says nothing where"),
    ((*APPLY, "--image", "far.nrrd"), 3, "nothing of it comes to lie inside"),
    ((*APPLY, "--labels", "real.nrrd"), 3, "not a label map"),
    ((*APPLY, "--image", "rgb.mha"), 3, "one value per voxel"),
    ((*APPLY, "--image", "four.nii.gz"), 3, "not a single volume"),
    ((*APPLY, "--labels", "moving.mha", "--interpolation", "linear"), 2, "no such interpolation"),
    ((*APPLY, *IMAGE, "--interpolation", "smooth"), 2, "no such interpolation"),
    ((*APPLY, *IMAGE, "--space", "lps"), 2, "only points have a space"),
    ((*APPLY, *IMAGE, "--output", "out.jpeg2"), 4, "cannot write"),
    ((*APPLY, *IMAGE, "--output", "p.csv"), 4, "--overwrite"),
    ((*APPLY, "--points", "p.csv"), 2, "which space"),
    ((*APPLY, "--points", "far.csv", "--space", "ras"), 3, "outside the fixed image"),
    ((*APPLY, "--points", "far.fcsv"), 3, "outside the fixed image"),
    ((*APPLY, "--points", "p.csv", "--space", "voxel"), 2, "no --moving"),
    ((*APPLY, "--image", "two"), 3, "--series UID"),
]


@pytest.mark.parametrize(("words", "code", "message"), CALLS)
def test_bad_calls(words, code, message, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = sorted(str(path) for path in place.rglob("*"))
    if words[0] == "register" and "--output" not in words:
        words = (*words, "--output", str(tmp_path / "out"))
    found = main(list(words))
    printed = capsys.readouterr().err
    assert found == code, printed
    assert message in printed
    assert "INFO adam" not in printed
    assert "Traceback" not in printed
    assert sorted(str(path) for path in place.rglob("*")) == before
    assert not (tmp_path / "out" / "transform.h5").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("register", "--fixed", "fixed.nii.gz"),
        ("apply", "--transform", "t.h5", "--output", "o"),
        (*APPLY, *IMAGE, "--labels", "moving.mha"),
        ("transform",),
        ("transform", "convert", "--transform", "t.h5", "--output", "x.h5", "--to", "matlab"),
    ],
)
def test_words_that_make_no_call(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err
