"""Label maps in layers: nothing is hidden by what is larger, and every label keeps its name."""

import numpy as np

from dinoreg.report.page.layers import in_layers, point_names


def both(values):
    """One map on the moving grid, and half of it on the fixed one."""
    array = np.array(values, np.int32).reshape(1, 1, -1)
    return array, array[..., ::2].copy()


def test_the_smaller_structure_is_in_front_whichever_comes_first():
    organs, tumour = both([5, 5, 5, 5, 9, 9, 0, 0]), both([0, 7, 7, 0, 0, 7, 0, 5])
    for maps in ({"organs": organs, "tumour": tumour}, {"tumour": tumour, "organs": organs}):
        layered = in_layers(maps)
        names = np.array(["", *(layered.names[n] for n in range(1, len(layered.names) + 1))])
        moving = ["organs 5", "tumour 7", "tumour 7", "organs 5", "organs 9", "organs 9", "", "tumour 5"]
        assert names[layered.moving].ravel().tolist() == moving
        assert names[layered.warped].ravel().tolist() == moving[::2]


def test_one_map_keeps_its_labels():
    drawn = both([0, 3, 3, 80])
    layered = in_layers({"organs": drawn})
    np.testing.assert_array_equal(layered.moving, drawn[0])
    np.testing.assert_array_equal(layered.warped, drawn[1])
    assert layered.names == {}


def test_a_map_without_labels_hides_nothing():
    layered = in_layers({"empty": both([0, 0]), "organs": both([2, 0])})
    assert layered.names == {1: "organs 2"}
    assert layered.moving.ravel().tolist() == [1, 0]
    assert in_layers({}) is None


def test_points_are_named_by_file_and_number_where_there_are_several_files():
    assert point_names({"p.csv": np.zeros((2, 3))}) == ()
    assert point_names({"p.csv": np.zeros((2, 3)), "q": np.ones((1, 3))}) == ("p.csv 1", "p.csv 2", "q 1")
