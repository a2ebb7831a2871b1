"""`dinoreg transform`, as it is called."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from exchange_fields import GRIDS, assert_same, inner_points, lead, rigid, wavy_transform

from dinoreg.cli.main import main
from dinoreg.desk.exchange.derivative import derivatives
from dinoreg.desk.images import to_itk

FIXED, MOVING = GRIDS["oblique"], GRIDS["flipped"]
ON_SCANS = ("--moving", "moving.mha", "--fixed", "fixed.nii.gz")


@pytest.fixture
def folder(tmp_path):
    sitk.WriteTransform(wavy_transform(FIXED), str(tmp_path / "warp.h5"))
    sitk.WriteTransform(rigid(), str(tmp_path / "rigid.tfm"))
    flat = sitk.AffineTransform(3)
    flat.SetMatrix((1, 0, 0, 0, 0, 0, 0, 0, 1))
    sitk.WriteTransform(flat, str(tmp_path / "flat.tfm"))
    for name, grid in (("fixed.nii.gz", FIXED), ("moving.mha", MOVING)):
        sitk.WriteImage(to_itk(np.ones(grid.shape, np.uint8), grid), str(tmp_path / name))
    return tmp_path


def call(folder, *words):
    named = [str(folder / word) if "." in word and not word[0].isdigit() else word for word in words]
    return main(["transform", *named])


def test_info(folder, capsys):
    assert call(folder, "info", "warp.h5", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parts"][0]["lattice"] == list(FIXED.shape)
    assert facts["displacement_mm"]["median"] == pytest.approx(np.sqrt(83), abs=2)
    assert facts["defined_percent"] == 100
    assert facts["jacobian_determinant"]["folded_percent"] == 0
    assert call(folder, "info", "rigid.tfm") == 0
    printed = capsys.readouterr().out
    assert "rotation degrees: 16." in printed
    assert "mirrored: False" in printed


def test_info_says_how_much_of_an_image_it_covers(folder, capsys):
    assert call(folder, "info", "warp.h5", "--fixed", "moving.mha", "--json") == 0
    assert json.loads(capsys.readouterr().out)["defined_percent"] < 90


def test_convert(folder, capsys):
    assert call(folder, "convert", "--transform", "warp.h5", "--output", "warp.nii.gz") == 0
    assert "stored exactly" in capsys.readouterr().err
    assert call(folder, "convert", "--transform", "warp.nii.gz", "--output", "half.h5", "--stride", "2") == 0
    assert "mm from the original (at the voxels of fixed" in capsys.readouterr().err
    assert (folder / "half.h5").stat().st_size < 0.5 * (folder / "warp.h5").stat().st_size
    words = ["--moving", "moving.mha", "--dtype", "float16"]
    assert call(folder, "convert", "--transform", "warp.h5", "--output", "warp.npz", *words) == 0
    words = ["--fixed", "fixed.nii.gz", "--moving", "moving.mha"]
    assert call(folder, "convert", "--transform", "warp.npz", "--output", "again.tfm", *words) == 0
    assert_same(sitk.ReadTransform(str(folder / "again.tfm")), wavy_transform(FIXED), FIXED, voxels=0.02)


def test_invert(folder, capsys):
    words = ["--transform", "warp.h5", "--moving", "fixed.nii.gz", "--output", "back.h5"]
    assert call(folder, "invert", *words) == 0
    assert "places of moving end at most" in capsys.readouterr().err
    back, points = sitk.ReadTransform(str(folder / "back.h5")), inner_points(FIXED, margin=0.4)
    np.testing.assert_allclose(lead(back, lead(wavy_transform(FIXED), points)), points, atol=0.05)
    assert call(folder, "invert", *words, "--overwrite", "--limit-mm", "1e-7") == 6
    printed = capsys.readouterr().err
    assert "the inverse misses" in printed
    assert "LPS mm" in printed
    assert back.GetParameters() == sitk.ReadTransform(str(folder / "back.h5")).GetParameters()


def test_invert_where_it_matters(folder):
    """A fold makes exit code 6, unless the mask leaves it out."""
    field = sitk.DisplacementFieldTransform(wavy_transform(FIXED)).GetDisplacementField()
    values = sitk.GetArrayFromImage(field)
    values[7, 10, 6:10, 0] += (8, 3, -3, -8)
    folded = sitk.GetImageFromArray(values, isVector=True)
    folded.CopyInformation(field)
    sitk.WriteTransform(sitk.DisplacementFieldTransform(folded), str(folder / "folded.h5"))
    mask = np.ones(FIXED.shape, np.uint8)
    mask[3:13, 7:14, 4:11] = 0
    sitk.WriteImage(to_itk(mask, FIXED), str(folder / "mask.nrrd"))
    words = ["--transform", "folded.h5", "--moving", "fixed.nii.gz", "--output", "back.h5"]
    assert call(folder, "invert", *words) == 6
    assert not (folder / "back.h5").exists()
    assert call(folder, "invert", *words, "--mask", "mask.nrrd") == 0


def test_compose(folder):
    assert call(folder, "compose", "--transform", "warp.h5", "rigid.tfm", "--output", "both.h5") == 0
    points = inner_points(FIXED)
    expected = lead(rigid(), lead(wavy_transform(FIXED), points))
    np.testing.assert_allclose(lead(sitk.ReadTransform(str(folder / "both.h5")), points), expected, atol=1e-6)


def test_jacobian(folder, capsys):
    words = ["--output", "det.nii.gz", "--strain", "strain.nrrd", "--principal", "principal.mha"]
    assert call(folder, "jacobian", "--transform", "warp.h5", *words) == 0
    assert "folded percent: 0.0" in capsys.readouterr().out
    image = sitk.ReadImage(str(folder / "det.nii.gz"))
    expected = derivatives(wavy_transform(FIXED), FIXED, strain=True)
    np.testing.assert_allclose(sitk.GetArrayFromImage(image).transpose(2, 1, 0), expected.determinant)
    strain = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "strain.nrrd")))
    np.testing.assert_allclose(strain.transpose(2, 1, 0, 3), expected.strain)
    assert sitk.ReadImage(str(folder / "principal.mha")).GetNumberOfComponentsPerPixel() == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("info", "none.h5"), 3, "cannot read"),
        (("convert", "--transform", "rigid.tfm", "--output", "t.nii.gz"), 2, "name --fixed"),
        (("convert", "--transform", "warp.h5", "--output", "t.npz"), 2, "name --moving"),
        (("convert", "--transform", "warp.h5", "--output", "t.png"), 4, "unknown form"),
        (("convert", "--transform", "fixed.nii.gz", "--output", "t.h5"), 3, "field of wrong rank"),
        (("convert", "--transform", "warp.h5", "--output", "warp.h5"), 4, "--overwrite"),
        (("convert", "--transform", "warp.h5", "--output", "t.txt"), 3, "elastix has no parameters"),
        (("invert", "--transform", "warp.h5", "--output", "t.h5"), 2, "name --moving"),
        (("invert", "--transform", "flat.tfm", *ON_SCANS, "--output", "t.h5"), 3, "without an inverse"),
        (("jacobian", "--transform", "rigid.tfm", "--output", "t.nrrd"), 2, "name --fixed"),
        (("compose", "--transform", "warp.h5", "none.h5", "--output", "t.h5"), 3, "cannot read"),
    ],
)
def test_bad_calls(words, code, message, folder, capsys):
    before = sorted(folder.iterdir())
    found = call(folder, *words)
    printed = capsys.readouterr().err
    assert found == code, printed
    assert message in printed
    assert sorted(folder.iterdir()) == before
