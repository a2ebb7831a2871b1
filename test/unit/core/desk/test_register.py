import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from desk_scans import SHIFT_MM
from scipy import ndimage

import dinoreg
from dinoreg.cli.main import main
from dinoreg.desk.images import from_itk, read_any, to_itk
from dinoreg.desk.transforms import invert, make_transform, transform_points
from dinoreg.preprocess import blank_ends
from regtask.grid import Grid

# RAS to LPS turns the signs of the first two.
SHIFT_LPS = SHIFT_MM * (-1, -1, 1)
FAST = ("--set", "features.max_cells=60000", "--device", "cpu")


@pytest.fixture(scope="module")
def result(scans):
    return dinoreg.register(*scans.itk(), overrides=["features.max_cells=60000"], device="cpu")


def inner_points(scans, count=200):
    rng = np.random.default_rng(1)
    index = rng.uniform(0.3, 0.7, (count, 3)) * np.array(scans.fixed_grid.shape)
    return scans.fixed_grid.index_to_ras(index) * (-1, -1, 1)


def test_points_of_fixed_lead_to_moving(result, scans):
    points = inner_points(scans)
    moved = transform_points(result.transform, points)
    np.testing.assert_allclose(np.median(moved - points, axis=0), SHIFT_LPS, atol=0.4)
    assert np.linalg.norm(moved - points - SHIFT_LPS, axis=1).max() < 2.0


def test_the_warped_image_is_that_of_itk_and_like_fixed(result, scans):
    fixed, moving = scans.itk()
    warped = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, result.transform, sitk.sitkLinear, 0.0))
    inside = (slice(8, -8),) * 3
    np.testing.assert_allclose(result.warped[inside], warped.transpose(2, 1, 0)[inside], atol=1e-2)
    before = np.abs(from_itk(sitk.Resample(moving, fixed), "").data - scans.fixed)[inside].mean()
    assert np.abs(result.warped - scans.fixed)[inside].mean() < 0.2 * before
    assert result.verdict.grade == "good"


@pytest.mark.parametrize("turn", [0, 25], ids=["shifted", "turned"])
def test_two_crops_padded_to_grids_of_their_own(scans, turn, monkeypatch):
    """The padding is left out, on the common grid, and the way leads from fixed to moving as without it."""
    monkeypatch.setattr(blank_ends, "_LEAST_VIEW_MM", 10.0)  # these are small
    spacing = np.array((2.0, 2.2, 2.5))
    centre = spacing * (np.array(scans.fixed.shape) - 1) / 2
    a = np.radians(turn)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    # A place x of fixed, mm, lies at rotation (x - centre) + centre + SHIFT_MM in moving.
    offset = (centre - rotation.T @ (centre + SHIFT_MM)) / spacing
    moving = ndimage.affine_transform(
        scans.fixed, np.diag(1 / spacing) @ rotation.T @ np.diag(spacing), offset, order=1, mode="nearest"
    )

    def padded(values, margin):
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = -margin * spacing
        filled = np.pad(values, margin, constant_values=-40.0)
        return to_itk(filled, Grid(filled.shape, affine))

    overrides = ["features.max_cells=60000"]
    found = dinoreg.register(padded(scans.fixed, 5), padded(moving, 12), overrides=overrides, device="cpu")
    margins = np.array(found.registration.margins)  # of the grid that both were brought to
    assert ((margins == 12) | (margins == 13)).all()
    assert (found.linear is not None) == bool(turn)
    assert found.displacement.shape[:3] == tuple(n + 10 for n in scans.fixed.shape)
    index = np.random.default_rng(1).uniform(0.35, 0.65, (200, 3)) * scans.fixed.shape
    points = index * spacing
    expected = (points - centre) @ rotation.T + centre + SHIFT_MM
    moved = transform_points(found.transform, points * (-1, -1, 1)) * (-1, -1, 1)
    assert np.median(np.linalg.norm(moved - expected, axis=1)) < 0.7


def test_the_way_back(result, scans):
    inverse = result.inverse()
    assert inverse.residual_mm < 0.3  # between the voxels of moving, where it is interpolated, too
    points = inner_points(scans)
    there = transform_points(result.transform, points)
    np.testing.assert_allclose(transform_points(inverse.transform, there), points, atol=0.25)


def test_an_inverse_where_the_field_stretches(scans):
    """u' up to 1.2 along an axis: the undamped iteration does not converge there."""
    grid = scans.fixed_grid
    i = np.arange(40.0)
    profile = 6 * np.sin(i / 5)
    field = np.zeros((*grid.shape, 3), np.float32)
    field[..., 0] = profile[:, None, None]
    assert np.abs(np.gradient(profile)).max() > 1.1
    field[..., 0] *= 0.8  # no folds: determinant above 0.05
    inverse = invert(field, grid, grid, grid)
    forward = make_transform(field, grid, grid)
    index = np.stack(np.meshgrid(np.linspace(10, 28, 30), [18.0], [15.0], indexing="ij"), -1).reshape(-1, 3)
    points = grid.index_to_ras(index) * (-1, -1, 1)
    back = transform_points(inverse.transform, transform_points(forward, points))
    assert np.median(np.linalg.norm(back - points, axis=1)) < 0.3


