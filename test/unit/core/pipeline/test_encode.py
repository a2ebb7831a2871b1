import numpy as np
import pytest
import torch
from core_checks import central_median, encode, light_config
from core_reference import SPACING, shifted_pair, smooth_noise
from slice_encoders import MeanEncoder, load_mean

from dinoreg.encoders.ensemble import REFERENCE_ENERGY, scale_pair
from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.pca import read_basis, write_basis
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.pooled import encode_pooled
from dinoreg.encoders.registry import LoadedEncoder, load_encoder
from dinoreg.encoders.slices import source
from dinoreg.errors import ConfigError
from dinoreg.pipeline.plan import make_plan
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import (
    Adam,
    Config,
    Dinov2,
    Discrete,
    FeatureSettings,
    HypothesesStart,
    Mind,
    SlicesStart,
)
from dinoreg.settings.load import config_hash, parse_config
from dinoreg.space.features import Features, Part
from dinoreg.space.lattice import Lattice
from dinoreg.space.lattice import pool as pool_cells
from dinoreg.task.manifest import run_header
from dinoreg.weights.search import WeightsFile

CPU = torch.device("cpu")
SHAPE = (32, 36, 42)
TOKENS = Dinov2(variant="vits14", up_sampling=4.0, slice_step=2, components=3)
MIND = Mind(radius=1, dilation=2)


def _config(*encoders, ensemble="concatenate", unit_scale=True, **changes):
    features = FeatureSettings(encoders=encoders, ensemble=ensemble, cell_mm=2.0, unit_scale=unit_scale)
    return light_config(features=features, **changes)


def _pair(rng, config, shift=(1, -2, 3), shape=SHAPE, mask=None):
    images = shifted_pair(shape, shift, rng)
    low = min(image.min() for image in images)
    high = max(image.max() for image in images)
    return [
        prepare_image((i - low) / (high - low), config.preprocess, modality="MR", mask=mask, comes_again=True)
        for i in images
    ]


def _encode(config, pair, encoder=None, **settings):
    pool = EncoderPool(CPU, load=load_mean(encoder or MeanEncoder(channels=3)), **settings)
    return encode(config, pair, pool)


def _energy(fixed, moving):
    """Mean squared distance of unrelated cells: of fixed to moving in another order."""
    a, b = (f.values.flatten(1).double().numpy() for f in (fixed, moving))
    spread = a.var(axis=1) + b.var(axis=1) + (a.mean(axis=1) - b.mean(axis=1)) ** 2
    return spread.sum()


def test_mind_alone_is_bit_for_bit_what_the_encoder_and_the_scale_give(rng):
    config = _config(MIND)
    pair = _pair(rng, config)
    plan = make_plan(config, SHAPE, SPACING)
    expected = scale_pair(
        *(
            Features(
                encode_pooled(MindSsc(radius=1, dilation=2), torch.from_numpy(i.values)[None], plan.finest),
                pool_cells(torch.from_numpy(i.foreground).float()[None], plan.finest.stride),
                plan.finest,
            )
            for i in pair
        )
    )
    (block,) = _encode(config, pair)[0].blocks
    for found, wanted in zip((block.fixed, block.moving), expected, strict=True):
        assert torch.equal(found.values, wanted.values)
        assert torch.equal(found.weight, wanted.weight)


def test_concatenation_keeps_the_energy_and_shares_it_by_weight(rng):
    config = _config(TOKENS.model_copy(update={"weight": 3.0}), MIND)
    (block,) = _encode(config, _pair(rng, config))[0].blocks
    assert block.parts == (Part("dinov2", 3, 0.75), Part("mind", 12, 0.25))
    assert block.fixed.values.shape[0] == 15
    assert _energy(block.fixed, block.moving) == pytest.approx(REFERENCE_ENERGY, rel=1e-4)
    of_tokens = [Features(f.values[:3], f.weight, f.lattice) for f in (block.fixed, block.moving)]
    assert _energy(*of_tokens) == pytest.approx(0.75 * REFERENCE_ENERGY, rel=1e-4)


def test_averaging_keeps_the_encoders_apart(rng):
    config = _config(TOKENS, MIND, ensemble="average")
    found, details = _encode(config, _pair(rng, config))
    assert [block.fixed.values.shape[0] for block in found.blocks] == [3, 12]
    assert found.shares == (0.5, 0.5)
    for block in found.blocks:
        assert _energy(block.fixed, block.moving) == pytest.approx(REFERENCE_ENERGY, rel=1e-4)
    assert found.joined.fixed.values.shape[0] == details["channels"] == 15


