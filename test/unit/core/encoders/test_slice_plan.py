import numpy as np
import pytest

from dinoreg.encoders.slices.slice_plan import foreground_box, plan_slices

SHAPE = (20, 26, 34)
SPACING = (1.5, 1.0, 2.5)


def _plan(foreground, **changes):
    settings = {"axis": 2, "up_sampling": 5.3, "slice_step": 3, "patch_size": 14}
    return plan_slices(foreground, SPACING, **(settings | changes))


def _box(*bounds):
    foreground = np.zeros(SHAPE, bool)
    foreground[tuple(slice(*b) for b in bounds)] = True
    return foreground


def test_every_third_slice_and_always_the_last():
    foreground = _box((2, 18), (3, 24), (4, 33))
    plan = _plan(foreground)
    assert plan.indices == (4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 32)
    assert plan.extent == (4, 33)
    assert plan.crop == ((2, 18), (3, 24))
    assert _plan(foreground, slice_step=4).indices == (4, 8, 12, 16, 20, 24, 28, 32)
    assert _plan(foreground, slice_step=100).indices == (4, 32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_patches_are_whole_and_nearly_square_in_millimetres(axis):
    foreground = _box((2, 18), (3, 24), (4, 33))
    plan = _plan(foreground, axis=axis)
    first, second = plan.plane
    assert axis not in (first, second)
    finest = min(SPACING[first], SPACING[second])
    for a, count, (start, stop), side in zip(
        plan.plane, plan.patches, plan.crop, plan.voxels_per_patch, strict=True
    ):
        wanted = (stop - start) * SPACING[a] / finest * 5.3 / 14
        assert abs(count - wanted) <= 0.5
        assert side == (stop - start) / count
    assert plan.input_size == tuple(14 * n for n in plan.patches)


def test_the_abdomen_of_the_paper():
    # 192 x 160 voxels at s = 5.3: 1017.6 and 848 pixels, 72.7 and 60.6 patches.
    plan = plan_slices(
        np.ones((192, 160, 192), bool), (2.0, 2.0, 2.0), axis=2, up_sampling=5.3, slice_step=3, patch_size=14
    )
    assert plan.patches == (73, 61)
    assert plan.input_size == (1022, 854)
    assert len(plan.indices) == 65  # 0, 3, ..., 189 and 191


def test_blank_slices_are_left_out():
    foreground = _box((2, 18), (3, 24), (4, 33))
    foreground[:, :, 9:14] = False
    assert _plan(foreground).indices == (4, 7, 16, 19, 22, 25, 28, 31, 32)


def test_no_foreground_means_everything():
    plan = _plan(np.zeros(SHAPE, bool), axis=0)
    assert plan.indices == (0, 3, 6, 9, 12, 15, 18, 19)
    assert plan.crop == ((0, 26), (0, 34))


def test_a_single_slice_and_a_tiny_crop_have_one_patch():
    plan = _plan(_box((5, 6), (7, 8), (9, 10)))
    assert plan.indices == (9,)
    assert plan.patches == (1, 1)


def test_box_of_the_foreground():
    assert foreground_box(_box((5, 6), (7, 20), (0, 34))) == ((5, 6), (7, 20), (0, 34))
