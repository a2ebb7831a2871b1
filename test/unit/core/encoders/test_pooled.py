import pytest
import torch
from core_reference import SHAPE, smooth_noise

from dinoreg.encoders.base import Encoder
from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.pooled import encode_pooled
from dinoreg.space.lattice import Lattice, pool


class _Steps(Encoder):
    """An encoder with a known margin that reports what it was given."""

    rank, channels, margin = 3, 1, 3

    def __init__(self):
        super().__init__()
        self.rows = []

    def forward(self, image, context=None):
        assert context is None
        self.rows.append(image.shape[1])
        return image


@pytest.mark.parametrize("slab_voxels", [1, 3_000, 6_000, 1 << 20])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 3, 4), (3, 4, 5), (7, 1, 34)])
def test_slabs_equal_the_whole(slab_voxels, stride, rng):
    encoder = MindSsc(radius=2, dilation=3)
    image = torch.from_numpy(smooth_noise(SHAPE, rng))[None]
    lattice = Lattice(SHAPE, stride, tuple(map(float, stride)))
    found = encode_pooled(encoder, image, lattice, slab_voxels=slab_voxels)
    assert found.shape == (12, *lattice.shape)
    torch.testing.assert_close(found, pool(encoder(image), stride), atol=1e-4, rtol=0)


def test_plane(rng):
    encoder = MindSsc(radius=1, dilation=2, rank=2)
    image = torch.from_numpy(smooth_noise((21, 26), rng))[None]
    found = encode_pooled(encoder, image, Lattice((21, 26), (2, 3), (2.0, 3.0)), slab_voxels=100)
    torch.testing.assert_close(found, pool(encoder(image), (2, 3)), atol=1e-4, rtol=0)


def test_a_single_slice(rng):
    encoder = MindSsc(radius=1, dilation=2)
    image = torch.from_numpy(smooth_noise((1, 26, 34), rng))[None]
    found = encode_pooled(encoder, image, Lattice((1, 26, 34), (1, 2, 2), (1.0, 2.0, 2.0)), slab_voxels=1)
    torch.testing.assert_close(found, pool(encoder(image), (1, 2, 2)), atol=1e-4, rtol=0)


def test_memory_is_bounded_and_an_encoder_without_context_is_served(rng):
    encoder = _Steps()
    image = torch.from_numpy(smooth_noise(SHAPE, rng))[None]
    lattice = Lattice(SHAPE, (3, 1, 1), (3.0, 1.0, 1.0))
    found = encode_pooled(encoder, image, lattice, slab_voxels=3 * 26 * 34)
    torch.testing.assert_close(found, pool(image, (3, 1, 1)))
    # 3 rows per slab and a margin of 3 on the inner sides; the last slab has the 2 rows that are left.
    assert encoder.rows == [6, 9, 9, 9, 9, 8, 5]


def test_no_gradients_are_kept(rng):
    image = torch.from_numpy(smooth_noise((8, 9, 10), rng))[None].requires_grad_()
    found = encode_pooled(MindSsc(radius=1, dilation=1), image, Lattice((8, 9, 10), (2, 2, 2), (2.0,) * 3))
    assert not found.requires_grad
