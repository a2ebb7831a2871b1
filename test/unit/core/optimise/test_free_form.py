"""The free-form stage on synthetic slices and volumes whose deformation is known."""

import numpy as np
import pytest
import torch
from core_reference import positions, sample, smooth_noise
from slice_encoders import MeanEncoder, load_mean

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.pair import BoxImages, PairFeatures
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.pooled import PooledSource
from dinoreg.encoders.registry import load_encoder
from dinoreg.errors import ConfigError
from dinoreg.facts import plain
from dinoreg.optimise.bspline import BSpline, zero_control
from dinoreg.optimise.free_form import FreeForm
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Ffd, Mind
from dinoreg.settings.load import load_preset
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice

SLICE = (40, 48, 1)
VOLUME = (24, 20, 28)
CPU = torch.device("cpu")


def scene(shape, rng, *, amplitude=2.5):
    """Moving image, fixed image and the displacement that leads from one to the other, all (., *shape)."""
    axes = [a for a, n in enumerate(shape) if n > 1]
    mesh = tuple(3 if n > 1 else 0 for n in shape)
    control = zero_control(mesh)
    control[axes] = torch.from_numpy(rng.uniform(-1, 1, size=control[axes].shape)).float()
    lattice = Lattice(shape, (1, 1, 1), (1.0, 1.0, 1.0))
    found = BSpline(control, lattice).displacement().detach()
    displacement = found * (amplitude / float(found.abs().max()))
    moving = smooth_noise(shape, rng, sigma=2.0, channels=1)
    moving = (moving - moving.min()) / np.ptp(moving)
    fixed = sample(moving, positions(shape) + displacement.numpy()).astype(np.float32)
    return torch.from_numpy(moving), torch.from_numpy(fixed), displacement


def prepared(config, *images):
    return [prepare_image(900 * v[0].numpy(), config.preprocess, modality="MR", mask=None) for v in images]


def run(shape, rng, *, start=None, guides=(), weight=None, spoil=None, **settings):
    moving, fixed, truth = scene(shape, rng)
    if spoil is not None:
        fixed = spoil(fixed)
    lattice = Lattice(shape, (1, 1, 1), (1.0, 1.0, 1.0))
    start = torch.zeros_like(truth) if start is None else truth * start
    chosen = {"control_mm": 9.0, "levels": 2, "learning_rate": 0.1, "regularity_weight": 0.02}
    ffd = Ffd(**chosen | settings)
    features = PairFeatures(images=BoxImages(fixed, moving, weight), guides=tuple(guides))
    frame = Frame(shape, (1.0, 1.0, 1.0), tuple((0, n) for n in shape))
    result = FreeForm(ffd, lattice, ffd.control_mm).run(Deformation(start, lattice), features, frame)
    found, details = result.deformation.vectors, plain(result.facts)
    inside = tuple(slice(4, n - 4) if n > 1 else slice(None) for n in shape)
    error = (found - truth)[(slice(None), *inside)].square().sum(0).sqrt().mean()
    identity = truth[(slice(None), *inside)].square().sum(0).sqrt().mean()
    return found, float(error) / float(identity), details


@pytest.mark.parametrize("shape", [SLICE, (40, 1, 48), (1, 48, 40), VOLUME])
def test_correlation_recovers_a_deformation(shape, rng):
    found, error, details = run(shape, rng)
    assert error < 0.25
    assert found.shape == (3, *shape)
    for axis, n in enumerate(shape):
        assert n > 1 or not found[axis].any()
    first, last = details["levels"]
    assert last["cells"] == [n for n in shape if n > 1]
    assert [2 * c - f for c, f in zip(first["cells"], last["cells"], strict=True)] == [0] * len(last["cells"])
    assert last["control_points"] == [round(n / 9) + 3 for n in shape if n > 1]
    # The finer level goes on where the coarser one ended.
    assert last["losses"][-1] < last["losses"][0] < 0.7 * first["losses"][-1] < 0.05


SAM = load_preset("ffd-sam").features.encoders[0]


def guide_of(settings, load=load_encoder):
    (source,) = EncoderPool(CPU, load=load).sources([settings])
    return source


GUIDES = {
    "mind": lambda: guide_of(Mind()),
    "tokens": lambda: guide_of(SAM, load_mean(MeanEncoder(patch_size=2, channels=2))),
}


