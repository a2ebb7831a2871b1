from dataclasses import replace

import numpy as np
import pytest
import torch
from core_reference import SPACING, shifted_pair

from dinoreg.encoders.evidence import Evidence, SliceCodes
from dinoreg.encoders.pair import PairFeatures
from dinoreg.facts import plain
from dinoreg.settings.config import AffineStart, CentresStart, HypothesesStart, SlicesStart
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Features, Part
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.start.planned import plan_start

SHAPE = (14, 16, 20)
SHIFT = (2, -3, 4)
STEPS = {
    "centres": CentresStart(kind="centres"),
    "slices": SlicesStart(kind="slices", axis=2),
    "affine": AffineStart(kind="affine", iterations=20, learning_rate=0.02),
    "hypotheses": HypothesesStart(
        kind="hypotheses", range_mm=(3.0, 2.4, 10.0), step_mm=5.0, radius_mm=(1.5, 0.8, 2.5), min_overlap=0.2
    ),
}


def _pair(rng, shift=SHIFT):
    """Noise in a box of foreground, well inside, moved by `shift`."""
    values = shifted_pair(SHAPE, shift, rng, sigma=1.0, channels=3)
    pair = []
    for volume, offset in zip(values, ((0, 0, 0), shift), strict=True):
        weight = np.zeros((1, *SHAPE), np.float32)
        weight[(0, *(slice(3 + o, n - 4 + o) for o, n in zip(offset, SHAPE, strict=True)))] = 1
        pair.append(
            Features(torch.from_numpy(volume), torch.from_numpy(weight), Lattice(SHAPE, (1, 1, 1), SPACING))
        )
    return pair


def _run(step, pair, base=None, codes=None):
    """Run a step on the lattice of a pair; its displacement and facts."""
    fixed, moving = pair
    lattice = fixed.lattice
    base = torch.zeros(3, *SHAPE) if base is None else base
    frame = Frame(lattice.image_shape, SPACING, tuple((0, n) for n in lattice.image_shape))
    stage = plan_start(step, lattice, frame)
    seen = (Evidence((), (), None, codes),) if codes else ()
    features = PairFeatures((FeaturePair(fixed, moving, (Part("mind", 3, 1.0),)),), (1.0,), seen)
    found = stage.run(Deformation(base, lattice), features, frame)
    return found.deformation.vectors, plain(found.facts) or {}


@pytest.mark.parametrize("kind", ["centres", "affine"])
def test_a_translation_is_found(kind, rng):
    found, _ = _run(STEPS[kind], _pair(rng))
    inside = found[:, 4:10, 4:12, 4:16].flatten(1).median(dim=1).values
    np.testing.assert_allclose(inside, SHIFT, atol=0.1)


def test_centres_report_millimetres(rng):
    found, details = _run(STEPS["centres"], _pair(rng))
    np.testing.assert_allclose(found[:, 0, 0, 0], SHIFT, atol=1e-4)
    np.testing.assert_allclose(details["translation_mm"], np.multiply(SHIFT, SPACING), atol=1e-3)


def test_slices_move_their_axis_only(rng):
    found, details = _run(STEPS["slices"], _pair(rng, (0, 0, 4)))
    np.testing.assert_array_equal(found.flatten(1).T[0], [0, 0, 4])
    assert float(found.flatten(1).std(dim=1).max()) == 0
    np.testing.assert_allclose(details["translation_mm"], [0, 0, 10.0])


def test_hypotheses_report_all_and_choose_one(rng):
    # Steps of 5 mm are 3, 6 and 2 cells, ranges 2, 3 and 4: 0, 0, and -4, -2, 0, 2, 4.
    found, details = _run(STEPS["hypotheses"], _pair(rng, (1, -1, 4)))
    np.testing.assert_array_equal(found[:, 7, 8, 10], [0, 0, 4])
    assert details["translation_mm"] == [0, 0, 10]
    assert sorted(h["translation_mm"][2] for h in details["hypotheses"]) == [-10, -5, 0, 5, 10]


@pytest.mark.parametrize("kind", ["centres", "slices", "affine", "hypotheses"])
def test_every_step_builds_on_the_displacement_so_far(kind, rng):
    base = torch.tensor([1.0, -1.0, 4.0]).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()
    found, _ = _run(STEPS[kind], _pair(rng, (1, -1, 4)), base)
    inside = found[:, 4:10, 4:12, 4:16].flatten(1).median(dim=1).values
    np.testing.assert_allclose(inside, [1, -1, 4], atol=0.1)


def _codes(shift, step=3):
    """Slices at every third voxel whose distance is that of their positions after the shift."""
    at = torch.arange(0.0, 40.0, step)
    valid = torch.ones(len(at), dtype=torch.bool)
    return SliceCodes((at.unsqueeze(1) + shift - at).abs(), at, at, valid, valid)


def test_cls_codes_are_in_voxels_and_the_shift_in_cells(rng):
    fixed, moving = _pair(rng)
    coarse = Lattice(tuple(2 * n for n in SHAPE), (2, 2, 2), tuple(2 * s for s in SPACING))
    pair = [replace(features, lattice=coarse) for features in (fixed, moving)]
    step = SlicesStart(kind="slices", axis=1, descriptor="cls")
    found, details = _run(step, pair, codes={1: _codes(6)})
    np.testing.assert_allclose(found[:, 0, 0, 0], [0, 3, 0], atol=1e-5)  # 6 voxels are 3 cells
    np.testing.assert_allclose(details["translation_mm"], [0, 6 * SPACING[1], 0], rtol=1e-5)
    # Whole slices are compared: a displacement so far of 2 cells has done 4 voxels of it already.
    base = torch.tensor([1.0, 2.0, 0.0]).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()
    found, _ = _run(step, pair, base, codes={1: _codes(6)})
    np.testing.assert_allclose(found[:, 0, 0, 0], [1, 3, 0], atol=1e-5)


def test_auto_takes_cls_only_along_the_axis_that_has_it(rng):
    pair = _pair(rng, (0, 0, 4))
    codes = {1: _codes(6)}
    for axis, expected in ((1, "cls"), (2, "features")):
        _, details = _run(SlicesStart(kind="slices", axis=axis), pair, codes=codes)
        assert details["descriptor"] == expected
    _, details = _run(SlicesStart(kind="slices", axis=1, descriptor="features"), pair, codes=codes)
    assert details["descriptor"] == "features"
