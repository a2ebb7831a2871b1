"""`dinoreg apply`, as it is called: types kept, places right, and faults found before anything is written."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import uid, write_series
from exchange_fields import SHIFT_LPS, inner_points, lead, overlapping, wavy, wavy_transform

from dinoreg.cli.main import main
from dinoreg.desk.images import to_itk
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.physical import lps_to_voxels

FIXED, MOVING = overlapping("oblique", "flipped")


@pytest.fixture
def folder(tmp_path):
    sitk.WriteTransform(wavy_transform(FIXED), str(tmp_path / "transform.h5"))
    save(tmp_path / "fixed.nii.gz", np.ones(FIXED.shape, np.uint8), FIXED)
    save(tmp_path / "moving.mha", ramp(MOVING), MOVING)
    facts = {
        name: {"shape": grid.shape, "affine": grid.affine.tolist()}
        for name, grid in (("fixed", FIXED), ("moving", MOVING))
    }
    (tmp_path / "register.json").write_text(json.dumps({"grids": facts}))
    return tmp_path


def save(path, values, grid):
    sitk.WriteImage(to_itk(values, grid), str(path))


def ramp(grid):
    return np.add.reduce(np.indices(grid.shape)).astype(np.int16)


def apply(folder, *words):
    common = ["--transform", "transform.h5", "--reference", "fixed.nii.gz"]
    named = [
        str(folder / word) if word.endswith((".h5", ".gz", ".mha", ".nrrd", ".csv", ".fcsv")) else word
        for word in (*(c for c in common if "--transform" not in words or c not in common[:2]), *words)
    ]
    return main(["apply", *named])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("kind", ["--image", "--labels"])
def test_the_type_is_kept(kind, dtype, folder):
    values = (ramp(MOVING) % 100).astype(dtype)
    values[values == 99] = 200
    save(folder / "a.mha", values, MOVING)
    assert apply(folder, kind, "a.mha", "--output", "out.nrrd") == 0
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nrrd")))
    assert written.dtype == dtype
    if kind == "--labels":
        assert set(np.unique(written)) <= {0, *np.unique(values)}


@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz"])
def test_labels_above_the_precision_of_floats_stay_themselves(name, folder):
    values = np.full(MOVING.shape, 2**24 + 1, np.uint32)
    save(folder / name, values, MOVING)
    assert apply(folder, "--labels", name, "--output", "out.nrrd") == 0
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nrrd"))))) <= {0, 2**24 + 1}


def test_boundaries_of_labels_can_be_smooth(folder):
    """A ball on a coarse lattice, read on a fine one: nearer to the ball than by the nearest neighbour."""
    centre = FIXED.index_to_ras([(np.array(FIXED.shape) - 1) / 2])[0] * (-1, -1, 1)
    middle = lead(wavy_transform(FIXED), centre[None])[0]
    coarse = Grid((9, 9, 9), np.diag((4.0, 4, 4, 1)))
    affine = coarse.affine.copy()
    affine[:3, 3] = middle * (-1, -1, 1) - 16.0
    coarse = Grid(coarse.shape, affine)
    radius = np.linalg.norm(
        coarse.index_to_ras(np.indices((9, 9, 9)).reshape(3, -1).T) - affine[:3, 3] - 16, axis=1
    )
    save(folder / "ball.mha", (radius < 10).reshape(9, 9, 9).astype(np.uint8), coarse)
    there = lead(
        wavy_transform(FIXED), FIXED.index_to_ras(np.indices(FIXED.shape).reshape(3, -1).T) * (-1, -1, 1)
    )
    truth = (np.linalg.norm(there - middle, axis=1) < 10).reshape(FIXED.shape)
    wrong = {}
    for way in ("nearest", "smooth"):
        words = ["--labels", "ball.mha", "--interpolation", way, "--output", f"{way}.nrrd"]
        assert apply(folder, *words) == 0
        read = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{way}.nrrd"))).transpose(2, 1, 0)
        assert set(np.unique(read)) == {0, 1}
        wrong[way] = (read.astype(bool) != truth).sum()
    assert wrong["smooth"] < 0.8 * wrong["nearest"]


def test_what_was_written_is_said(folder, capsys):
    assert apply(folder, "--image", "moving.mha", "--output", "out.nrrd") == 0
    printed = capsys.readouterr().err
    assert "out.nrrd: 18 x 20 x 14 voxels, int16; it shows the image in" in printed


@pytest.mark.parametrize("name", ["p.csv", "p.fcsv"])
def test_points_go_where_images_come_from(name, folder):
    points = inner_points(FIXED, 5)
    rows = "\n".join(f"{'' if name == 'p.csv' else 'v,'}{x},{y},{z}" for x, y, z in points.tolist())
    head = "" if name == "p.csv" else "# CoordinateSystem = LPS\n"
    (folder / name).write_text(head + rows + "\n")
    space = ("--space", "lps") if name == "p.csv" else ()
    out = f"out.{name.split('.')[1]}"
    assert apply(folder, "--points", name, *space, "--output", out) == 0
    written = [line.split(",")[-3:] for line in (folder / out).read_text().splitlines() if line[0] != "#"]
    np.testing.assert_allclose(np.array(written, float), lead(wavy_transform(FIXED), points), atol=1e-5)


def test_points_in_voxels_end_in_voxels_of_moving(folder):
    (folder / "p.csv").write_text("9,10,7\n")
    words = ["--points", "p.csv", "--space", "voxel", "--moving", "moving.mha", "--output", "out.csv"]
    assert apply(folder, *words) == 0
    there = lead(wavy_transform(FIXED), FIXED.index_to_ras([[9, 10, 7]]) * (-1, -1, 1))
    expected = MOVING.ras_to_index(there * (-1, -1, 1))[0]
    written = (folder / "out.csv").read_text().strip().split(",")
    np.testing.assert_allclose(np.array(written, float), expected, atol=1e-5)


def shifted(affine, axis, voxels):
    moved = affine.copy()
    moved[:3, 3] += voxels * affine[:3, axis]
    return moved


def mirrored(affine, axis, size):
    turned = affine.copy()
    turned[:3, 3] += (size - 1) * affine[:3, axis]
    turned[:3, axis] *= -1
    return turned


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (mirrored(MOVING.affine, 0, MOVING.shape[0]), "header mirrored along i"),
        (mirrored(MOVING.affine, 2, MOVING.shape[2]), "header mirrored along k"),
        (shifted(MOVING.affine, 1, 3), "header in another place"),
    ],
)
def test_a_header_that_is_not_that_of_the_registered_image(affine, message, folder, capsys):
    save(folder / "a.mha", ramp(MOVING), Grid(MOVING.shape, affine))
    words = ["--image", "a.mha", "--output", "out.nrrd"]
    assert apply(folder, *words) == 3
    assert message in capsys.readouterr().err
    assert not (folder / "out.nrrd").exists()
    assert apply(folder, *words, "--other-header") == 0


def test_another_grid_of_moving_is_no_fault(folder):
    finer = Grid((40, 35, 36), MOVING.affine)
    save(folder / "a.mha", ramp(finer), finer)
    assert apply(folder, "--image", "a.mha", "--output", "out.nrrd") == 0


def test_a_reference_that_the_transform_covers_in_part_is_warned_of(folder, capsys):
    save(
        folder / "part.nii.gz", np.ones(FIXED.shape, np.uint8), Grid(FIXED.shape, shifted(FIXED.affine, 0, 9))
    )
    words = ["--image", "moving.mha", "--reference", "part.nii.gz", "--output", "out.nrrd"]
    assert apply(folder, *words) == 0
    assert "which moves nothing there" in capsys.readouterr().err


def test_every_form_of_transform_is_applied(folder):
    """The same image by ITK's file and by the displacement image made of it."""
    moved = [
        "transform",
        "convert",
        "--transform",
        folder / "transform.h5",
        "--output",
        folder / "1Warp.nii.gz",
    ]
    assert main([str(word) for word in moved]) == 0
    results = []
    for name in ("transform.h5", "1Warp.nii.gz"):
        words = [
            "--transform",
            name,
            "--reference",
            "fixed.nii.gz",
            "--image",
            "moving.mha",
            "--output",
            "out.nrrd",
        ]
        assert apply(folder, *words, "--overwrite") == 0
        results.append(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nrrd"))))
    np.testing.assert_allclose(results[0], results[1], atol=1)
    assert SHIFT_LPS.any()
    assert np.ptp(results[0]) > 10


def test_a_learn2reg_field_is_applied_as_warp_applies_it(folder, capsys):
    """Two programs of ours, torch and ITK: through scanner space, by the note or, without one, --moving."""
    voxels = lps_to_voxels(wavy(FIXED), FIXED, MOVING)
    write_field(folder / "noted.nii.gz", voxels, FIXED, MOVING)
    write_field(folder / "bare.nii.gz", voxels, FIXED)
    image = np.random.default_rng(7).normal(0, 100, MOVING.shape).astype(np.float32)
    save(folder / "noise.mha", image, MOVING)
    words = ["warp", "--field", folder / "noted.nii.gz", "--image", folder / "noise.mha"]
    assert main([str(word) for word in (*words, "--output", folder / "warped.nii.gz")]) == 0
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "warped.nii.gz")))
    common = ["--reference", "fixed.nii.gz", "--image", "noise.mha", "--output", "out.nrrd", "--overwrite"]
    for field, more in (("noted.nii.gz", ()), ("bare.nii.gz", ("--moving", "moving.mha"))):
        assert apply(folder, "--transform", field, *common, *more) == 0
        read = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nrrd")))
        same = (expected > image.min()) & (read > image.min())  # at the border either may call it outside
        assert same.mean() > 0.7
        np.testing.assert_allclose(read[same], expected[same], atol=0.1)
    assert apply(folder, "--transform", "bare.nii.gz", *common) == 2
    assert "name --moving" in capsys.readouterr().err


