"""An initial transform that is not linear: everything that a result says includes it."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from exchange_fields import assert_same, overlapping, rigid, wavy_transform

import dinoreg
from dinoreg.cli.main import main
from dinoreg.desk.exchange.lattice import displacement_on
from dinoreg.desk.exchange.parts import joined
from dinoreg.desk.images import to_itk
from dinoreg.desk.report import show_result
from dinoreg.desk.transforms import transform_points, write_transform
from regtask.grid import Grid

FIXED, MOVING = overlapping("oblique", "flipped")


def away(grid):
    """The grid half a metre off, so that only the initial transform brings the two together."""
    affine = grid.affine.copy()
    affine[:3, 3] += (300.0, -250.0, 400.0)
    return Grid(grid.shape, affine)


def bent(moving):
    """Smooth and not linear, to where moving lies, LPS mm."""
    apart = (moving.affine - MOVING.affine)[:3, 3] * (-1, -1, 1)
    turned = rigid(degrees=(3, -2, 4))
    return joined([wavy_transform(FIXED), turned, sitk.TranslationTransform(3, apart.tolist())])


@pytest.mark.parametrize("moving", [MOVING, away(MOVING)], ids=["overlapping", "apart"])
def test_displacement_and_page_include_the_initial_transform(moving):
    rng = np.random.default_rng(8)
    images = [to_itk(rng.normal(50, 9, grid.shape).astype(np.float32), grid) for grid in (FIXED, moving)]
    result = dinoreg.register(*images, preset="identity", initial=bent(moving), device="cpu")
    assert_same(result.transform, bent(moving), FIXED)
    index = np.array([[2, 3, 4], [9, 10, 7], [15, 17, 12]])
    led = result.read_on.index_to_ras(index + result.displacement[tuple(index.T)])
    there = transform_points(result.transform, FIXED.index_to_ras(index) * (-1, -1, 1)) * (-1, -1, 1)
    np.testing.assert_allclose(led, there, atol=1e-3)
    shown = show_result(result)
    ones = to_itk(np.ones(moving.shape, np.uint8), moving)
    seen = sitk.Resample(ones, images[0], result.transform, sitk.sitkNearestNeighbor, 0)
    expected = sitk.GetArrayFromImage(seen).transpose(2, 1, 0) > 0
    assert np.mean(shown.has_data() != expected) < 0.01
    assert expected.mean() > 0.5


def test_the_record_says_how_far_it_leads(tmp_path):
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        values = np.random.default_rng(8).normal(50, 9, grid.shape).astype(np.float32)
        sitk.WriteImage(to_itk(values, grid), str(tmp_path / f"{name}.mha"))
    write_transform(tmp_path / "t.h5", bent(MOVING))
    words = ["--fixed", "fixed.mha", "--moving", "moving.mha", "--initial", "t.h5", "--output", "out"]
    words = [word if word.startswith("--") else str(tmp_path / word) for word in words]
    assert main(["register", *words, "--preset", "identity", "--device", "cpu", "--no-report"]) == 0
    said = json.loads((tmp_path / "out" / "register.json").read_text())["displacement_mm"]
    lengths = np.linalg.norm(displacement_on(bent(MOVING), FIXED), axis=-1)
    assert said["median"] == pytest.approx(np.median(lengths), rel=1e-3)
    assert said["99 %"] == pytest.approx(np.quantile(lengths, 0.99), rel=1e-3)
