import tomllib

import pytest

from dinoreg.settings.config import AffineStart, CentresStart, Config, HypothesesStart, SlicesStart
from dinoreg.settings.load import load_preset, parse_config, preset_names
from dinoreg.settings.show import to_toml


def _round_trip(config):
    return parse_config(tomllib.loads(to_toml(config)), where="here")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_reads_back_the_same(name):
    assert _round_trip(load_preset(name)) == load_preset(name)


def test_defaults_read_back_the_same():
    assert _round_trip(Config()) == Config()


def test_several_stages_and_all_kinds_of_start_read_back_the_same():
    config = parse_config(
        {
            "description": 'with "quotes", a \\ and é',
            "adam": [{"cell_mm": 8.0, "learning_rate": 1e-7}, {"cell_mm": 2.0}],
            "discrete": [{}, {"radius_mm": 12.0}],
        },
        where="here",
    )
    starts = (
        CentresStart(kind="centres"),
        SlicesStart(kind="slices", axis=0, robust=False),
        AffineStart(kind="affine"),
        HypothesesStart(kind="hypotheses", range_mm=(1.0, 2.0, 3.0)),
    )
    config = config.model_copy(update={"start": starts})
    assert _round_trip(config) == config


def test_every_key_is_written():
    text = to_toml(load_preset("convexadam"))
    for entry in ("mr_percentile = 97.0", "consistency_iterations = 15", 'naming = "long"', "start = []"):
        assert entry in text
