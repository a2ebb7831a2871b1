from pathlib import Path

import numpy as np
import pytest
import torch
from core_reference import SHAPE, mind_ssc, smooth_noise

from dinoreg.encoders.mind import MindSsc

GOLDEN = Path(__file__).parents[3] / "golden" / "mind_ssc.npz"


def _encode(image, radius, dilation):
    encoder = MindSsc(radius=radius, dilation=dilation, rank=image.ndim)
    features = encoder(torch.from_numpy(image)[None])
    assert features.shape == (encoder.channels, *image.shape)
    return features.numpy()


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 2), (3, 3), (1, 1), (2, 3)])
def test_equals_the_definition(radius, dilation, rng):
    image = smooth_noise(SHAPE, rng, sigma=1.0)
    image[:, :, :15] *= 0.01  # its v is below 0.001 of the mean: clamped
    np.testing.assert_allclose(_encode(image, radius, dilation), mind_ssc(image, radius, dilation), atol=2e-4)


@pytest.mark.parametrize("shape", [(9, 70, 8), (1, 6, 4), (4, 3, 1), (2, 1, 5)])
@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (3, 1)])
def test_the_compiled_kernel_equals_torch(shape, radius, dilation, rng):
    """It computes in single precision, torch in double; also of images thinner than a patch."""
    image = torch.from_numpy(rng.standard_normal((1, *shape)))
    encoder = MindSsc(radius=radius, dilation=dilation)
    for step in (encoder.context_map, encoder):
        np.testing.assert_allclose(step(image.float()), step(image), atol=2e-5)
    for of_whole in (3e3, 1e-3):  # of a whole that this is a part of: all is raised to a limit, or lowered
        context = torch.tensor(of_whole)
        expected = encoder(image, context.double())
        np.testing.assert_allclose(encoder(image.float(), context), expected, atol=2e-5)


def test_threads_move_no_bit(rng):
    image = torch.from_numpy(rng.standard_normal((1, 11, 40, 23), dtype=np.float32))
    kept, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(MindSsc(radius=1, dilation=2)(image))
    finally:
        torch.set_num_threads(kept)
    assert torch.equal(*found)


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 2), (3, 3)])
def test_plane_equals_the_definition(radius, dilation, rng):
    image = smooth_noise((20, 26), rng, sigma=1.0)
    found, expected = _encode(image, radius, dilation), mind_ssc(image, radius, dilation)
    assert found.shape[0] == 4
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(expected, axis=0), atol=2e-4)
    for channel in expected:  # the order is free, the channels are the same ones
        assert min(np.abs(channel - other).max() for other in found) < 2e-4


@pytest.mark.golden
@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 2)])
def test_equals_the_public_package(radius, dilation):
    with np.load(GOLDEN) as golden:
        image, expected = golden["image"], golden[f"radius_{radius}_dilation_{dilation}"]
    np.testing.assert_allclose(_encode(image, radius, dilation), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (1, 26, 34), (20, 1, 1)])
@pytest.mark.parametrize("value", [0.0, 0.5, -1000.0])
def test_a_constant_image_gives_one(shape, value):
    np.testing.assert_array_equal(_encode(np.full(shape, value, np.float32), 2, 2), 1)


def test_one_channel_of_every_voxel_is_one_and_all_are_in_range(rng):
    features = _encode(smooth_noise(SHAPE, rng), 1, 2)
    np.testing.assert_array_equal(features.max(axis=0), 1)
    assert features.min() >= 0  # exp underflows to 0 at the clamp
    assert np.isfinite(features).all()


@pytest.mark.parametrize(("scale", "offset"), [(2.5, 1.0), (400.0, -150.0), (-3.0, 0.7)])
def test_an_affine_change_of_intensities_does_not_matter(scale, offset, rng):
    image = smooth_noise(SHAPE, rng)
    changed = (image * scale + offset).astype(np.float32)
    np.testing.assert_allclose(_encode(changed, 2, 2), _encode(image, 2, 2), atol=5e-3)


def test_features_move_with_the_image(rng):
    image = smooth_noise((30, 36, 44), rng)
    shifted = image[3:, 5:, 7:]
    features, moved = _encode(image, 1, 2), _encode(shifted, 1, 2)
    inner = (slice(None), *(slice(4, 20),) * 3)
    far = (slice(None), slice(7, 23), slice(9, 25), slice(11, 27))
    np.testing.assert_allclose(moved[inner], features[far], atol=0.02)  # the clamp's mean differs slightly


def test_gradients_flow_to_the_image(rng):
    image = torch.from_numpy(smooth_noise((8, 9, 10), rng)).double()[None].requires_grad_()
    MindSsc(radius=1, dilation=1)(image).square().sum().backward()
    assert torch.isfinite(image.grad).all()
    assert image.grad.abs().max() > 0


def test_margin_bounds_what_a_feature_depends_on(rng):
    # Far away only the mean of v, which the context holds fixed, could tell.
    encoder = MindSsc(radius=2, dilation=3)
    image = torch.from_numpy(smooth_noise(SHAPE, rng))[None]
    other = image.clone()
    other[:, : 12 - encoder.margin] = 0
    context = encoder.context_map(image).mean()
    assert torch.equal(encoder(image, context)[:, 12:], encoder(other, context)[:, 12:])
    assert not torch.equal(encoder(image, context)[:, 11], encoder(other, context)[:, 11])
