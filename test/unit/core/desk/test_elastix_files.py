"""Parameter files of elastix that are damaged: each is refused, with its place."""

import pytest

from dinoreg.desk.exchange.elastix import read_elastix
from regtask.errors import DataError

AFFINE = {
    "Transform": '"AffineTransform"',
    "TransformParameters": "1 0 0 0 1 0 0 0 1 3 -5 7",
    "CenterOfRotationPoint": "0 0 0",
}
SPLINE = {
    "Transform": '"BSplineTransform"',
    "GridSize": "4 5 6",
    "GridSpacing": "9 9 9",
    "GridOrigin": "0 0 0",
    "GridDirection": "1 0 0 0 1 0 0 0 1",
    "BSplineTransformSplineOrder": "3",
    "TransformParameters": " ".join(["0"] * 360),
}
NAME = "InitialTransformParametersFileName"


@pytest.fixture
def read(tmp_path):
    def read(entries):
        path = tmp_path / "t.txt"
        path.write_text("".join(f"({key} {value})\n" for key, value in entries.items()))
        return read_elastix(path)

    return read


def test_the_files_are_whole_before_they_are_damaged(read):
    assert read(AFFINE).TransformPoint((0.0, 0.0, 0.0)) == (3, -5, 7)
    assert read(SPLINE).GetNumberOfParameters() == 360


@pytest.mark.parametrize(
    "entries",
    [
        *[AFFINE | {key: ""} for key in (*AFFINE, NAME, "UseBinaryFormatForTransformationParameters")],
        AFFINE | {NAME: '"x"', "HowToCombineTransforms": ""},
        *[SPLINE | {key: ""} for key in SPLINE],
    ],
)
def test_entries_without_a_value(entries, read):
    with pytest.raises(DataError, match="entry without a value"):
        read(entries)


@pytest.mark.parametrize("name", ["", "..", 300 * "a", "a\0b"])
def test_initial_transforms_that_no_file_can_be(name, read):
    with pytest.raises(DataError, match=r"cannot read|impossible path"):
        read(AFFINE | {NAME: f'"{name}"'})


@pytest.mark.parametrize(
    "change",
    [
        {"GridSize": "inf 5 6"},
        {"GridSize": "4.5 5 6"},
        {"GridSize": "-4 -5 6", "TransformParameters": " ".join(["0"] * 360)},
        {"GridSize": "100000 100000 100000"},
        {"GridSize": "1 1 1", "TransformParameters": "0 0 0"},
        {"GridSize": "4 5"},
        {"GridSpacing": "0 9 9"},
        {"GridSpacing": "nan 9 9"},
        {"GridOrigin": "inf 0 0"},
        {"GridDirection": "1 0 0 1 0 0 0 0 1"},
        {"BSplineTransformSplineOrder": "9"},
        {"BSplineTransformSplineOrder": "1e9"},
        {"TransformParameters": " ".join(["nan"] * 360)},
    ],
)
def test_splines_that_cannot_be(change, read):
    with pytest.raises(DataError, match="parameters not usable"):
        read(SPLINE | change)


def test_a_centre_that_is_not_finite(read):
    with pytest.raises(DataError, match="CenterOfRotationPoint: finite numbers"):
        read(AFFINE | {"CenterOfRotationPoint": "nan 0 0"})
