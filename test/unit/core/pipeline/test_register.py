import numpy as np
import pytest
import torch
from core_checks import central_median, check_recovers_shift, light_config, run_registration
from core_reference import SHAPE, SHIFT, SPACING, shifted_pair, smooth_noise
from scipy import ndimage

from dinoreg.encoders import pooled
from dinoreg.encoders.pooled import encode_pooled
from dinoreg.errors import NumericalError
from dinoreg.optimise.adam import AdamTrace
from dinoreg.optimise.instance import stage as instance
from dinoreg.pipeline.register import register, register_prepared
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Preprocess
from dinoreg.settings.load import load_preset
from dinoreg.stage import StageEnded
from regtask.grid import Grid

LARGE = (48, 42, 54)


@pytest.mark.parametrize("shape", [LARGE, (47, 43, 55)], ids=["divisible", "not divisible"])
def test_convexadam_recovers_a_shift(shape, rng):
    check_recovers_shift(shape, load_preset("convexadam"), rng)


@pytest.mark.parametrize("sign", [1, -1])
def test_light_settings_recover_a_shift_and_the_swapped_pair_its_opposite(sign, rng):
    check_recovers_shift((32, 36, 42), light_config(), rng, sign=sign)


def test_permuted_axes_permute_the_displacement(rng):
    fixed, moving = shifted_pair((32, 36, 42), SHIFT, rng)
    for order in ((2, 0, 1), (1, 0, 2)):
        found = run_registration(fixed.transpose(order), moving.transpose(order), light_config())
        np.testing.assert_allclose(central_median(found), np.take(SHIFT, order), atol=0.1)


def test_flipped_axes_flip_the_displacement(rng):
    fixed, moving = shifted_pair((32, 36, 42), SHIFT, rng)
    found = run_registration(fixed[:, ::-1], moving[:, ::-1], light_config())
    np.testing.assert_allclose(central_median(found), np.multiply(SHIFT, (1, -1, 1)), atol=0.1)


def test_an_image_and_itself_give_nothing(rng):
    image = smooth_noise(SHAPE, rng)
    found = run_registration(image, image, light_config())
    assert np.abs(found).max() < 0.05


def test_the_identity_preset_gives_nothing_at_all(rng):
    fixed, moving = shifted_pair(SHAPE, SHIFT, rng)
    found = run_registration(fixed, moving, load_preset("identity"))
    assert found.dtype == np.float32
    assert found.shape == (*SHAPE, 3)
    assert not found.any()


@pytest.mark.parametrize("shape", [(33, 37, 1), (1, 37, 41)])
def test_a_single_slice(shape, rng):
    shift = tuple(0 if n == 1 else t for n, t in zip(shape, SHIFT, strict=True))
    fixed, moving = shifted_pair(shape, shift, rng)
    found = run_registration(fixed, moving, light_config())
    assert found.shape == (*shape, 3)
    np.testing.assert_allclose(_central_median(found), shift, atol=0.15)


