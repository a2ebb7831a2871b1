"""Axial slices are axial, and seen the same way, however an image is stored."""

import numpy as np
import pytest
import torch
from core_checks import central_median, light_config
from core_reference import shifted_pair
from slice_encoders import load_mean

from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.encoders.slices.slice_plan import plan_slices
from dinoreg.encoders.slices.turned import array_to_ras, plan_from_ras
from dinoreg.errors import ConfigError
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings.config import Dinov2, FeatureSettings, SlicesStart
from dinoreg.settings.load import load_preset, parse_config
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.space.orientation import from_ras, ras_axes, turn_vectors_from_ras
from regtask.grid import Grid

RAS_SHAPE, RAS_MM = (24, 30, 36), (2.0, 1.5, 3.0)
SHIFT = (2, -3, 4)
ORIENTATIONS = ["RAS", "LPS", "PIR", "SAL"]
CPU = torch.device("cpu")


class Lopsided(SliceEncoder):
    """Sees which way a slice lies: each channel weighs the corners of a patch otherwise."""

    patch_size, channels = 4, 3

    def forward(self, slices):
        b, _, h, w = slices.shape
        pixels = slices.reshape(b, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3).flatten(1, 2)
        ramp = torch.arange(16.0)
        weights = torch.stack([torch.ones(16), ramp / 8, (ramp % 4) * (ramp // 4) / 4])
        patches = torch.einsum("kp,bphw->bkhw", weights, pixels)
        return SliceTokens(patches, patches.mean(dim=(2, 3)))


def stored(volume, orientation):
    """A volume in R, A, S as an image of an orientation has it."""
    return np.ascontiguousarray(from_ras(torch.from_numpy(volume)[None], orientation)[0].numpy())


def stored_pair(images, orientation):
    letters = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(orientation):
        direction, sign = letters[letter]
        affine[direction, axis] = sign * RAS_MM[direction]
    affine[:3, 3] = 7.0  # a header that states something
    grid = Grid(stored(images[0], orientation).shape, affine)
    return ImagePair(*(Scan(stored(image, orientation), grid, "MR") for image in images))


def config(slices="axial", **changes):
    tokens = Dinov2(up_sampling=4.0, slice_step=2, components=3, slices=slices)
    step = SlicesStart(kind="slices", descriptor="cls", slices=slices, robust=False)
    features = FeatureSettings(encoders=(tokens,), cell_mm=4.0)
    return light_config(features=features, start=(step,), voxel_lengths=False, **changes)


def run(images, orientation, settings):
    pool = EncoderPool(CPU, load=load_mean(Lopsided()))
    return register(stored_pair(images, orientation), settings, device=CPU, pool=pool)


@pytest.fixture(scope="module")
def images():
    found = shifted_pair(RAS_SHAPE, SHIFT, np.random.default_rng(7))
    low = min(float(image.min()) for image in found)
    return [(image - low).astype(np.float32) for image in found]


@pytest.mark.parametrize("orientation", ORIENTATIONS[1:])
@pytest.mark.parametrize("slices", ["axial", "sagittal", "coronal"])
def test_the_same_pair_gives_the_same_tokens_however_it_is_stored(slices, orientation, images):
    settings = config(slices, discrete=(), adam=())
    reference, found = (run(images, o, settings) for o in ("RAS", orientation))
    facts = [r.stages[0].facts.encoders[0].found for r in (reference, found)]
    assert facts[0].patches == facts[1].patches or slices_are_transposed(slices, orientation)
    np.testing.assert_allclose(
        facts[0].pca.explained_variance, facts[1].pca.explained_variance, rtol=1e-4, atol=2e-5
    )
    for role in (0, 1):
        expected = stored_colours(reference.evidence[0].colours[role], orientation)
        np.testing.assert_allclose(found.evidence[0].colours[role], expected, atol=2e-3)
    match = [r.matches[0] for r in (reference, found)]
    falls = ras_axes(orientation)[1][["sagittal", "coronal", "axial"].index(slices)]
    assert match[1].shift == pytest.approx(-match[0].shift if falls else match[0].shift, abs=1e-3)


def slices_are_transposed(slices, orientation):
    axes, _ = ras_axes(orientation)
    plane = [axes[a] for a in range(3) if a != ["sagittal", "coronal", "axial"].index(slices)]
    return plane[0] > plane[1]


def stored_colours(colours, orientation):
    return from_ras(torch.from_numpy(colours), orientation).numpy()


def test_a_registration_is_the_same_however_it_is_stored(images):
    reference, found = (run(images, o, config()).displacement for o in ("RAS", "LPS"))
    turned = from_ras(torch.from_numpy(reference).movedim(-1, 0), "LPS")
    expected = turn_vectors_from_ras(turned, "LPS").movedim(0, -1).numpy()
    # Cells over the edge lie at the other end, so that it is the same but for the border.
    np.testing.assert_allclose(central_median(found), central_median(expected), atol=0.1)


def test_slices_of_the_array_depend_on_how_it_is_stored(images):
    """What the setting is for: these tokens differ."""
    settings = config("array", discrete=(), adam=())
    reference, found = (run(images, o, settings).evidence[0].colours[0] for o in ("RAS", "LPS"))
    assert np.abs(found - stored_colours(reference, "LPS")).max() > 0.05


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turned_plan_is_that_of_the_turned_volume(axis, orientation):
    inside = np.zeros(RAS_SHAPE, bool)
    inside[3:20, 4:29, 5:32] = True
    settings = {"up_sampling": 3.1, "slice_step": 1, "patch_size": 4}
    plan = plan_slices(inside, RAS_MM, axis=axis, **settings)
    axes, _ = ras_axes(orientation)
    spacing = [RAS_MM[axes.index(a)] for a in range(3)]
    expected = plan_slices(stored(inside, orientation), spacing, axis=axes[axis], **settings)
    assert plan_from_ras(plan, orientation) == expected
    back = array_to_ras(stored(inside, orientation), orientation)
    np.testing.assert_array_equal(back, inside)


@pytest.mark.parametrize(
    ("mm", "expected"),
    [((2.0, 2.0, 2.0), 5.3), ((0.8, 0.9, 5.0), 0.8 * 14 / 5.2), ((0.7, 0.7, 3.0), 0.7 * 14 / 5.2)],
)
def test_patches_of_small_voxels_are_not_made_smaller(mm, expected):
    """On AbdomenMRCT the presets do what is published; small voxels make no more patches than those."""
    settings = load_preset("dinoreg").features.encoders[0]
    encoder = Lopsided()
    encoder.patch_size = 14
    (source,) = EncoderPool(CPU, load=load_mean(encoder)).sources([settings])
    shape = (64, 64, 8)
    frame = Frame(shape, mm, tuple((0, n) for n in shape))
    sizes, _ = source._sizes_that_fit(frame, Lattice(shape, (2, 2, 2), mm))
    assert sizes[0].up_sampling == pytest.approx(expected)


def test_a_guide_cuts_across_array_axes():
    values = {"features": {"encoders": [{"name": "sam", "slices": "axial"}]}, "ffd": [{"alpha": 0.3}]}
    with pytest.raises(ConfigError, match="slices of its guides must be array"):
        parse_config(values, where="test")
