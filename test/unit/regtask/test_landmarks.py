import numpy as np
import pytest

from regtask import DataError, Pair, read_landmark_pair, read_landmarks, write_landmarks


def written(tmp_path, text, name="x.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_official_file(tmp_path):
    path = written(tmp_path, "373.081,179.940,91.080\n1.000,-2.500,3.000\n")
    np.testing.assert_array_equal(read_landmarks(path), [[373.081, 179.94, 91.08], [1, -2.5, 3]])


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3",
        "1,2,3\n",
        " 1 , 2 , 3 \r\n",
        "\n1,2,3\n\n",
        "x,y,z\n1,2,3\n",
        "\ufeff1,2,3\n",
        "i,j,k\n1e0,2,3",
    ],
)
def test_one_row_and_tolerated_forms(tmp_path, text):
    points = read_landmarks(written(tmp_path, text))
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, [[1, 2, 3]])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1,2,3\n4,5\n", 2),
        ("1,2,3,4\n", 1),
        ("1,2,3\n\n4,nan,6\n", 3),
        ("1,2,inf\n", 1),
        ("x,y,z\n1,2,3\n4,five,6\n", 3),
        ("1;2;3\n4,5,6,7\n", 2),  # line 1 has no number: a header
        ("1,y,3\n", 1),  # one number is enough not to be a header
        ("1,2,3\nx,y,z\n", 2),
    ],
)
def test_bad_row_is_named(tmp_path, text, line):
    with pytest.raises(DataError, match=f"not a landmark.*line {line};"):
        read_landmarks(written(tmp_path, text))


def test_bad_rows_are_reported_together_and_not_without_end(tmp_path):
    with pytest.raises(DataError) as caught:
        read_landmarks(written(tmp_path, "1,2\n" * 1000))
    assert len(caught.value.faults) == 10


@pytest.mark.parametrize("text", ["", "\n\n", "x,y,z\n"])
def test_no_points(tmp_path, text):
    with pytest.raises(DataError, match="no landmarks"):
        read_landmarks(written(tmp_path, text))


def test_other_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\x1f\x8b\xff\xff")
    with pytest.raises(DataError, match="not a text file"):
        read_landmarks(path)
    with pytest.raises(DataError, match="cannot read"):
        read_landmarks(tmp_path / "absent.csv")


def test_round_trip(tmp_path):
    points = np.array([[0.1234567, -20.5, 300.0], [1 / 3, 2 / 3, 1e-7]])
    write_landmarks(tmp_path / "x.csv", points)
    np.testing.assert_allclose(read_landmarks(tmp_path / "x.csv"), points, rtol=0, atol=5.1e-7)
    assert (tmp_path / "x.csv").read_text().splitlines()[0] == "0.123457,-20.500000,300.000000"
    np.testing.assert_array_equal(
        np.loadtxt(tmp_path / "x.csv", delimiter=","), read_landmarks(tmp_path / "x.csv")
    )


@pytest.mark.parametrize("points", [[1, 2, 3], [[1, 2]], [[1, 2, np.nan]]])
def test_what_is_no_landmark_is_not_written(tmp_path, points):
    with pytest.raises(DataError, match="not landmarks"):
        write_landmarks(tmp_path / "x.csv", points)


def pair_with(tmp_path, folder, fixed, moving):
    (tmp_path / folder).mkdir()
    if fixed is not None:
        write_landmarks(tmp_path / folder / "T_0001_0000.csv", fixed)
    if moving is not None:
        write_landmarks(tmp_path / folder / "T_0001_0001.csv", moving)
    images = tmp_path / "imagesTr"
    return Pair.of(images / "T_0001_0000.nii.gz", images / "T_0001_0001.nii.gz")


@pytest.mark.parametrize(("folder", "kind"), [("landmarksTr", "landmarks"), ("keypointsTr", "keypoints")])
def test_pair(tmp_path, folder, kind):
    points = read_landmark_pair(
        pair_with(tmp_path, folder, [[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [1, 1, 1]]), kind
    )
    np.testing.assert_array_equal(points.fixed, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(points.moving, [[7, 8, 9], [1, 1, 1]])


@pytest.mark.parametrize(("fixed", "moving"), [([[1, 2, 3]], None), (None, [[1, 2, 3]]), (None, None)])
def test_pair_without_both_files(tmp_path, fixed, moving):
    assert read_landmark_pair(pair_with(tmp_path, "landmarksTr", fixed, moving)) is None


def test_pair_of_different_lengths(tmp_path):
    pair = pair_with(tmp_path, "landmarksTr", [[1, 2, 3], [4, 5, 6]], [[1, 2, 3]])
    with pytest.raises(DataError, match=r"do not correspond.*2 in .*, 1 in "):
        read_landmark_pair(pair)
