import json

import numpy as np
import pytest

from dinoreg.desk.points import read_points, write_points
from dinoreg.errors import ConfigError
from regtask.errors import DataError
from regtask.grid import Grid

GRID = Grid((9, 8, 7), np.array([[0, 2.0, 0, 5], [-1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]))
MARKUPS = {
    "markups": [
        {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": [{"id": "1", "position": [1, 2, 3]}]}
    ]
}


@pytest.mark.parametrize(
    ("name", "text", "space", "expected"),
    [
        ("p.csv", "x,y,z\n1,2,3\n", "lps", (1, 2, 3)),
        ("p.csv", "1;2;3".replace(";", ",") + "\n", "ras", (-1, -2, 3)),
        ("p.csv", "liver,1,2,3\n", "voxel", (-9.0, -4.5, 16.0)),
        ("p.csv", "id,x,y,z\n7,1,2,3\n", "lps", (1, 2, 3)),
        ("p.csv", "Z , label,Y,t,X\n3,liver,2,9,1\n", "ras", (-1, -2, 3)),
        ("p.fcsv", "# Markups\n# CoordinateSystem = LPS\nvtk_0,1,2,3,0,0,0,1\n", None, (1, 2, 3)),
        ("p.fcsv", "# CoordinateSystem = 0\nvtk_0,1,2,3,0,0,0,1\n", None, (-1, -2, 3)),
        ("p.mrk.json", json.dumps(MARKUPS), None, (-1, -2, 3)),
    ],
)
def test_points_come_and_go_in_their_own_space(name, text, space, expected, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    points = read_points(path, space, GRID)
    np.testing.assert_allclose(points.lps, [expected])
    write_points(tmp_path / f"out_{name}", points, np.add(points.lps, (3, -5, 7)), GRID)
    again = read_points(tmp_path / f"out_{name}", space, GRID)
    np.testing.assert_allclose(again.lps, np.add([expected], (3, -5, 7)), atol=1e-5)
    assert "liver" not in text or "liver" in (tmp_path / f"out_{name}").read_text()


def test_a_csv_needs_its_space(tmp_path):
    (tmp_path / "p.csv").write_text("1,2,3\n")
    with pytest.raises(ConfigError, match="--space lps"):
        read_points(tmp_path / "p.csv", None, GRID)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "a,b,c\n"),
        ("p.csv", "1,2,3\n4,5\n"),
        ("p.csv", "1,2,nan\n"),
        ("p.csv", "id,x,y,z\n7,1,2\n"),
        ("p.csv", "id,x,y,z\n7,1,2,\n"),
        ("p.csv", "liver,1,2,3\n12,1,2,3\n"),  # is 12 a name?
        ("p.csv", '"' + 140_000 * "1" + "\n"),
        ("p.fcsv", "v,1,2,inf\n"),
        ("p.fcsv", "v,1,2\nv,3,4\nv,5,6\n"),
        ("p.fcsv", "# CoordinateSystem = LPS\nvtk_0,a,2,3\n"),
        ("p.fcsv", "# CoordinateSystem = LPS\n"),
        ("p.mrk.json", '{"markups": []}'),
        ("p.mrk.json", '{"markups": ["x"]}'),
        ("p.mrk.json", '{"markups": [{"controlPoints": []}]}'),
        ("p.mrk.json", 5000 * '{"markups": ' + "1" + 5000 * "}"),
        ("p.mrk.json", '{"markups": [{"controlPoints": [{"position": [1, 2, NaN]}]}]}'),
        ("p.mrk.json", '{"markups": [{"controlPoints": [{"position": [1, null, 3]}]}]}'),
        ("p.mrk.json", '{"markups": [{"controlPoints": [{"position": [1, 2]}]}]}'),
    ],
)
def test_files_without_points(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError):
        read_points(tmp_path / name, "lps", GRID)
