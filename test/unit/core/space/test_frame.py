import numpy as np
import pytest

from dinoreg.space.frame import Frame, box_around


def test_a_box_grows_by_a_stride_and_to_whole_cells():
    content = [slice(13, 23), slice(0, 12), slice(37, 49)]
    # 13 - 6 = 7 -> 6, 23 + 6 = 29 -> 30; -12 -> 0, 24; 37 - 5 = 32 -> 30, 49 + 5 = 54 -> the edge.
    assert box_around(content, (6, 12, 5), (50, 50, 52)) == ((6, 30), (0, 24), (30, 52))


@pytest.mark.parametrize("stride", [(1, 1, 1), (4, 2, 3), (5, 13, 7)])
def test_the_cells_of_a_box_are_those_of_the_image(stride, rng):
    shape = (20, 26, 34)
    for _ in range(50):
        ends = np.sort(rng.integers(0, np.add(shape, 1), (2, 3)), axis=0)
        content = [slice(*pair) for pair in ends.T]
        box = box_around(content, stride, shape)
        for part, (start, stop), s, n in zip(content, box, stride, shape, strict=True):
            assert start % s == 0
            assert stop % s == 0 or stop == n
            assert start <= max(0, part.start - s) <= min(n, part.stop + s) <= stop
        assert Frame(shape, (1.0, 1.5, 2.0), box).origin == tuple(start for start, _ in box)
