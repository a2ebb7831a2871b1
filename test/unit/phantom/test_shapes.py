import numpy as np
import pytest

from dinoreg.phantom.body.shapes import difference, ellipsoid, inset, intersection, rotation, union
from dinoreg.phantom.body.tubes import smooth_path, tube
from dinoreg.phantom.points import PointSet


def points(*rows: tuple[float, float, float]) -> PointSet:
    return PointSet.from_array(np.array(rows, dtype=float))


def test_sphere_level_is_the_distance():
    sphere = ellipsoid((1, 2, 3), (5, 5, 5))
    np.testing.assert_allclose(
        sphere.level(points((1, 2, 3 + 4), (1 + 5, 2, 3), (1, 2 - 7, 3))), [-1, 0, 2], atol=5e-3
    )


def test_ellipsoid_surface_is_the_surface():
    turn = rotation((0, 0, 1), 90)  # turns x into y: the long axis points along y
    shape = ellipsoid((0, 0, 0), (10, 2, 3), turn)
    on_surface = points((0, 10, 0), (2, 0, 0), (0, 0, 3))
    np.testing.assert_allclose(shape.level(on_surface), 0, atol=1e-6)
    assert shape.upper == pytest.approx((2, 10, 3))


def test_tapered_tube_has_the_radius_of_its_nodes():
    shape = tube([(0, 0, 0, 4), (0, 0, 10, 4), (0, 0, 20, 2)])
    np.testing.assert_allclose(shape.level(points((4, 0, 10), (0, 2, 20), (0, 0, 10))), [0, 0, -4], atol=1e-9)


def test_smooth_path_passes_through_the_nodes():
    nodes = [(0.0, 0.0, 0.0, 4.0), (5.0, 3.0, 10.0, 3.0), (1.0, -4.0, 22.0, 2.0)]
    np.testing.assert_allclose(smooth_path(nodes, 5)[::5], nodes, atol=1e-12)


def test_combinations():
    a, b = ellipsoid((0, 0, 0), (2, 2, 2)), ellipsoid((2, 0, 0), (2, 2, 2))
    probe = points((-1, 0, 0), (1, 0, 0), (3, 0, 0))
    assert (union(a, b).level(probe) < 0).tolist() == [True, True, True]
    assert (intersection(a, b).level(probe) < 0).tolist() == [False, True, False]
    assert (difference(a, b).level(probe) < 0).tolist() == [True, False, False]
    assert (inset(a, 1.5).level(probe) < 0).tolist() == [False, False, False]


def test_skipping_by_boxes_does_not_change_the_union():
    rng = np.random.default_rng(0)
    shapes = [ellipsoid(tuple(rng.uniform(-50, 50, 3)), (9, 7, 5)) for _ in range(12)]
    cloud = rng.uniform(-60, 60, (4000, 3))
    together = union(*shapes).level(PointSet.from_array(cloud)) < 0
    compact = cloud[np.argsort(cloud[:, 0])]
    parts = [union(*shapes).level(PointSet.from_array(part)) < 0 for part in np.array_split(compact, 40)]
    np.testing.assert_array_equal(together[np.argsort(cloud[:, 0])], np.concatenate(parts))
    assert together.any()


@pytest.mark.parametrize("bad", [np.empty((0, 3)), np.zeros((4, 2)), np.zeros(3)])
def test_wrong_point_arrays_are_refused(bad):
    with pytest.raises(ValueError, match=r"expected shape \(N, 3\)"):
        PointSet.from_array(bad)