def test_the_average_of_two_is_the_mean_of_each_alone(rng):
    changes = {"adam": (Adam(cell_mm=2.0, iterations=10),)}
    pair = _pair(rng, _config(MIND))

    def run(*encoders):
        config = _config(*encoders, ensemble="average", **changes)
        maker = EncoderPool(CPU, load=load_mean(MeanEncoder(channels=3)))
        return register_prepared(*pair, SPACING, config, device=CPU, pool=maker).displacement

    both = run(TOKENS.model_copy(update={"weight": 3.0}), MIND)
    np.testing.assert_allclose(both, 0.75 * run(TOKENS) + 0.25 * run(MIND), atol=2e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("similarity", ["ssd", "lcc"])
def test_tokens_recover_a_shift_whatever_the_slicing_axis(axis, similarity, rng):
    settings = TOKENS.model_copy(update={"axis": axis})
    adam = Adam(cell_mm=2.0, iterations=60, similarity=similarity, regularity_weight=0.3)
    config = _config(settings, adam=(adam,), preprocess={"normalise": False, "foreground": "none"})
    pair = _pair(rng, config, (3, -5, 7))
    maker = EncoderPool(CPU, load=load_mean(MeanEncoder(channels=3)))
    found = register_prepared(*pair, SPACING, config, device=CPU, pool=maker).displacement
    np.testing.assert_allclose(central_median(found), (3, -5, 7), atol=0.35)


def test_an_image_is_encoded_once_however_many_pairs_use_it(rng):
    config = _config(TOKENS)
    first, second = _pair(rng, config)
    encoder = MeanEncoder(channels=3)
    maker = EncoderPool(CPU, load=load_mean(encoder))
    encode(config, (first, second), maker)
    slices = sum(encoder.batches)
    assert slices == 2 * 22  # 0, 2, ..., 40 and 41
    one, _ = encode(config, (second, first), maker)
    assert sum(encoder.batches) == slices
    fresh = EncoderPool(CPU, load=load_mean(MeanEncoder(channels=3)))
    alone, _ = encode(config, (second, first), fresh)
    assert torch.equal(one.blocks[0].fixed.values, alone.blocks[0].fixed.values)


def test_background_is_exactly_zero_and_small_masks_do(rng):
    config = _config(TOKENS, masked=True, preprocess={"normalise": False, "foreground": "task"})
    radii = [(index - (n - 1) / 2) / (0.4 * n) for index, n in zip(np.indices(SHAPE), SHAPE, strict=True)]
    mask = np.square(radii).sum(axis=0) < 1  # a body whose border crosses patches, within its box
    found, details = _encode(config, _pair(rng, config, mask=mask))
    (block,) = found.blocks
    outside = (block.fixed.weight == 0)[0]
    assert bool(outside.any())
    assert not bool(block.fixed.values[:, outside].any())
    assert bool(block.fixed.values[:, ~outside].any())
    assert details["encoders"][0]["foreground_share"] == 0.99
    config = config.model_copy(
        update={"features": FeatureSettings(encoders=(TOKENS.model_copy(update={"up_sampling": 2.0}),))}
    )
    thin = np.zeros(SHAPE, bool)
    thin[8:20, 10:30, 5:33] = np.indices((12, 20, 28)).sum(axis=0) % 2 == 0  # no patch is full of it
    found, details = _encode(config, _pair(rng, config, mask=thin))
    assert details["encoders"][0]["foreground_share"] < 0.99
    assert bool(found.blocks[0].fixed.values.any())


def test_what_is_found_is_reported(rng):
    config = _config(TOKENS)
    _, details = _encode(config, _pair(rng, config))
    (found,) = details["encoders"]
    assert found["slices"] == [22, 22]
    assert found["channels"] == 3
    assert sum(found["explained_variance"]) == pytest.approx(1, abs=1e-3)  # 3 of 3 dimensions
    raw, _ = _encode(_config(TOKENS, unit_scale=False), _pair(np.random.default_rng(20240607), config))
    assert found["energy"] == pytest.approx(_energy(raw.blocks[0].fixed, raw.blocks[0].moving), rel=1e-4)
    assert found["up_sampling"] == 4.0
    assert found["memory_mib"]["free"] > 0


def test_little_memory_means_smaller_batches_then_coarser_tokens(rng, monkeypatch):
    config = _config(TOKENS)
    pair = _pair(rng, config)
    needed = 2 * 22 * 1440 * 3 * 2  # tokens alone, at s = 4
    monkeypatch.setattr(source, "free_memory", lambda device: 8 * needed)
    _, details = _encode(config, pair)
    assert details["encoders"][0]["batch"] < TOKENS.batch
    monkeypatch.setattr(source, "free_memory", lambda device: 0)
    encoder = MeanEncoder(channels=3)
    _, details = _encode(config, pair, encoder)
    assert (details["encoders"][0]["up_sampling"], details["encoders"][0]["batch"]) == (1.0, 1)


def test_running_out_of_memory_ends_in_coarser_tokens(rng):
    class Tight(MeanEncoder):
        def forward(self, slices):
            if slices[0].numel() > 36 * 32 * 9:
                raise torch.OutOfMemoryError("a slice is too large")
            return super().forward(slices)

    config = _config(TOKENS)
    _, details = _encode(config, _pair(rng, config), Tight(channels=3))
    assert details["encoders"][0]["up_sampling"] == pytest.approx(4 * 0.8**2)


def test_a_saved_basis_gives_the_same_features(tmp_path, rng):
    config = _config(TOKENS)
    pair = _pair(rng, config)
    fitted, _ = _encode(config, pair)
    write_basis(tmp_path / "b.safetensors", fitted.evidence[0].basis)
    assert read_basis(tmp_path / "b.safetensors", channels=3).components.shape == (3, 3)
    saved = TOKENS.model_copy(update={"basis": str(tmp_path / "b.safetensors")})
    again, _ = _encode(_config(saved), pair)
    assert torch.equal(again.blocks[0].moving.values, fitted.blocks[0].moving.values)
    with pytest.raises(ConfigError, match="does not fit the encoder"):
        _encode(_config(saved), pair, MeanEncoder(channels=2))


def test_colours_are_three_channels_of_both(rng):
    config = _config(TOKENS.model_copy(update={"components": 2}))
    found, _ = _encode(config, _pair(rng, config))
    fixed, moving = found.evidence[0].colours
    assert fixed.shape == moving.shape == (3, *found.blocks[0].fixed.lattice.shape)
    assert not fixed[2].any()


def test_digests_of_weights_and_basis_are_in_the_hash(tmp_path):
    def load(sha256):
        weights = WeightsFile(tmp_path / "w.pth", sha256, "custom")

        def one(settings, device):
            return (
                load_encoder(settings, device) if settings == MIND else LoadedEncoder(MeanEncoder(), weights)
            )

        return one

    config = Config(features=FeatureSettings(encoders=(MIND, TOKENS)))

    def digests(config, sha256):
        sources = EncoderPool(CPU, load=load(sha256)).sources(config.features.encoders)
        return {n: found.digests for n, found in enumerate(sources)}

    hashes = {config_hash(config, digests(config, s)) for s in ("a" * 64, "b" * 64)}
    assert len(hashes) == 2
    moved = config.model_copy(
        update={
            "features": FeatureSettings(encoders=(MIND, TOKENS.model_copy(update={"weights": "/elsewhere"})))
        }
    )
    assert config_hash(moved, digests(moved, "a" * 64)) in hashes
    pool = EncoderPool(CPU, load=load("a" * 64))
    assert run_header(config, pool, "hash")["weights"]["1"]["sha256"] == "a" * 64


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cls_slices_find_a_shift_that_is_no_multiple_of_the_step(axis, robust, rng):
    # Slices differ in their mean, which the published rule needs to be unlike in all slices. The shift is
    # along the slicing axis only, and every third slice is encoded.
    shift = [0, 0, 0]
    shift[axis] = 5
    shape = (38, 36, 42)
    profile = smooth_noise((60, 1, 1), rng, sigma=3.0)[:, 0, 0] if robust else np.linspace(0, 4, 60)
    noise = smooth_noise((60, 60, 60), rng, sigma=1.0)
    whole = np.moveaxis(profile[:, None, None] + 0.1 * noise, 0, axis)
    crops = []
    for start in (9, 9 - 5):
        window = [slice(0, n) for n in shape]
        window[axis] = slice(start, start + shape[axis])
        crops.append((whole[tuple(window)] - whole.min()) / np.ptp(whole))
    settings = TOKENS.model_copy(update={"axis": axis, "slice_step": 3})
    step = SlicesStart(kind="slices", descriptor="cls", axis=axis, robust=robust, closest=10)
    config = _config(settings, start=(step,), discrete=(), adam=())
    pair = [prepare_image(c.astype(np.float32), config.preprocess, modality="MR", mask=None) for c in crops]
    maker = EncoderPool(CPU, load=load_mean(MeanEncoder(channels=3)))
    result = register_prepared(*pair, SPACING, config, device=CPU, pool=maker)
    assert result.stages[1].facts.descriptor == "cls"
    found = result.displacement[0, 0, 0]
    assert found[axis] == pytest.approx(5, abs=1.5)
    assert not np.delete(found, axis).any()


@pytest.mark.parametrize("axis", [0, 2])
def test_a_single_slice(axis, rng):
    shape, shift = [33, 37, 41], [3, -5, 7]
    shape[axis], shift[axis] = 1, 0
    settings = TOKENS.model_copy(update={"axis": axis})
    step = SlicesStart(kind="slices", axis=axis)
    adam = Adam(cell_mm=2.0, iterations=60, regularity_weight=0.3)
    config = _config(settings, start=(step,), adam=(adam,))
    pair = _pair(rng, config, tuple(shift), tuple(shape))
    maker = EncoderPool(CPU, load=load_mean(MeanEncoder(channels=3)))
    found = register_prepared(*pair, SPACING, config, device=CPU, pool=maker).displacement
    inner = tuple(slice(n // 4, n - n // 4) if n > 1 else slice(None) for n in shape)
    np.testing.assert_allclose(np.median(found[inner].reshape(-1, 3), axis=0), shift, atol=0.5)


def test_encoders_at_other_weights_are_what_those_weights_give(rng):
    """Features of weights 3 to 1, weighed anew 1 to 4, and on a coarser lattice."""
    pair = _pair(rng, _config(Mind()))

    def joined(*weights):
        shapes = ((1, 2), (2, 1))
        encoders = [Mind(weight=w, radius=r, dilation=d) for w, (r, d) in zip(weights, shapes, strict=True)]
        return _encode(_config(*encoders), pair)[0].joined

    found, own = joined(3.0, 1.0), joined(1.0, 4.0)
    coarse = Lattice(own.fixed.lattice.image_shape, (4, 8, 4), (4.0, 8.0, 4.0))
    for lattice in (own.fixed.lattice, coarse):
        anew = found.on(lattice, [2.0, 8.0])
        torch.testing.assert_close(anew.fixed.values, own.fixed.on(lattice).values)
        torch.testing.assert_close(anew.moving.values, own.moving.on(lattice).values)
        assert anew.parts == own.parts
        assert anew.fixed.lattice == lattice


@pytest.mark.parametrize(("weights", "number"), [([1.0, 0.0], 0), ([0.0, 0.3], 1)])
def test_an_encoder_of_weight_0_is_left_out(rng, weights, number):
    encoders = (Mind(weight=3.0), Mind(radius=2, dilation=1))
    pair = _pair(rng, _config(*encoders))
    found = _encode(_config(*encoders), pair)[0].joined
    found = found.on(found.fixed.lattice, weights)
    alone = _encode(_config(encoders[number]), pair)[0].joined
    torch.testing.assert_close(found.fixed.values, alone.fixed.values)
    torch.testing.assert_close(found.moving.values, alone.moving.values)
    assert found.parts == alone.parts


@pytest.mark.parametrize("stage", ["start", "discrete", "adam"])
def test_stages_see_the_encoders_at_their_own_weights(rng, stage):
    """With one encoder left out, a stage does what it does by the other alone."""
    steps = {
        "start": HypothesesStart(kind="hypotheses", range_mm=(0, 0, 12.0), step_mm=4.0, cell_mm=4.0),
        "discrete": Discrete(cell_mm=4.0, radius_mm=12.0),
        "adam": Adam(cell_mm=2.0, iterations=10),
    }
    first, second = Mind(weight=3.0), Mind(radius=3, dilation=3)
    pair = _pair(rng, _config(first))

    def run(*encoders, weights=()):
        """Distances of the hypotheses, or the displacement."""
        step = steps[stage].model_copy(update={"weights": weights})
        only = dict.fromkeys(steps, ()) | {stage: (step,)}
        found = register_prepared(*pair, SPACING, _config(*encoders, **only), device=CPU)
        if stage == "start":
            return np.array([h.distance for h in found.stages[1].facts.hypotheses])
        return found.displacement

    assert np.abs(run(first) - run(second)).max() > 0.02
    np.testing.assert_allclose(run(first, second, weights=(1.0, 0.0)), run(first), atol=2e-3)
    np.testing.assert_allclose(run(first, second, weights=(0.0, 1.0)), run(second), atol=2e-3)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], [0.0, 0.0], [1.0, -1.0]])
@pytest.mark.parametrize("stage", ["start", "discrete", "adam"])
def test_weights_of_a_stage_that_do_not_fit_are_refused(stage, weights):
    encoders = [{"name": "mind"}, {"name": "intensity"}]
    settings = {"weights": weights} | ({"kind": "hypotheses"} if stage == "start" else {})
    with pytest.raises(ConfigError, match="weights"):
        parse_config({"features": {"encoders": encoders}, stage: [settings]}, where="test")


@pytest.mark.parametrize("stage", ["discrete", "adam"])
def test_weights_of_a_stage_want_features_that_are_joined(stage):
    features = {"encoders": [{"name": "mind"}, {"name": "intensity"}], "ensemble": "average"}
    settings = {"features": features, stage: [{"weights": [1.0, 2.0]}]}
    with pytest.raises(ConfigError, match="concatenated"):
        parse_config(settings, where="test")
    parse_config(settings | {stage: [{}]}, where="test")
