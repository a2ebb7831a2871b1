import pytest
import torch
import torch.nn.functional as F
from core_reference import smooth_noise
from slice_encoders import MeanEncoder

from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.slices.guide import slice_features
from dinoreg.optimise.guidance import feature_distance, feature_term, stretch, sum_terms


def _image(rng, shape):
    return torch.from_numpy(smooth_noise(shape, rng, sigma=1.5, channels=1)).double()


def test_distances_by_hand():
    # Two positions, two channels: (3, 4) against (4, 3), cosine 24 / 25; (1, 0) against (0, 2), cosine 0.
    fixed = torch.tensor([[[3.0, 1.0]], [[4.0, 0.0]]])
    warped = torch.tensor([[[4.0, 0.0]], [[3.0, 2.0]]])
    assert float(feature_distance(fixed, "cosine")(warped, None)) == pytest.approx((0.04 + 1) / 2)
    assert float(feature_distance(fixed, "l1")(warped, None)) == pytest.approx((1 + 1.5) / 2)
    weight = torch.tensor([[[3.0, 1.0]]])
    assert float(feature_distance(fixed, "cosine")(warped, weight)) == pytest.approx((0.12 + 1) / 4)
    assert float(feature_distance(fixed, "l1")(warped, weight)) == pytest.approx((3 + 1.5) / 4)
    for kind in ("cosine", "l1"):
        assert float(feature_distance(fixed, kind)(fixed, None)) == pytest.approx(0, abs=1e-6)
        assert float(feature_distance(fixed, kind)(warped, torch.zeros(1, 1, 2))) == 0


@pytest.mark.parametrize("kind", ["cosine", "l1"])
def test_order_does_not_matter_for_an_encoder_of_single_voxels(kind, rng):
    """A whole-voxel shift moves the features of single voxels with them."""
    fixed, moving = _image(rng, (9, 12)), _image(rng, (9, 12))
    shift = torch.zeros(2, 9, 12, dtype=torch.float64)
    shift[0], shift[1] = 2, -3

    def encode(image):
        return torch.cat([image, image.square(), torch.ones_like(image)])

    dynamic, static = (
        feature_term(encode, fixed, moving, kind=kind, order=order)(shift) for order in ("dynamic", "static")
    )
    rows = torch.arange(9).add(2).clamp(max=8)
    columns = torch.arange(12).sub(3).clamp(min=0)
    expected = feature_distance(encode(fixed), kind)(encode(moving[:, rows][:, :, columns]), None)
    assert float(expected) > 0.01
    torch.testing.assert_close(dynamic, expected)
    torch.testing.assert_close(static, expected)


def test_warping_and_encoding_do_not_commute(rng):
    """Koegl et al. 2024, fig. 6: at displacements that stretch, the two orders differ."""
    fixed, moving = _image(rng, (16, 20)).float(), _image(rng, (16, 20)).float()
    displacement = torch.from_numpy(3 * smooth_noise((16, 20), rng, sigma=2.0, channels=2))
    encoder = MindSsc(radius=1, dilation=2, rank=2)
    dynamic, static = (
        float(feature_term(encoder, fixed, moving, order=order)(displacement))
        for order in ("dynamic", "static")
    )
    assert abs(dynamic - static) > 1e-3


def test_static_reads_coarse_features_at_the_displaced_places():
    """Patches of 4 pixels, a shift of 8 pixels along the second axis: two patches."""
    moving = torch.rand(1, 16, 24)
    fixed = torch.roll(moving, -8, dims=2)
    encode = slice_features(MeanEncoder(patch_size=2, channels=2), grid=6)
    shift = torch.zeros(2, 16, 24)
    shift[1] = 8
    fixed_features, moving_features = encode(fixed), encode(moving)
    assert fixed_features.shape == (2, 4, 6)
    columns = torch.arange(6).add(2).clamp(max=5)
    expected = feature_distance(fixed_features, "l1")(moving_features[:, :, columns], None)
    found = feature_term(encode, fixed, moving, kind="l1", order="static")(shift)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert float(found) > 0.01


def test_slices_are_resized_to_the_grid_of_patches():
    encoder = MeanEncoder(patch_size=3, channels=1)
    encode = slice_features(encoder, grid=8)
    image = torch.rand(1, 12, 20)
    found = encode(image)
    assert found.shape == (1, 5, 8)  # 12 / 20 of 8 is 4.8
    assert encoder.sizes == {(15, 24)}
    resized = F.interpolate(image[None], size=(15, 24), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, F.avg_pool2d(resized, 3)[0])

    volume = torch.rand(1, 12, 20, 3)
    found = encode(volume)
    assert found.shape == (1, 5, 8, 3)
    for k in range(3):
        torch.testing.assert_close(found[..., k], encode(volume[..., k]))
    assert slice_features(encoder, grid=8)(torch.rand(1, 4, 100)).shape == (1, 1, 8)


def test_shrinking_does_not_alias():
    """Stripes as fine as the image become grey, not stripes again."""
    stripes = (torch.arange(60) % 2).float().expand(1, 60, 60)
    found = slice_features(MeanEncoder(patch_size=2, channels=1), grid=7)(stripes)
    torch.testing.assert_close(found[:, 1:-1, 1:-1], torch.full((1, 5, 5), 0.5), atol=0.02, rtol=0)


def test_stretching_keeps_the_extent():
    ramp = (torch.arange(12.0) + 0.5).view(1, 12, 1).expand(1, 12, 4)
    found = stretch(ramp, (6, 4))
    torch.testing.assert_close(found[0, :, 0], 2 * torch.arange(6.0) + 1)
    assert stretch(ramp, (24, 2)).shape == (1, 24, 2)


def test_a_weight_of_zero_leaves_a_term_out():
    def fails(displacement):
        raise AssertionError("not to be computed")

    total = sum_terms([(0.7, lambda u: u.sum()), (0.0, fails), (2.0, lambda u: u.square().sum())])
    assert float(total(torch.tensor([1.0, 2.0]))) == pytest.approx(0.7 * 3 + 2 * 5)
