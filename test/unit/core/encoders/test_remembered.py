import torch

from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.encoders.slices.remembered import RememberedTokens


class Counting(SliceEncoder):
    """Patch and slice means; counts its calls."""

    patch_size, channels = 2, 1

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, slices):
        self.calls += 1
        return SliceTokens(torch.nn.functional.avg_pool2d(slices, 2), slices.mean(dim=(2, 3)))


def batch(seed, shape=(3, 1, 4, 6)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_equal_slices_are_encoded_once():
    inner = Counting()
    encoder = RememberedTokens(inner, 1 << 20)
    first, again, other = encoder(batch(0)), encoder(batch(0).clone()), encoder(batch(1))
    assert inner.calls == 2
    assert torch.equal(first.patches, again.patches)
    assert torch.equal(first.cls, again.cls)
    for tokens, slices in ((first, batch(0)), (other, batch(1))):
        expected = Counting()(slices)
        assert torch.equal(tokens.patches, expected.patches)
        assert torch.equal(tokens.cls, expected.cls)
    assert (encoder.patch_size, encoder.channels) == (2, 1)


def test_the_shape_counts():
    inner = Counting()
    encoder = RememberedTokens(inner, 1 << 20)
    assert encoder(batch(0)).patches.shape == (3, 1, 2, 3)
    assert encoder(batch(0).reshape(3, 1, 6, 4)).patches.shape == (3, 1, 3, 2)
    assert inner.calls == 2


def test_the_oldest_tokens_make_room():
    inner = Counting()
    one = 4 * (3 * 6 + 3)  # float32: 6 patches and a cls token of 3 slices
    encoder = RememberedTokens(inner, 2 * one)
    for seed, calls in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        encoder(batch(seed))
        assert inner.calls == calls


def test_gradients_are_not_remembered():
    inner = Counting()
    encoder = RememberedTokens(inner, 1 << 20)
    encoder(batch(0))
    slices = batch(0).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(slices).patches.sum(), slices)
    assert torch.equal(gradient, torch.full_like(gradient, 0.25))
    assert inner.calls == 2
    with torch.no_grad():
        encoder(slices)
    assert inner.calls == 2
