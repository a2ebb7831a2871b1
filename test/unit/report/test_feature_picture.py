"""Colours mean the same in both volumes, and the picture shows where they are."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from dinoreg.report.feature_picture import draw_features, joint_colours
from regtask import OutputError

SHAPE = (26, 34, 20)
SPACING_MM = (2.0, 1.25, 3.0)


@pytest.fixture
def features():
    """Three components that rise along one axis each; moving is shifted by (3, -5, 7) cells."""
    index = np.stack(np.indices(SHAPE)).astype(np.float32)
    weight = np.zeros(SHAPE, np.float32)
    weight[4:20, 8:28, 3:17] = 1
    shift = np.array([3, -5, 7], np.float32)[:, None, None, None]
    return {
        "fixed": np.concatenate([index, index[:1]]),
        "moving": index + shift,
        "fixed_weight": weight,
        "moving_weight": weight,
    }


def test_one_scale_for_both(features):
    fixed, moving = joint_colours(*features.values())
    inside = features["fixed_weight"] > 0
    # the same value has the same colour wherever it is: moving at x has the value of fixed at x + shift
    np.testing.assert_allclose(moving[6:10, 15:20, 4:8], fixed[9:13, 10:15, 11:15])
    assert (fixed[~inside] == 0).all()
    # component 0 of both together rises from 4 to 19 + 3
    values = np.concatenate([v[:, inside] for v in (features["fixed"][:3], features["moving"])], axis=1)
    low, high = np.percentile(values, (1, 99), axis=1)
    np.testing.assert_allclose(fixed[8, 20, 9], np.clip((np.array([8, 20, 9]) - low) / (high - low), 0, 1))


def test_weight_fades_to_black(features):
    features["fixed_weight"] = features["fixed_weight"] * 0.75
    full = joint_colours(**(features | {"fixed_weight": features["moving_weight"]}))[0]
    np.testing.assert_allclose(joint_colours(**features)[0], 0.75 * full)


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_nothing_to_scale(features, value):
    constant = np.full((3, *SHAPE), value, np.float32)
    for weight in (features["fixed_weight"], np.zeros(SHAPE)):
        for colours in joint_colours(constant, constant, weight, weight):
            assert np.isfinite(colours).all()


def panel_of(pixels, column):
    """The half of the page that holds the volumes of a column, without the letters around it."""
    width = pixels.shape[1]
    return pixels[:, column * width // 2 : (column + 1) * width // 2, :3]


def test_picture(features, tmp_path):
    features["moving_weight"] = np.zeros(SHAPE)
    affine = np.diag([-2.0, -1.25, 3.0, 1.0])
    draw_features(
        tmp_path / "a.png", **features, spacing_mm=SPACING_MM, affine=affine, title="0001_0000<--0001_0001"
    )
    pixels = imread(tmp_path / "a.png")
    coloured = [(np.ptp(panel_of(pixels, column), axis=-1) > 0.2).mean() for column in (0, 1)]
    assert coloured[0] > 0.1
    assert coloured[1] == 0  # moving has no foreground
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_proportions_are_those_of_the_spacing(features, tmp_path):
    """The block of foreground is 16 x 20 x 14 cells, so 32 x 25 mm in the axial plane."""
    draw_features(tmp_path / "a.png", **features, spacing_mm=SPACING_MM)
    coloured = np.ptp(panel_of(imread(tmp_path / "a.png"), 0), axis=-1) > 0.02
    rows = np.flatnonzero(coloured.sum(axis=1) > 20)
    axial = rows[: np.flatnonzero(np.diff(rows) > 1)[0] + 1]
    width = coloured[axial].any(axis=0).sum()
    assert width / len(axial) == pytest.approx(32 / 25, rel=0.05)


def test_flat_volume(features, tmp_path):
    flat = {name: array[..., 9:10] for name, array in features.items()}
    draw_features(tmp_path / "flat.png", **flat, spacing_mm=SPACING_MM)
    draw_features(tmp_path / "solid.png", **features, spacing_mm=SPACING_MM)
    assert imread(tmp_path / "flat.png").shape[0] < 0.6 * imread(tmp_path / "solid.png").shape[0]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("fixed", (2, *SHAPE)),
        ("moving", (3, 5, 5, 5)),
        ("moving_weight", (5, 5, 5)),
        ("fixed_weight", (1, *SHAPE)),
    ],
)
def test_shapes_have_to_fit(features, tmp_path, name, shape):
    features[name] = np.zeros(shape)
    with pytest.raises(ValueError, match="expected"):
        draw_features(tmp_path / "a.png", **features, spacing_mm=SPACING_MM)


def test_no_folder(features, tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        draw_features(tmp_path / "no" / "a.png", **features, spacing_mm=SPACING_MM)


@pytest.mark.parametrize("module", ["feature_picture", "slice_picture"])
def test_imports_neither_pyplot_nor_torch(module):
    code = (
        f"import sys, dinoreg.report.{module};"
        "heavy = {'torch', 'matplotlib.pyplot'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
