"""By which features a result is judged."""

from dataclasses import replace

import pytest
import torch
from core_reference import smooth_noise

from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.pair import PairFeatures
from dinoreg.guard.judged import Judged, structure_of
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Features, Part
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import pool

SHAPE, BOX = (24, 26, 31), ((4, 20), (0, 26), (2, 30))
FRAME = Frame(SHAPE, (2.0, 3.0, 1.5), BOX)
LATTICE = FRAME.lattice((2, 2, 2))
CPU = torch.device("cpu")


def _image(rng, family):
    values = smooth_noise(SHAPE, rng, sigma=2.0)
    foreground = torch.zeros(SHAPE, dtype=torch.bool)
    foreground[3:, 2:] = True
    whole = tuple(slice(0, n) for n in SHAPE)
    return PreparedImage(values, foreground.numpy(), whole, family=family)


@pytest.fixture
def unlike(rng):
    """A CT and an MR of nothing in common."""
    return _image(rng, "ct"), _image(rng, "mr")


@pytest.mark.parametrize(
    ("encoder", "families", "by_structure"),
    [
        ("intensity", ("ct", "mr"), True),
        ("intensity", ("mr", "mr"), False),
        ("mind", ("ct", "mr"), False),
    ],
)
def test_alike_intensities_prove_nothing_between_two_families(unlike, encoder, families, by_structure, rng):
    """The features say that all is matched, and the structure of the images that nothing is."""
    images = tuple(replace(image, family=f) for image, f in zip(unlike, families, strict=True))
    values = torch.from_numpy(rng.standard_normal((1, *LATTICE.shape)).astype("float32"))
    alike = Features(values, torch.ones_like(values), LATTICE)
    features = PairFeatures((FeaturePair(alike, alike, (Part(encoder, 1, 1.0),)),), (1.0,))
    found = Deformation.identity(LATTICE, device=CPU)
    verdict = Judged(LATTICE, (), LATTICE, masked=True).verdict(features, found, images, FRAME)
    assert (verdict.evidence.residual > 0.8) == by_structure
    assert (verdict.grade == "failed") == by_structure or families == ("mr", "mr")


def test_the_structure_is_that_of_the_whole_image_in_the_box(unlike):
    pair = structure_of(unlike, FRAME, LATTICE, CPU)
    for image, seen in zip(unlike, (pair.fixed, pair.moving), strict=True):
        box = tuple(slice(start, stop) for start, stop in BOX)
        features = MindSsc(radius=1, dilation=2)(torch.from_numpy(image.values)[None])
        expected = pool(features[(slice(None), *box)], LATTICE.stride)
        torch.testing.assert_close(seen.values, expected, atol=1e-5, rtol=0)
        share = torch.from_numpy(image.foreground).float()[None]
        torch.testing.assert_close(seen.weight, pool(share[(slice(None), *box)], LATTICE.stride))
        assert seen.lattice == LATTICE
