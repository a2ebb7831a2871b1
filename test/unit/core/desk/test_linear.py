"""Rigid maps and initial transforms at the desk, on oblique, anisotropic grids."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from linear_scans import FIXED_SHAPE, FIXED_TO_MM, MOVING_SHAPE, MOVING_TO_MM, Body, rigid

import dinoreg
from dinoreg.cli.main import main
from dinoreg.desk.images import to_itk
from dinoreg.desk.linear import affine_transform, matrix_of, with_head
from dinoreg.desk.transforms import read_transform, transform_points, write_transform
from dinoreg.settings.load import load_preset
from regtask.errors import DataError
from regtask.grid import Grid

TRUTH = rigid((-12, 14, 16), (12, -9, 7))
FIXED_GRID, MOVING_GRID = Grid(FIXED_SHAPE, FIXED_TO_MM), Grid(MOVING_SHAPE, MOVING_TO_MM)
LPS = np.array([-1.0, -1.0, 1.0])
QUICK = ["features.max_cells=40000", "adam.0.iterations=20"]


@pytest.fixture(scope="module")
def images():
    """Fixed and moving as ITK images; a point p of fixed lies at TRUTH p in moving."""
    body = Body()
    fixed = body.seen(FIXED_SHAPE, FIXED_TO_MM).values
    moving = body.seen(MOVING_SHAPE, MOVING_TO_MM, np.linalg.inv(TRUTH)).values
    return to_itk(100 * fixed, FIXED_GRID), to_itk(100 * moving, MOVING_GRID)


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("turned")
    for name, image in zip(("fixed", "moving"), images, strict=True):
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return folder


def points_of_body():
    index = np.random.default_rng(1).uniform(0.3, 0.7, (100, 3)) * np.array(FIXED_SHAPE)
    return FIXED_GRID.index_to_ras(index)


def misses(transform, limit):
    """Whether the inner points are led to where the truth leads them."""
    ras = points_of_body()
    there = transform_points(transform, ras * LPS) * LPS
    expected = ras @ TRUTH[:3, :3].T + TRUTH[:3, 3]
    return float(np.linalg.norm(there - expected, axis=1).mean()) >= limit


def test_a_rigid_registration_is_a_matrix_and_nothing_else(images):
    result = dinoreg.register(*images, preset="rigid", device="cpu")
    assert not misses(result.transform, 0.5)
    assert result.transform.GetName() == "AffineTransform"
    np.testing.assert_allclose(matrix_of(result.transform), result.linear, atol=1e-9)
    back = result.inverse()
    assert back.residual_mm == 0
    points = points_of_body() * LPS
    np.testing.assert_allclose(
        transform_points(back.transform, transform_points(result.transform, points)), points, atol=1e-9
    )
    # The displacement in voxels says the same.
    index = np.array([[20, 18, 12], [10, 25, 8]])
    there = index + result.displacement[tuple(index.T)]
    expected = FIXED_GRID.index_to_ras(index) @ result.linear[:3, :3].T + result.linear[:3, 3]
    np.testing.assert_allclose(result.read_on.index_to_ras(there), expected, atol=1e-3)
    assert result.registration.stages[0].name == "linear"
    assert (result.verdict.grade, result.verdict.reasons) == ("good", ())


def test_a_deformable_registration_keeps_its_rotation_apart_and_exact(images):
    result = dinoreg.register(*images, overrides=QUICK, device="cpu")
    assert not misses(result.transform, 2.0)
    assert result.linear is not None
    parts = sitk.CompositeTransform(result.transform)
    assert [parts.GetNthTransform(n).GetName() for n in range(parts.GetNumberOfTransforms())] == [
        "AffineTransform",
        "DisplacementFieldTransform",
    ]
    # Far beside the field the rotation still holds.
    far = FIXED_GRID.index_to_ras([[300, -200, 100]]) * LPS
    np.testing.assert_allclose(
        transform_points(result.transform, far) * LPS,
        (far * LPS) @ result.linear[:3, :3].T + result.linear[:3, 3],
        atol=1e-6,
    )
    back = result.inverse()
    points = points_of_body() * LPS
    there = transform_points(result.transform, points)
    np.testing.assert_allclose(transform_points(back.transform, there), points, atol=0.5)
    # The displacement in voxels says the same as the transform.
    index = np.array([[20, 18, 12], [10, 25, 8]])
    led = result.read_on.index_to_ras(index + result.displacement[tuple(index.T)])
    found = transform_points(result.transform, FIXED_GRID.index_to_ras(index) * LPS) * LPS
    np.testing.assert_allclose(led, found, atol=1e-3)


def test_an_initial_transform_is_where_the_registration_begins(images, tmp_path):
    write_transform(tmp_path / "t.tfm", affine_transform(TRUTH))
    config = load_preset("auto", QUICK).model_copy(update={"linear": None})
    result = dinoreg.register(*images, config=config, initial=tmp_path / "t.tfm", device="cpu")
    assert not misses(result.transform, 1.5)
    np.testing.assert_allclose(result.linear, TRUTH, atol=1e-6)


def test_an_initial_transform_that_is_not_linear_is_read_through(images, tmp_path):
    bent = sitk.DisplacementFieldTransform(
        sitk.TransformToDisplacementField(
            affine_transform(TRUTH),
            sitk.sitkVectorFloat64,
            (60, 60, 60),
            (-150, -150, -150),
            (5.0, 5.0, 5.0),
        )
    )
    write_transform(tmp_path / "t.h5", bent)
    config = load_preset("auto", QUICK)
    result = dinoreg.register(*images, config=config, initial=tmp_path / "t.h5", device="cpu")
    assert not misses(result.transform, 2.5)
    write_transform(tmp_path / "whole.h5", result.transform)
    assert not misses(read_transform(tmp_path / "whole.h5"), 2.5)
    with pytest.raises(DataError, match="no way back"):
        result.inverse()


@pytest.mark.parametrize(
    ("preset", "when"), [("mind", "evidence"), ("auto", "evidence"), ("rigid", "always"), ("identity", None)]
)
def test_every_deformable_registration_looks_for_a_rotation(preset, when):
    linear = with_head(load_preset(preset)).linear
    assert (linear.when if linear else None) == when


def test_one_command_and_its_transform(files, tmp_path):
    words = ["register", "--fixed", files / "fixed.nii.gz", "--moving", files / "moving.nii.gz"]
    words += ["--transform", "rigid", "--inverse", "--output", tmp_path / "out", "--device", "cpu"]
    assert main([str(word) for word in words]) == 0
    assert not misses(sitk.ReadTransform(str(tmp_path / "out" / "transform.h5")), 0.5)
    facts = json.loads((tmp_path / "out" / "register.json").read_text())
    np.testing.assert_allclose(
        facts["linear_ras"], matrix_of(sitk.ReadTransform(str(tmp_path / "out" / "transform.h5"))), atol=1e-9
    )
    assert facts["stages"][0]["name"] == "linear"
    assert facts["stages"][0]["details"]["degrees"] > 15


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--transform", "rigid", "--preset", "mind"), 2, "two registrations asked for"),
        (("--transform", "deformable", "--preset", "affine"), 2, "two registrations asked for"),
        (("--initial", "none.h5"), 3, "no such file"),
        (("--initial", "{files}/fixed.nii.gz"), 3, "not a transform"),
        (("--initial", "{files}/plane.tfm"), 3, "not a transform of space"),
        (("--initial", "{files}/squeezed.tfm"), 3, "without an inverse"),
        (("--initial", "{files}/squeezed.tfm", "--transform", "rigid"), 3, "without an inverse"),
        (("--initial", "{files}/far.h5"), 3, "leads beside the moving image"),
    ],
)
def test_bad_calls(words, code, message, files, tmp_path, capsys):
    sitk.WriteTransform(sitk.TranslationTransform(2, (1.0, 2.0)), str(files / "plane.tfm"))
    squeezed = sitk.AffineTransform(3)
    squeezed.SetMatrix((1, 0, 0, 0, 0, 0, 0, 0, 1))
    sitk.WriteTransform(squeezed, str(files / "squeezed.tfm"))
    away = sitk.TransformToDisplacementField(
        sitk.TranslationTransform(3, (9e3, 0.0, 0.0)),
        sitk.sitkVectorFloat64,
        (9, 9, 9),
        (-200,) * 3,
        (50.0,) * 3,
    )
    write_transform(files / "far.h5", sitk.DisplacementFieldTransform(away))
    call = ["register", "--fixed", f"{files}/fixed.nii.gz", "--moving", f"{files}/moving.nii.gz"]
    call += [word.format(files=files) for word in words]
    assert main([*call, "--output", str(tmp_path / "out"), "--device", "cpu"]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "register.json").exists()