@pytest.mark.parametrize("form", ["itk", "nibabel", "array"])
def test_every_form_of_an_image_is_the_same_volume(form, scans):
    source = {
        "itk": to_itk(scans.moving, scans.moving_grid),
        "nibabel": nib.Nifti1Image(scans.moving, scans.moving_grid.affine),
        "array": (scans.moving, scans.moving_grid.affine),
    }[form]
    volume = read_any(source)
    np.testing.assert_array_equal(volume.data, scans.moving)
    assert volume.grid.matches(scans.moving_grid)


def test_one_command(files, tmp_path, capsys):
    points = tmp_path / "p.csv"
    points.write_text("name,x,y,z\na,1.0,2.0,-3.0\n")
    command = ["register", "--fixed", files / "fixed.nii.gz", "--moving", files / "moving.mha"]
    command += ["--labels", files / "organs.nrrd", "--points", points, "--space", "lps", "--inverse"]
    out = tmp_path / "out"
    assert main([str(word) for word in (*command, "--output", out, *FAST)]) == 0
    facts = json.loads((out / "register.json").read_text())
    assert facts["verdict"] == "good"
    assert facts["machine"]["kernels"] == "numba"
    assert set(facts["inputs"]) == {"fixed", "moving", "labels_organs.nii.gz", "points_p.csv"}
    assert all((out / name).is_file() for name in facts["files"])
    labels = sitk.ReadImage(str(out / "labels_organs.nii.gz"))
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert labels.GetSize() == sitk.ReadImage(str(files / "fixed.nii.gz")).GetSize()
    assert sitk.ReadImage(str(out / "warped.nii.gz")).GetPixelID() == sitk.sitkFloat32
    transform = sitk.ReadTransform(str(out / "transform.h5"))
    there = transform.TransformPoint((1.0, 2.0, -3.0))
    np.testing.assert_allclose(np.subtract(there, (1.0, 2.0, -3.0)), SHIFT_LPS, atol=1.0)
    name, *written = (out / "points_p.csv").read_text().splitlines()[1].split(",")
    assert name == "a"
    np.testing.assert_allclose([float(v) for v in written], there, atol=1e-4)
    assert "data:image/png;base64," in (out / "report.html").read_text()
    assert main([str(word) for word in (*command, "--output", out, *FAST)]) == 4
    assert "--overwrite" in capsys.readouterr().err


def test_apply_does_what_register_did(files, tmp_path, result):
    from dinoreg.desk.transforms import write_transform

    write_transform(tmp_path / "t.h5", result.transform)
    common = ["apply", "--transform", tmp_path / "t.h5", "--reference", files / "fixed.nii.gz"]
    words = [*common, "--labels", files / "organs.nrrd", "--output", tmp_path / "o.mha"]
    assert main([str(word) for word in words]) == 0
    written = sitk.ReadImage(str(tmp_path / "o.mha"))
    assert written.GetPixelID() == sitk.sitkUInt8
    expected = result.apply(files / "organs.nrrd", labels=True).data
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written).transpose(2, 1, 0), expected)


BOTH = ("--fixed", "{files}/fixed.nii.gz", "--moving", "{files}/moving.mha")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--fixed", "none.nii.gz", "--moving", "{files}/moving.mha"), 3, "no such file"),
        (("--fixed", "{files}/fixed.nii.gz", "--moving", "{files}"), 3, "no DICOM series"),
        (("--fixed", "{files}/fixed.nii.gz", "--moving", "{files}/text.nrrd"), 3, "cannot read"),
        (("--fixed", "{files}/fixed.nii.gz", "--moving", "{files}/colour.nrrd"), 3, "one value per voxel"),
        (("--fixed", "{files}/fixed.nii.gz", "--moving", "{files}/four.nii.gz"), 3, "not a single volume"),
        ((*BOTH, "--preset", "mnd"), 2, "did you mean mind"),
        ((*BOTH, "--points", "{files}/p.csv"), 2, "which space"),
        ((*BOTH, "--points", "{files}/none.fcsv"), 3, "cannot read"),
        ((*BOTH, "--labels", "{files}/fixed.nii.gz"), 3, "not a label map"),
        ((*BOTH, "--image", "{files}/none.nii.gz"), 3, "no such file"),
        ((*BOTH, "--labels", "{files}/organs.nrrd", "{files}/more/organs.nrrd"), 2, "two files of one name"),
        ((*BOTH, "--moving-mask", "{files}/far.nrrd"), 3, "mask without a voxel inside"),
        ((*BOTH, "--set", "adam.0.iteration=3"), 2, "did you mean iterations"),
        ((*BOTH, "--device", "cuda:99"), 5, "no such GPU"),
    ],
)
def test_bad_calls(words, code, message, files, scans, tmp_path, capsys):
    """Each is found before anything is registered."""
    (files / "text.nrrd").write_text("no image")
    (files / "p.csv").write_text("1,2,3\n")
    colour = np.zeros((4, 5, 6, 3), np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(files / "colour.nrrd"))
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 2), np.float32), np.eye(4)), files / "four.nii.gz")
    far = Grid((5, 5, 5), np.diag([1.0, 1, 1, 1]) + np.array([[0, 0, 0, 5000.0]] * 3 + [[0] * 4]))
    sitk.WriteImage(to_itk(np.ones((5, 5, 5), np.uint8), far), str(files / "far.nrrd"))
    words = [word.format(files=files) for word in words]
    found = main(["register", *FAST, *words, "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().err
    assert found == code, printed
    assert message in printed
    assert "INFO adam" not in printed
    assert not (tmp_path / "out" / "register.json").exists()
