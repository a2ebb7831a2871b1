"""A prepared image where a displacement brought it."""

import numpy as np
import pytest
import torch
from core_reference import SHAPE, sample

from dinoreg.preprocess.foreground import content_box
from dinoreg.preprocess.moved import moved_along
from dinoreg.preprocess.prepare import PreparedImage

SHIFT = (3, -5, 7)


def image(rng, *, blanked, beyond=False):
    values = rng.uniform(0.2, 1.0, SHAPE).astype(np.float32)
    foreground = np.zeros(SHAPE, bool)
    foreground[2:-3, 3:-2, 4:-1] = True
    on = None
    if beyond:
        on = ~foreground
        on[:2] = False
    if blanked:
        values[~(foreground if on is None else foreground | on)] = 0
    return PreparedImage(values, foreground, content_box(values), "known", "mr", on)


def everywhere(shift):
    return torch.tensor(shift, dtype=torch.float32).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()


@pytest.mark.parametrize("blanked", [False, True])
def test_a_shift_of_whole_voxels(blanked, rng):
    given = image(rng, blanked=blanked)
    found = moved_along(given, everywhere(SHIFT))
    at = [np.clip(np.arange(n) + s, 0, n - 1) for n, s in zip(SHAPE, SHIFT, strict=True)]
    inside = [(np.arange(n) + s >= 0) & (np.arange(n) + s < n) for n, s in zip(SHAPE, SHIFT, strict=True)]
    shown = given.foreground[np.ix_(*at)] & inside[0][:, None, None] & inside[1][:, None] & inside[2]
    np.testing.assert_allclose(found.values, given.values[np.ix_(*at)], atol=1e-6)
    np.testing.assert_array_equal(found.foreground, shown)
    assert found.identity == ""
    assert found.family == "mr"
    assert found.content == content_box(found.values)
    assert found.beyond is None


def test_between_voxels_it_is_read_linearly_where_nothing_was_blanked(rng):
    given, shift = image(rng, blanked=False), (0.3, -0.6, 0.4)
    found = moved_along(given, everywhere(shift))
    at = np.indices(SHAPE).reshape(3, -1) + np.reshape(shift, (3, 1))
    np.testing.assert_allclose(found.values.ravel(), sample(given.values[None], at)[0], atol=1e-5)


def test_the_blank_has_no_part_in_the_values_beside_it(rng):
    given = image(rng, blanked=True)
    given.values[given.foreground] = 0.5
    found = moved_along(given, everywhere((0.4, -0.3, 0.45)))
    np.testing.assert_allclose(found.values[found.foreground], 0.5, atol=1e-6)
    assert not found.values[~found.foreground].any()
    assert 0.8 < found.foreground.sum() / given.foreground.sum() < 1.2


def test_what_goes_on_beyond_the_field_of_view_still_does(rng):
    given = image(rng, blanked=True, beyond=True)
    found = moved_along(given, everywhere((0, 0, 2)))
    np.testing.assert_array_equal(found.beyond[..., :-2], given.beyond[..., 2:])
    assert not (found.beyond & found.foreground).any()
    assert (found.values[found.beyond] > 0).all()
