"""How much smoothness an Adam stage asks for, by what the intensities are worth."""

import math

import pytest
import torch
from core_checks import light_config
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.errors import ConfigError
from dinoreg.optimise.data_term import warp_linear
from dinoreg.optimise.instance.stage import AdamFacts, InstanceOptimisation
from dinoreg.optimise.intensities.agreement import AgreementFacts
from dinoreg.settings.config import Adam
from dinoreg.settings.load import load_preset
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Features, Part
from dinoreg.space.lattice import Lattice
from dinoreg.space.separable import apply_along_axes, box_matrix

LATTICE = Lattice((8, 8, 8), (1, 1, 1), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(("trust", "expected"), [(None, 4.0), (0.0, 4.0), (0.5, 2.0), (1.0, 1.0), (2.0, 1.0)])
def test_the_weight_falls_where_intensities_are_trusted(trust, expected):
    settings = Adam(regularity_weight=4.0, trusted_regularity_weight=1.0)
    stage = InstanceOptimisation(settings, LATTICE, masked=False, measured=True)
    facts = None if trust is None else AgreementFacts(0.5, 0.5, trust)
    assert stage._regularity(facts, None) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("gain", "expected"), [(-0.1, 4.0), (0.03, 4.0), (0.04, 2.0), (0.05, 1.0), (0.5, 1.0)]
)
def test_and_where_less_smoothness_explains_what_it_was_not_fitted_to(gain, expected):
    settings = Adam(regularity_weight=4.0, trusted_regularity_weight=1.0)
    stage = InstanceOptimisation(settings, LATTICE, masked=False, measured=True)
    assert stage._regularity(AgreementFacts(0.5, 0.5, 2.0), gain) == pytest.approx(expected)


@pytest.mark.parametrize("weights", [(4.0, None), (0.0, 1.0), (4.0, 0.0)])
def test_without_a_second_weight_or_with_none_at_all_the_first_stays(weights):
    settings = Adam(regularity_weight=weights[0], trusted_regularity_weight=weights[1])
    stage = InstanceOptimisation(settings, LATTICE, masked=False, measured=True)
    assert stage._regularity(AgreementFacts(0.5, 0.5, 2.0), 0.5) == weights[0]


@pytest.mark.parametrize(
    ("weights", "trust", "renewal", "asks"),
    [
        ((4.0, 1.0), 2.0, None, True),
        ((4.0, 1.0), 0.0, None, False),
        ((4.0, 1.0), None, None, False),
        ((4.0, None), 2.0, None, False),
        ((4.0, None), None, 40, True),
        ((0.0, None), None, 40, False),
    ],
)
def test_what_less_smoothness_gains_is_asked_only_where_something_depends_on_it(
    weights, trust, renewal, asks
):
    settings = Adam(regularity_weight=weights[0], trusted_regularity_weight=weights[1])
    stage = InstanceOptimisation(settings, LATTICE, masked=False, measured=True, before_renewal=renewal)
    assert stage._asks_for_gain(None if trust is None else AgreementFacts(0.5, 0.5, trust)) == asks


def test_only_measured_intensities_can_be_trusted():
    with pytest.raises(ConfigError, match=r"takes features\.intensities measured"):
        load_preset("mind", ["adam.0.trusted_regularity_weight=0.7"])
    assert light_config().adam[0].trusted_regularity_weight is None
    assert load_preset("auto").adam[0].trusted_regularity_weight == 0.7


@pytest.mark.parametrize("masked", [False, True])
def test_smoothness_follows_what_the_images_show(masked):
    """Two images that bend within a few cells, and two that differ by a shift and noise."""
    shape, generator = (40, 36, 44), torch.Generator().manual_seed(0)
    lattice = Lattice(shape, (1, 1, 1), (2.0, 2.5, 2.0))
    noise = torch.randn(3, *shape, generator=generator)
    texture = apply_along_axes(noise, [box_matrix(n, 5, 3) for n in shape])
    texture = texture / texture.std()
    wave = torch.sin(torch.arange(shape[0]) * 2 * math.pi / 30).view(-1, 1, 1).expand(shape)
    bent = 1.5 * torch.stack([0 * wave, wave, -wave])
    shifted = torch.tensor([0.7, -2.25, 1.3]).view(-1, 1, 1, 1).expand_as(bent).contiguous()

    def facts(truth: Tensor, start: Tensor, noise_level: float) -> AdamFacts:
        images = [warp_linear(texture, truth), texture]
        noisy = [v + noise_level * torch.randn(v.shape, generator=generator) for v in images]
        seen = [Features(v / math.sqrt(6), torch.ones(1, *shape), lattice) for v in noisy]
        parts = (Part("intensity", 1, 1 / 3), Part("mind", 2, 2 / 3))
        settings = Adam(regularity_weight=2.0, trusted_regularity_weight=0.1, iterations=10)
        stage = InstanceOptimisation(settings, lattice, masked=masked, measured=True)
        features = PairFeatures((FeaturePair(*seen, parts),), (1.0,))
        found = stage.run(Deformation(start, lattice), features, None).facts
        assert found.agreement.intensity_trust > 1
        return found

    detailed, noisy = facts(bent, 0 * bent, 0.0), facts(shifted, shifted, 0.3)
    assert detailed.held_out_gain > 0.1
    assert detailed.regularity_weight == pytest.approx(0.1)
    assert noisy.held_out_gain < 0.03
    assert noisy.regularity_weight == pytest.approx(2.0)