def _central_median(field):
    box = tuple(slice(n // 4, n - n // 4) if n > 1 else slice(None) for n in field.shape[:3])
    return np.median(field[box].reshape(-1, 3), axis=0)


def test_constant_margins_are_left_out_and_replicated(rng):
    # Content in the middle only: the block is cut out on cell borders and the result padded back.
    fixed, moving = shifted_pair((32, 36, 42), (1, -2, 3), rng)
    wide = [np.zeros((45, 36, 60), np.float32) for _ in range(2)]
    for canvas, image in zip(wide, (fixed, moving), strict=True):
        canvas[9:41, :, 7:49] = image
    config = light_config(masked=True)
    prepared = [prepare_image(a, config.preprocess, modality="MR", mask=None) for a in wide]
    result = register_prepared(*prepared, SPACING, config, device=torch.device("cpu"))
    assert result.plan.frame.box == ((4, 45), (0, 36), (0, 56))
    found = result.displacement
    assert found.shape == (45, 36, 60, 3)
    np.testing.assert_array_equal(found[0], found[4])
    np.testing.assert_array_equal(found[:, :, -1], found[:, :, 55])
    inner = found[17:33, 9:27, 18:38].reshape(-1, 3)
    np.testing.assert_allclose(np.median(inner, axis=0), [1, -2, 3], atol=0.1)


def _folds(displacement):
    """Non-positive determinants by numpy's central differences."""
    gradients = np.gradient(displacement.astype(np.float64), axis=(0, 1, 2))
    return int((np.linalg.det(np.eye(3) + np.stack(gradients, axis=-1)) <= 0).sum())


def test_no_folds_are_left_and_stages_are_reported(rng):
    fixed, moving = smooth_noise(SHAPE, rng), smooth_noise(SHAPE, rng)  # nothing in common
    config = light_config(adam=({"cell_mm": 2.0, "iterations": 20, "regularity_weight": 0.0},))
    prepared = [prepare_image(a, config.preprocess, modality="MR", mask=None) for a in (fixed, moving)]
    told = []
    result = register_prepared(*prepared, SPACING, config, device=torch.device("cpu"), on_stage=told.append)
    names = ["features", "discrete", "adam", "guard"]
    assert [stage.name for stage in result.stages] == names
    assert [event.name for event in told[::2]] == names
    assert [event.report for event in told[1::2]] == list(result.stages)
    assert all(event.fallback is None for event in told[1::2])  # nothing here to fall back to
    assert _folds(result.displacement) == 0
    loose = register_prepared(
        *prepared,
        SPACING,
        config.model_copy(update={"guard": config.guard.model_copy(update={"max_folding_percent": 100.0})}),
        device=torch.device("cpu"),
    ).displacement
    assert _folds(loose) > 0  # there was something to repair


def test_the_start_is_kept(rng):
    fixed, moving = shifted_pair(SHAPE, (1, -2, 3), rng)
    config = light_config(
        start=({"kind": "affine", "cell_mm": 2.0, "iterations": 5},), discrete=(), adam=(), masked=True
    )
    prepared = [prepare_image(a, config.preprocess, modality="MR", mask=None) for a in (fixed, moving)]
    kept = []
    result = register_prepared(*prepared, SPACING, config, device=torch.device("cpu"), on_stage=kept.append)
    (start,) = [event for event in kept if isinstance(event, StageEnded) and event.fallback]
    assert start.report.name == "start: affine"
    np.testing.assert_array_equal(start.fallback(), result.displacement)


def test_masks_keep_the_background_from_pulling(rng):
    # Body moves by (1, -2, 3); everything else is a pattern that stays. Only with masks the body is right at
    # its rim too, and values outside it do not matter at all.
    shape = (28, 30, 34)
    fixed, moving = shifted_pair(shape, (1, -2, 3), rng)
    masks = [np.zeros(shape, bool), np.zeros(shape, bool)]
    masks[0][6:20, 8:24, 6:24] = True
    masks[1][7:21, 6:22, 9:27] = True
    config = light_config(masked=True, preprocess=Preprocess(normalise=False, foreground="task"))

    def run(outside):
        prepared = []
        for image, mask in zip((fixed, moving), masks, strict=True):
            values = np.where(mask, image, outside).astype(np.float32)
            prepared.append(prepare_image(values, config.preprocess, modality="MR", mask=mask))
        return register_prepared(*prepared, SPACING, config, device=torch.device("cpu")).displacement

    found = run(0.0)
    np.testing.assert_allclose(
        np.median(found[8:18, 10:22, 8:22].reshape(-1, 3), axis=0), [1, -2, 3], atol=0.15
    )
    np.testing.assert_array_equal(run(smooth_noise(shape, rng)), found)


def test_a_result_that_is_not_finite_is_refused(rng, monkeypatch):
    image = smooth_noise((12, 13, 14), rng)

    def nowhere(model, term, **settings):
        return torch.full_like(model.displacement(), float("nan")), AdamTrace((), 1)

    monkeypatch.setattr(instance, "refine_adam", nowhere)
    with pytest.raises(NumericalError, match="not finite"):
        run_registration(image, image, light_config(discrete=()))


def test_large_steps_come_to_rest_on_a_small_lattice():
    """The Adam stage of `dinoreg` on 20 x 9 x 42 cells; at a constant rate this pair ends 0.8 voxels off."""
    rng = np.random.default_rng(0)
    for _ in range(6):  # the pairs before it
        shifted_pair((40, 18, 84), SHIFT, rng)
    images = shifted_pair((40, 18, 84), SHIFT, rng)
    published = load_preset("dinoreg").adam[0]
    assert (published.learning_rate, published.decay) == (3.0, "cosine")
    config = light_config(discrete=(), adam=(published,))
    found = run_registration(*images, config, spacing=(1.0, 1.0, 1.0))
    np.testing.assert_allclose(central_median(found), SHIFT, atol=0.1)


def bent_pair(spacing, rng):
    """An image bent within a few cells, and the displacement that did it, (I, J, K, 3)."""
    shape = (40, 36, 44)
    image, index = smooth_noise(shape, rng, sigma=1.5), np.indices(shape).astype(float)
    along = (2.2 * np.sin(index[2] * 2 * np.pi / 18), 0 * index[0], 1.2 * np.cos(index[0] * np.pi / 10))
    bent = ndimage.map_coordinates(image, index + along, order=1, mode="nearest")
    grid = Grid(shape, np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))
    scans = [Scan((300 + 90 * values).astype(np.float32), grid, "MR") for values in (bent, image)]
    return ImagePair(*scans), np.stack(along, axis=-1)


def test_moving_is_encoded_anew_where_it_was_brought_and_fixed_is_not(rng, monkeypatch):
    encoded = []

    def counting(encoder, image, lattice, **options):
        encoded.append(type(encoder).__name__)
        return encode_pooled(encoder, image, lattice, **options)

    monkeypatch.setattr(pooled, "encode_pooled", counting)
    pair, truth = bent_pair((2.0, 2.5, 2.0), rng)
    found = register(pair, load_preset("auto"), device=torch.device("cpu"))
    assert sorted(encoded) == ["IntensityEncoder"] * 3 + ["MindSsc"] * 3
    plain = load_preset("auto", ["adam.0.iterations=40"]).model_copy(update={"renewed": None})
    without = register(pair, plain, device=torch.device("cpu"))
    errors = [
        np.linalg.norm(r.displacement - truth, axis=-1)[8:-8, 8:-8, 8:-8].mean() for r in (found, without)
    ]
    assert errors[0] < 0.8 * errors[1]
    assert "renewed" in [stage.name for stage in found.stages]
    # What a verdict is made from was found by the features as they were.
    assert found.verdict == without.verdict


def test_between_thick_slices_nothing_is_encoded_anew(rng):
    pair, _ = bent_pair((2.0, 2.5, 9.0), rng)
    found = register(pair, load_preset("auto"), device=torch.device("cpu"))
    assert "renewed" not in [stage.name for stage in found.stages]
    (adam,) = (stage.facts for stage in found.stages if stage.name == "adam")
    assert adam.iterations == 80
    assert found.plan.as_dict()["stages"][-1]["name"] != "renewed"