@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.parametrize("order", ["dynamic", "static"])
@pytest.mark.parametrize("distance", ["cosine", "l1"])
def test_features_alone_drive_a_registration(name, order, distance, rng):
    settings = {"alpha": 1.0, "order": order, "distance": distance, "feature_grid": 48}
    weight = 0.0005 if name == "tokens" else 0.005
    _, error, _ = run(SLICE, rng, guides=[GUIDES[name]()], regularity_weight=weight, **settings)
    assert error < 0.6


def test_mind_guides_volumes(rng):
    _, error, _ = run(VOLUME, rng, guides=[GUIDES["mind"]()], alpha=0.3, iterations=60)
    assert error < 0.4


def test_without_alpha_no_guide_is_asked(rng):
    class Silent(MeanEncoder):
        def forward(self, slices):
            raise AssertionError("asked")

    silent = guide_of(SAM, load_mean(Silent()))
    run(SLICE, rng, guides=[silent], iterations=1)
    with pytest.raises(AssertionError, match="asked"):
        run(SLICE, rng, guides=[silent], iterations=1, alpha=0.1)


def test_an_encoder_of_volumes_is_refused_for_slices(rng):
    volumes = load_encoder(Mind(), CPU).encoder
    source = PooledSource(Mind(), volumes, FeatureCache(0), CPU)
    assert source.guide(3, 8) is volumes
    with pytest.raises(ConfigError, match="cannot guide single slices"):
        source.guide(2, 8)


def test_the_start_stays_beneath_the_splines(rng):
    _, with_start, details = run(SLICE, rng, start=0.9, iterations=1, levels=1)
    assert with_start < 0.2
    assert details["levels"][0]["iterations"] == 1


def test_what_is_not_foreground_does_not_count(rng):
    """A bright block that is in one image only, outside the foreground of both."""

    def spoil(fixed):
        fixed = fixed.clone()
        fixed[:, :14, :14] = 3.0
        return fixed

    mask = torch.ones(1, *SLICE)
    mask[:, :14, :14] = 0
    state = rng.bit_generator.state
    _, masked, _ = run(SLICE, rng, spoil=spoil, weight=(mask, mask))
    rng.bit_generator.state = state
    _, unmasked, _ = run(SLICE, rng, spoil=spoil)
    assert masked < 0.5 < unmasked


@pytest.mark.parametrize("preset", ["ffd-ncc", "ffd-mind"])
@pytest.mark.parametrize("spacing", [1.0, 1.8])
def test_presets_register_a_slice_of_any_spacing(preset, spacing, rng):
    """The lengths follow the finest lattice: the placeholder of 1 mm and true millimetres do the same."""
    moving, fixed, truth = scene(SLICE, rng)
    config = load_preset(preset)
    images = [
        prepare_image(900 * v[0].numpy(), config.preprocess, modality="MR", mask=None)
        for v in (fixed, moving)
    ]
    result = register_prepared(*images, (spacing, spacing, 8.0), config, device=CPU)
    found = torch.from_numpy(result.displacement).movedim(-1, 0)
    assert float((found - truth).square().sum(0).mean()) < 0.3 * float(truth.square().sum(0).mean())
    assert [stage.name for stage in result.stages] == ["ffd", "guard"]
    assert result.stages[0].facts.levels[-1].control_points == (10, 11)
    assert result.guard.folds == 0
    assert result.plan.free[0].lattice.stride == (1, 1, 1)


def test_the_guides_are_the_encoders_of_the_run(rng):
    """Loaded once, and their weights named in the hash and the manifest."""
    encoder = MeanEncoder(patch_size=2, channels=2)
    config = load_preset("ffd-sam", ["ffd.0.iterations=2", "ffd.0.feature_grid=16"])
    moving, fixed, _ = scene(SLICE, rng)
    images = [
        prepare_image(v[0].numpy(), config.preprocess, modality="MR", mask=None) for v in (fixed, moving)
    ]
    pool = EncoderPool(CPU, load=load_mean(encoder))
    register_prepared(*images, (1.0, 1.0, 8.0), config, device=CPU, pool=pool)
    # Both levels: fixed once, the warped image in each of two iterations.
    assert len(encoder.batches) == 6
    assert encoder.sizes == {(26, 32)}
