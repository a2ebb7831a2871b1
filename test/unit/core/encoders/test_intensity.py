"""Intensities as features: the values themselves, block means on a lattice, and shifts found by them."""

import numpy as np
import pytest
import torch
from core_checks import light_config
from core_reference import SPACING, shifted_pair

from dinoreg.encoders.intensity import IntensityEncoder
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.pooled import encode_pooled
from dinoreg.encoders.registry import load_encoder
from dinoreg.errors import ConfigError
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import FeatureSettings, Intensity
from dinoreg.space.lattice import Lattice

CPU = torch.device("cpu")
SHAPE = (20, 26, 34)


def test_features_are_the_block_means_of_the_image(rng):
    image = rng.random((8, 9, 10), dtype=np.float32)
    lattice = Lattice(image.shape, (2, 3, 5), (1.0, 1.0, 1.0))
    found = encode_pooled(IntensityEncoder(), torch.from_numpy(image)[None], lattice, slab_voxels=100)
    expected = image.reshape(4, 2, 3, 3, 2, 5).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(found.numpy(), expected[None], atol=1e-6)


def test_the_settings_name_it_and_it_has_no_weights():
    loaded = load_encoder(Intensity(), CPU)
    assert isinstance(loaded.encoder, IntensityEncoder)
    assert loaded.weights is None


def test_a_shift_is_found(rng):
    shift = (1, -2, 3)
    config = light_config(features=FeatureSettings(encoders=(Intensity(),), cell_mm=2.0))
    images = [
        prepare_image(image, config.preprocess, modality="MR", mask=None)
        for image in shifted_pair(SHAPE, shift, rng)
    ]
    found = register_prepared(*images, SPACING, config, device=CPU).displacement[5:-5, 5:-5, 5:-5]
    np.testing.assert_allclose(np.median(found.reshape(-1, 3), axis=0), shift, atol=0.3)


@pytest.mark.parametrize("rank", [2, 3])
def test_it_cannot_guide_a_free_form_stage(rank):
    with pytest.raises(ConfigError, match="cannot guide a free-form stage: intensity"):
        EncoderPool(CPU).sources([Intensity()])[0].guide(rank, 8)
