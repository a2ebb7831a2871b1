"""How much smoothness an Adam stage asks for, by what the intensities are worth."""

import pytest
from core_checks import light_config

from dinoreg.errors import ConfigError
from dinoreg.optimise.instance import InstanceOptimisation
from dinoreg.optimise.intensities.agreement import AgreementFacts
from dinoreg.settings.config import Adam
from dinoreg.settings.load import load_preset
from dinoreg.space.lattice import Lattice

LATTICE = Lattice((8, 8, 8), (1, 1, 1), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(("trust", "expected"), [(None, 4.0), (0.0, 4.0), (0.5, 2.0), (1.0, 1.0), (2.0, 1.0)])
def test_the_weight_falls_where_intensities_are_trusted(trust, expected):
    settings = Adam(regularity_weight=4.0, trusted_regularity_weight=1.0)
    stage = InstanceOptimisation(settings, LATTICE, masked=False, measured=True)
    facts = None if trust is None else AgreementFacts(0.5, 0.5, trust)
    assert stage._regularity(facts) == pytest.approx(expected)


@pytest.mark.parametrize("weights", [(4.0, None), (0.0, 1.0), (4.0, 0.0)])
def test_without_a_second_weight_or_with_none_at_all_the_first_stays(weights):
    settings = Adam(regularity_weight=weights[0], trusted_regularity_weight=weights[1])
    stage = InstanceOptimisation(settings, LATTICE, masked=False, measured=True)
    assert stage._regularity(AgreementFacts(0.5, 0.5, 2.0)) == weights[0]


def test_only_measured_intensities_can_be_trusted():
    with pytest.raises(ConfigError, match=r"takes features\.intensities measured"):
        load_preset("mind", ["adam.0.trusted_regularity_weight=0.7"])
    assert light_config().adam[0].trusted_regularity_weight is None
    assert load_preset("auto").adam[0].trusted_regularity_weight == 0.7
