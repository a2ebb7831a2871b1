import pytest
from pydantic import ValidationError

from dinoreg.errors import ConfigError
from dinoreg.settings.config import Adam, Config, Discrete, Ffd, PublishedAdam, PublishedDiscrete
from dinoreg.settings.load import parse_config


def _faults(values):
    with pytest.raises(ConfigError) as caught:
        parse_config(values, where="here")
    return [str(fault) for fault in caught.value.faults]


def test_defaults_are_valid_and_frozen():
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.masked = False


@pytest.mark.parametrize(
    ("values", "place", "guess"),
    [
        ({"adam": [{"iteration": 5}]}, "adam.0.iteration", "iterations"),
        ({"features": {"cell_m": 5.0}}, "features.cell_m", "cell_mm"),
        ({"preproces": {}}, "preproces", "preprocess"),
        ({"features": {"encoders": [{"name": "mind", "radus": 1}]}}, "radus", "radius"),
        ({"start": [{"kind": "hypotheses", "rang_mm": [1.0, 1.0, 1.0]}]}, "rang_mm", "range_mm"),
        ({"guard": {"max_folding": 1.0}}, "guard.max_folding", "max_folding_percent"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(values, place, guess):
    (fault,) = _faults(values)
    assert "unknown key" in fault
    assert "here: " in fault
    assert place in fault
    assert f"did you mean {guess}?" in fault


def test_a_key_like_no_other_gets_no_guess():
    (fault,) = _faults({"zzzzqqqq": 1})
    assert "zzzzqqqq" in fault
    assert "did you mean" not in fault
    assert fault.endswith("-> see: dinoreg config show mind")


def test_all_faults_at_once():
    faults = _faults(
        {
            "masked": "yes",
            "unknown": 1,
            "features": {"cell_mm": -1.0},
            "discrete": [{"radius_mm": 0.0}, {"consistency_iterations": 1.5}],
            "adam": [{"smoothing_width": 4}],
            "guard": {"max_folding_percent": 101.0},
        }
    )
    places = (
        "masked",
        "unknown",
        "features.cell_mm",
        "discrete.0.radius_mm",
        "discrete.1.consistency_iterations",
        "adam.0",
        "guard.max_folding_percent",
    )
    assert len(faults) == len(places)
    for place in places:
        assert sum(f"here: {place};" in fault or f"here: {place} " in fault for fault in faults) == 1, place


@pytest.mark.parametrize(
    "values",
    [
        {"features": {"cell_mm": "4"}},  # no text for a number
        {"adam": [{"iterations": 80.0}]},  # no float for a count
        {"adam": [{"iterations": 0}]},
        {"adam": [{"similarity": "mse"}]},
        {"start": [{"kind": "magic"}]},
        {"start": [{}]},
        {"numerics": "other"},
        {"preprocess": {"ct_width_hu": 0}},
        {"preprocess": {"mr_percentile": 100.5}},
    ],
)
def test_values_out_of_range_or_of_another_type_are_refused(values):
    assert len(_faults(values)) == 1


def test_a_whole_number_is_good_for_a_length():
    assert parse_config({"features": {"cell_mm": 4}}, where="here").features.cell_mm == 4.0


@pytest.mark.parametrize("key", ["smoothing_width", "lcc_window"])
def test_windows_are_odd(key):
    with pytest.raises(ValidationError, match=f"{key} must be odd, got 6"):
        Adam(**{key: 6})


def test_published_stages_come_as_a_pair_and_alone():
    adam, discrete = (PublishedAdam(kind="published"),), (PublishedDiscrete(kind="published"),)
    assert Config(adam=adam, discrete=discrete).published
    for others in (
        {"adam": adam},
        {"adam": adam, "discrete": (Discrete(),)},
        {"adam": adam, "discrete": discrete, "ffd": (Ffd(),)},
    ):
        with pytest.raises(ValidationError, match="one discrete and one adam stage, no start and no ffd"):
            Config(**others)


@pytest.mark.parametrize("key", ["similarity", "smoothing_width", "stop_below", "lcc_window", "weights"])
def test_published_stages_refuse_what_they_would_ignore(key):
    stages = {"discrete": [{"kind": "published"}], "adam": [{"kind": "published", key: 1}]}
    (fault,) = _faults(stages)
    assert f"unknown key: here: adam.0.{key} -> other parts have this key" in fault


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": {"encoders": []}}, "at least one encoder"),
        ({"features": {"encoders": [{"name": "dino"}]}}, "dinov2"),
        ({"features": {"encoders": [{"radius": 2}]}}, "name"),
        ({"features": {"encoders": [{"name": "dinov2", "variant": "vitx14"}]}}, "vitl14-reg"),
        ({"features": {"encoders": [{"name": "dinov2", "sha256": "ABC"}]}}, "sha256"),
        ({"features": {"encoders": [{"name": "dinov2", "up_sampling": 0}]}}, "up_sampling"),
        ({"features": {"encoders": [{"name": "dinov3"}]}}, "weights"),
        ({"features": {"encoders": [{"name": "sam", "weights": ""}]}}, "weights"),
        ({"features": {"encoders": [{"name": "sam", "intensities": "imagenet"}]}}, "medsam"),
        ({"features": {"encoders": [{"name": "sam", "normalisation": "imagenet"}]}}, "normalisation"),
        ({"ffd": [{"alpha": 1.1}]}, "alpha"),
        ({"ffd": [{"levels": 0}]}, "levels"),
        ({"ffd": [{"order": "late"}]}, "dynamic"),
        ({"start": [{"kind": "slices", "descriptor": "cls"}]}, "cls tokens and axis 2"),
        (
            {
                "features": {"encoders": [{"name": "dinov2", "axis": 1}]},
                "start": [{"kind": "slices", "descriptor": "cls", "axis": 2}],
            },
            "cls tokens and axis 2",
        ),
        (
            {
                "features": {"ensemble": "average"},
                "discrete": [{"kind": "published"}],
                "adam": [{"kind": "published"}],
            },
            "concatenated features",
        ),
    ],
)
def test_encoders_that_cannot_be(values, message):
    assert any(message in fault for fault in _faults(values))


def test_several_encoders_of_one_kind():
    config = parse_config(
        {
            "features": {
                "encoders": [{"name": "mind", "radius": 1}, {"name": "mind", "radius": 3, "weight": 2}]
            }
        },
        where="here",
    )
    assert [encoder.radius for encoder in config.features.encoders] == [1, 3]
    assert [encoder.weight for encoder in config.features.encoders] == [1.0, 2.0]
