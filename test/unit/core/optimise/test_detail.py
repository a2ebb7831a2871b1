"""The last optimisation, on single voxels: finds what wider cells cannot hold, where it may be believed."""

import numpy as np
import pytest
import torch
from core_reference import smooth_noise
from scipy import ndimage

from dinoreg.encoders.ensemble import scale_pair
from dinoreg.encoders.pair import BoxImages, PairFeatures
from dinoreg.optimise.intensities.detail import DetailOptimisation, averaged
from dinoreg.settings.config import Detail
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Features, Part
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import pool

SHAPE, STRIDE, SPACING = (36, 30, 44), (2, 3, 1), (1.5, 1.0, 3.0)
FRAME = Frame(SHAPE, SPACING, tuple((0, n) for n in SHAPE))


@pytest.fixture
def scene(rng):
    return np.clip(0.5 + 0.2 * smooth_noise(SHAPE, rng), 0, 1).astype(np.float32)


def pair_of(fixed, moving):
    lattice = FRAME.lattice(STRIDE)
    images = [torch.from_numpy(image)[None] for image in (fixed, moving)]
    ones = torch.ones(1, *SHAPE)

    def on_cells(image):
        return Features(pool(image, STRIDE), pool(ones, STRIDE), lattice)

    both = scale_pair(*(on_cells(image) for image in images))
    features = FeaturePair(*both, (Part("intensity", 1, 1.0),))
    return PairFeatures((features,), (1.0,), images=BoxImages(*images, (ones, ones)))


def run(features, start=None, **settings):
    stage = DetailOptimisation(Detail(**settings), FRAME.lattice(STRIDE), FRAME.voxels, masked=True)
    return stage.run(start or Deformation.identity(stage.lattice), features, FRAME)


def moved(image, vectors):
    where = np.indices(SHAPE) + vectors
    return ndimage.map_coordinates(image, where, order=1, mode="nearest").astype(np.float32)


@pytest.fixture
def wave():
    """Voxels: shorter than two cells along each axis."""
    i, j, k = np.indices(SHAPE).astype(np.float64)
    return 0.6 * np.stack([np.sin(j / 2), np.sin(k / 2), np.sin(i / 2)]).astype(np.float32)


def test_what_cells_of_several_voxels_cannot_hold_is_found(scene, wave):
    fixed = moved(scene, wave)
    found = run(pair_of(fixed, scene), iterations=60, regularity_weight=0.1)
    assert found.deformation.lattice == FRAME.voxels
    before = np.abs(fixed - scene).mean()
    assert np.abs(fixed - moved(scene, found.deformation.vectors.numpy())).mean() < 0.6 * before
    assert found.facts.iterations == 60
    assert found.facts.agreement.intensity_trust == 2.0


def test_the_start_is_kept_where_intensities_are_not_trusted(scene, rng):
    other = np.clip(0.5 + 0.2 * smooth_noise(SHAPE, rng), 0, 1).astype(np.float32)
    start = Deformation(torch.full((3, *FRAME.lattice(STRIDE).shape), 0.25), FRAME.lattice(STRIDE))
    found = run(pair_of(scene, other), start)
    assert found.deformation is start
    assert found.facts.iterations == 0
    assert found.facts.agreement.intensity_trust < 1.0


def test_inverted_intensities_do_not_matter(scene, wave):
    fixed = moved(scene, wave)
    plain, scaled = (run(pair_of(fixed, moving)) for moving in (scene, 1 - scene))
    difference = (plain.deformation.vectors - scaled.deformation.vectors).abs()
    assert float(difference.mean()) < 0.02
    assert float(plain.deformation.vectors.abs().mean()) > 0.1


def test_other_features_keep_their_say(scene):
    """MIND, here one channel, says that nothing moved; intensities that something did."""
    fixed = np.roll(scene, 1, axis=0)
    alone = pair_of(fixed, scene)
    (block,) = alone.blocks

    def joined(features, other):
        return Features(torch.cat([other, features.values]), features.weight, features.lattice)

    still = 3 * block.fixed.values
    both = FeaturePair(
        joined(block.fixed, still),
        joined(block.moving, still),
        (Part("mind", 1, 0.5), Part("intensity", 1, 0.5)),
    )
    held = run(PairFeatures((both,), (1.0,), images=alone.images))
    free = run(alone)
    assert float(held.deformation.vectors[0].abs().mean()) < 0.8 * float(
        free.deformation.vectors[0].abs().mean()
    )


def test_a_displacement_is_averaged_in_the_units_of_the_wider_cells():
    voxels = torch.tensor([3.0, -5.0, 7.0]).view(3, 1, 1, 1).expand(3, *SHAPE)
    wide = averaged(voxels, STRIDE)
    assert wide.shape == (3, *FRAME.lattice(STRIDE).shape)
    assert torch.allclose(wide[:, 0, 0, 0], torch.tensor([1.5, -5 / 3, 7.0]))


def test_for_lack_of_memory_the_cells_grow_to_those_of_the_features_and_it_ends():
    stage = DetailOptimisation(Detail(), FRAME.lattice((5, 3, 4)), FRAME.voxels, masked=True)
    strides = []
    while stage is not None:
        strides.append(stage.fine.stride)
        stage = stage.coarser(FRAME)
    assert strides == [(1, 1, 1), (5, 3, 2), (5, 3, 4)]
    last = DetailOptimisation(Detail(), FRAME.lattice(STRIDE), FRAME.lattice(STRIDE), masked=True)
    start = Deformation.identity(last.lattice)
    features = pair_of(*(np.random.default_rng(0).random((2, *SHAPE), np.float32)))
    assert last.run(start, PairFeatures(features.blocks, images=features.images), FRAME).deformation is start
