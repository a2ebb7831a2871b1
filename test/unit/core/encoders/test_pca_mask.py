"""The mask of the PCA alone, whole slices, and the background as it is: what `dinoreg-published` asks for."""

import numpy as np
import pytest
import torch
from core_checks import encode, light_config
from core_reference import smooth_noise
from slice_encoders import MeanEncoder, load_mean

from dinoreg.encoders.pool import EncoderPool
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Dinov2, FeatureSettings, Preprocess
from dinoreg.settings.load import load_preset
from dinoreg.study.ablation_rows import ablation_rows

SHAPE = (20, 22, 24)


def _pair(rng, preprocess):
    index = [(i - (n - 1) / 2) / (0.4 * n) for i, n in zip(np.indices(SHAPE), SHAPE, strict=True)]
    body = np.square(index).sum(axis=0) < 1
    images = [np.where(body, 300 + 60 * smooth_noise(SHAPE, rng), 20.0).astype(np.float32) for _ in range(2)]
    return [prepare_image(image, preprocess, modality="MR", mask=body) for image in images], body


def _encode(rng, **changes):
    settings = Dinov2(up_sampling=4.0, slice_step=2, components=2, **changes)
    preprocess = Preprocess(background="kept")
    config = light_config(features=FeatureSettings(encoders=(settings,), cell_mm=2.0), preprocess=preprocess)
    pair, _ = _pair(rng, preprocess)
    pool = EncoderPool(torch.device("cpu"), load=load_mean(MeanEncoder(channels=3)))
    found, facts = encode(config, pair, pool)
    outside = found.joined.fixed.weight[0] == 0
    assert bool(outside.any())
    return found.joined.fixed.values[:, outside], facts["encoders"][0]


@pytest.mark.parametrize("masked", [True, False])
def test_without_its_mask_the_pca_sees_and_keeps_the_background(masked, rng):
    background, facts = _encode(rng, pca_mask=masked, whole_slices=True)
    assert bool(background.any()) != masked
    assert facts.get("foreground_share") == (0.99 if masked else None)


def test_whole_slices(rng):
    facts = [_encode(np.random.default_rng(1), whole_slices=whole)[1] for whole in (False, True)]
    assert facts[1]["slices"] == [13, 13]  # 0, 2, ..., 22 and 23
    assert facts[0]["slices"][0] < 13
    assert facts[0]["patches"][0] < facts[1]["patches"][0]


def test_a_background_that_is_kept(rng):
    (image, _), body = _pair(rng, Preprocess(background="kept"))
    (cut, _), _ = _pair(np.random.default_rng(20240607), Preprocess())
    assert not cut.values[~body].any()
    assert image.foreground.sum() == body.sum()
    assert image.values[~body].max() == 0  # the minimum of this image
    assert not np.allclose(image.values[body], cut.values[body])  # another percentile


def test_the_published_preset_and_its_row():
    full, alone = load_preset("dinoreg-published"), load_preset("dinoreg-published-adam")
    assert (len(full.discrete), len(alone.discrete)) == (1, 0)
    assert alone.model_copy(update={"discrete": full.discrete, "name": full.name, "description": ""}) == (
        full.model_copy(update={"description": ""})
    )
    (encoder,) = full.features.encoders
    # lambda = 2 beside a mean over 24 channels is 48 beside their sum.
    assert full.adam[0].regularity_weight == 2 * encoder.components
    assert (full.features.unit_scale, full.masked) == (False, False)
    (row,) = (row for row in ablation_rows(load_preset("dinoreg")) if row.name == "no-pca-mask")
    assert row.config.masked
    assert row.config.preprocess == load_preset("dinoreg").preprocess