def test_moving_is_the_series_that_is_named(folder, capsys):
    """Voxels of moving count on its grid: of two series in a folder, on that of the one named."""
    late, early = (Grid((21, 17, 12), shifted(FIXED.affine, 0, voxels)) for voxels in (2, 5))
    write_field(folder / "bare.nii.gz", lps_to_voxels(wavy(FIXED), FIXED, late), FIXED)
    save(folder / "late.mha", ramp(late), late)
    for name, grid in (("early", early), ("late", late)):
        write_series(folder / "two", ramp(grid), grid, name)
    common = ["--transform", "bare.nii.gz", "--image", "moving.mha", "--other-header"]
    assert apply(folder, *common, "--moving", "late.mha", "--output", "one.nrrd") == 0
    two = ["--moving", str(folder / "two"), "--output", "two.nrrd"]
    assert apply(folder, *common, *two) == 3
    assert "--moving-series UID" in capsys.readouterr().err
    assert apply(folder, *common, *two, "--moving-series", uid("late")) == 0
    one, other = (sitk.ReadImage(str(folder / f"{name}.nrrd")) for name in ("one", "two"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


@pytest.mark.parametrize("kind", ["--image", "--labels", "--dose"])
@pytest.mark.parametrize("name", ["out.dcm", "out.png", "out.mhd"])
def test_a_kind_of_file_that_loses_something_is_refused(kind, name, folder, capsys):
    assert apply(folder, kind, "moving.mha", "--output", str(folder / name)) == 4
    assert "cannot write an image of this kind" in capsys.readouterr().err
    assert not (folder / name).exists()
