"""The oracle is what it says: deterministic, alike in all renderings, blurred to patches, spoiled as told."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle_encoder import (
    FAULTS,
    Faults,
    MindOfCodedImage,
    OracleEncoder,
    Rendering,
    coded_image,
)

from dinoreg.encoders.mind import MindSsc

CLASSES = 7
CLEAN = {rendering: Faults(noise=0.0) for rendering in Rendering}


def coded(classes, rendering=Rendering.CT, intensities=None):
    intensities = np.zeros(np.shape(classes)) if intensities is None else intensities
    return torch.from_numpy(coded_image(np.asarray(classes), intensities, rendering, CLASSES))


def blocks(rng, shape=(5, 3, 4), side=14):
    """Slices in which every patch is of one class."""
    patches = rng.integers(1, CLASSES, shape)
    return patches, np.kron(patches, np.ones((1, side, side), int))


def test_a_pure_patch_has_its_class_code_in_every_rendering(rng):
    patches, pixels = blocks(rng)
    for rendering in Rendering:
        encoder = OracleEncoder(CLASSES, faults=CLEAN)
        found = encoder(coded(pixels, rendering, rng.uniform(size=pixels.shape))[:, None]).patches
        expected = encoder.codes[patches].movedim(3, 1)
        torch.testing.assert_close(found, expected)


def test_a_mixed_patch_has_the_mean_code():
    pixels = np.ones((1, 14, 28), int)
    pixels[0, :, :4] = 3
    encoder = OracleEncoder(CLASSES, faults=CLEAN)
    found = encoder(coded(pixels)[:, None]).patches[0, :, 0]
    expected = torch.stack([(10 * encoder.codes[1] + 4 * encoder.codes[3]) / 14, encoder.codes[1]], dim=1)
    torch.testing.assert_close(found, expected)


def test_mixtures_that_up_sampling_makes_say_little(rng):
    """Between classes 1 and 6 lie 2 to 5; of a column of mixtures, hardly one is taken for a class."""
    pixels = np.ones((1, 1, 8, 8), int)
    pixels[..., 4:] = 6
    image = F.interpolate(coded(pixels), (56, 56), mode="bilinear", align_corners=False)
    encoder = OracleEncoder(CLASSES, patch_size=56, faults=CLEAN)
    found = encoder(image).patches[0, :, 0, 0]
    halves = (encoder.codes[1] + encoder.codes[6]) / 2
    assert float((found - halves).norm()) < 0.05 * float(halves.norm())


def test_noise_is_as_large_as_stated_and_differs_between_renderings(rng):
    _, pixels = blocks(rng, (40, 3, 4))
    for rendering, faults in FAULTS.items():
        clean = OracleEncoder(CLASSES, faults=CLEAN)(coded(pixels, rendering)[:, None])
        noisy = OracleEncoder(CLASSES, faults={rendering: Faults(faults.noise)})(
            coded(pixels, rendering)[:, None]
        )
        noise = (noisy.patches - clean.patches).norm(dim=1)
        assert float(noise.mean()) == pytest.approx(faults.noise, rel=0.02)
    one, other = (OracleEncoder(CLASSES)(coded(pixels, r)[:, None]).cls for r in (Rendering.CT, Rendering.MR))
    assert not torch.allclose(one, other, atol=0.01)


def test_background_tokens_are_noise(rng):
    _, pixels = blocks(rng, (40, 4, 2))
    pixels[:, :, 14:] = 0
    found = OracleEncoder(CLASSES, faults={Rendering.CT: Faults(0.3, background=2.0)})(coded(pixels)[:, None])
    clean = OracleEncoder(CLASSES, faults=CLEAN)(coded(pixels)[:, None])
    noise = (found.patches - clean.patches).norm(dim=1).mean(dim=(0, 1))
    assert noise.tolist() == pytest.approx([0.3, (0.3**2 + 2**2) ** 0.5], rel=0.03)


def test_a_cone_beam_drifts_smoothly_over_the_slice():
    pixels = np.ones((1, 392, 336), int)
    faults = {Rendering.CBCT: Faults(noise=0.0, gain=0.6, offset=0.9)}
    encoder = OracleEncoder(CLASSES, faults=faults)
    found = encoder(coded(pixels, Rendering.CBCT)[:, None]).patches[0]
    drift = (found - encoder.codes[1].view(-1, 1, 1)).norm(dim=0)
    assert float(drift.mean()) > 0.5
    steps = torch.cat([found.diff(dim=1).flatten(1), found.diff(dim=2).flatten(1)], dim=1).norm(dim=0)
    assert float(steps.max()) < 0.3 * float(drift.mean())


def test_batches_and_seeds(rng):
    _, pixels = blocks(rng)
    slices = coded(pixels)[:, None]
    whole, again = OracleEncoder(CLASSES)(slices), OracleEncoder(CLASSES)(slices)
    assert torch.equal(whole.patches, again.patches)
    assert torch.equal(whole.cls, again.cls)
    parts = [OracleEncoder(CLASSES)(slices[n : n + 1]) for n in range(len(slices))]
    torch.testing.assert_close(torch.cat([p.patches for p in parts]), whole.patches)
    torch.testing.assert_close(torch.cat([p.cls for p in parts]), whole.cls)
    assert not torch.allclose(OracleEncoder(CLASSES, seed=1)(slices).cls, whole.cls, atol=0.1)


def test_cls_tells_how_far_slices_are_apart():
    """A stack in which one class gives way to the next: the cls tokens keep its order across renderings."""
    shares = np.linspace(0, CLASSES - 1.001, 40)
    stack = np.stack([np.where(np.arange(196) < 196 * (s % 1), int(s) + 1, int(s)) for s in shares])
    stack = np.maximum(stack, 1).clip(max=CLASSES - 1).reshape(40, 14, 14)
    cls = [
        OracleEncoder(CLASSES)(coded(stack, rendering)[:, None]).cls
        for rendering in (Rendering.CT, Rendering.MR)
    ]
    distances = torch.cdist(*cls)
    near = distances.diagonal().mean()
    far = torch.stack([distances[n, n + 15] for n in range(25)]).mean()
    assert float(near) < 0.5 * float(far)
    assert float((distances.argmin(dim=1) - torch.arange(40)).abs().double().median()) <= 2


def test_mind_of_a_coded_image_is_mind_of_its_intensities(rng):
    shape = (9, 8, 10)
    intensities = rng.uniform(size=shape).astype(np.float32)
    image = coded(rng.integers(0, CLASSES, shape), Rendering.MR, intensities)[None]
    expected = MindSsc(radius=1, dilation=2)(torch.from_numpy(intensities)[None])
    torch.testing.assert_close(MindOfCodedImage(CLASSES)(image), expected, atol=2e-3, rtol=0)


def test_codes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="classes: expected 0 to 6"):
        coded([[7]])
    with pytest.raises(ValueError, match="intensities: expected 0 to 1"):
        coded([[1]], intensities=np.array([[1.5]]))


@pytest.fixture
def rng():
    return np.random.default_rng(11)
