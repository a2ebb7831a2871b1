import tomllib
from pathlib import Path

import pytest

import dinoreg
from dinoreg.errors import ConfigError
from dinoreg.settings.config import Config
from dinoreg.settings.load import config_hash, load_config, load_preset, parse_config, preset_names

EXPECTED = (
    "auto",
    "convexadam",
    "convexadam-published",
    "dino3d",
    "dino3d+mind",
    "dinoreg",
    "dinoreg-cpu",
    "dinoreg-mrct",
    "dinoreg-oncoreg",
    "dinoreg-published",
    "dinoreg-published-adam",
    "dinoreg-s3",
    "ffd-dinov2",
    "ffd-mind",
    "ffd-ncc",
    "ffd-published",
    "ffd-sam",
    "identity",
    "mind",
    "mind+intensity",
    "ssd",
    "start-only",
)
FILES = sorted(Path(dinoreg.__file__).parent.joinpath("presets").rglob("*.toml"), key=lambda path: path.stem)


def test_every_file_is_a_preset_and_none_is_missing():
    assert tuple(preset_names()) == EXPECTED
    assert tuple(path.stem for path in FILES) == EXPECTED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_preset_loads_by_name_and_as_a_file(path):
    config = load_preset(path.stem)
    assert config.name == path.stem
    assert config.description
    assert load_config(path) == config


def test_presets_differ():
    assert len({config_hash(load_preset(name)) for name in EXPECTED}) == len(EXPECTED)


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(ConfigError, match="did you mean convexadam") as caught:
        load_preset("convexadm")
    for name in EXPECTED:
        assert name in str(caught.value)


def test_overrides_of_every_type():
    config = load_preset(
        "mind",
        [
            "adam.0.iterations=7",
            "adam.0.learning_rate = 0.25",
            "masked=false",
            "features.encoders.0.radius=3",
            'adam.0.similarity="lcc"',
            "output.naming=both",
            "start=[]",
            "discrete=[{cell_mm = 8.0}, {cell_mm = 4.0, radius_mm = 12.0}]",
            "discrete.1.consistency_iterations=0",
        ],
    )
    assert config.adam[0].iterations == 7
    assert config.adam[0].learning_rate == 0.25
    assert config.adam[0].regularity_weight == load_preset("mind").adam[0].regularity_weight
    assert config.masked is False
    assert config.features.encoders[0].radius == 3
    assert config.features.max_cells == load_preset("mind").features.max_cells
    assert config.adam[0].similarity == "lcc"
    assert config.output.naming == "both"
    assert config.start == ()
    assert [stage.cell_mm for stage in config.discrete] == [8.0, 4.0]
    assert config.discrete[1].consistency_iterations == 0


def test_an_override_of_a_section_that_the_preset_leaves_out():
    assert load_preset("identity", ["guard.max_folding_percent=1.5"]).guard.max_folding_percent == 1.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("adam.0.iterations", "key=value"),
        ("=5", "key=value"),
        ("adam.1.iterations=5", "a number below 1 instead of 1"),
        ("adam.first.iterations=5", "a number below 1 instead of first"),
        ("adam.0=5", "a key in a table instead of 0"),
        ("features.cell_mm.deep=5", "a key in a table instead of deep"),
        ("adam.0.iteration=5", "did you mean iterations"),
        ("adam.0.iterations=many", "got 'many'"),
        ("preprocess.ct_level_hu=nan", "finite"),
        ("preprocess.ct_level_hu=inf", "finite"),
    ],
)
def test_an_override_that_cannot_be_used_is_named(override, message):
    with pytest.raises(ConfigError) as caught:
        load_preset("mind", [override])
    assert len(caught.value.faults) == 1
    assert message in str(caught.value)


def test_faults_of_overrides_and_values_come_together():
    with pytest.raises(ConfigError) as caught:
        load_preset("mind", ["nothing", "adam.5.iterations=1", "masked=7", "unknown=1"])
    assert len(caught.value.faults) == 4
    assert str(caught.value).startswith("4 faults:")


def test_values_are_not_written_to():
    values = {"adam": [{"iterations": 5}]}
    parse_config(values, where="here", overrides=["adam.0.iterations=9", "masked=false"])
    assert values == {"adam": [{"iterations": 5}]}


def test_a_file_is_named_after_itself(tmp_path):
    path = tmp_path / "quick.toml"
    path.write_text("masked = false\n", encoding="utf-8")
    assert load_config(path) == Config(name="quick", masked=False)
    path.write_text('name = "other"\n', encoding="utf-8")
    assert load_config(path, ["masked=false"]) == Config(name="other", masked=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"masked = ", "not a TOML file"), (b"\xff\xfe", "not a text file"), (None, "cannot read")],
)
def test_a_file_that_cannot_be_read_is_named(content, message, tmp_path):
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_hash_ignores_the_name_and_sees_every_setting():
    base = Config()
    assert config_hash(Config(name="other", description="text")) == config_hash(base)
    changed = [
        parse_config(tomllib.loads(text), where="here")
        for text in (
            "masked = false",
            "voxel_lengths = true",
            "[features]\nencoders = [{ name = 'mind', radius = 7 }]",
            "[features]\nmax_cells = 5000",
            "[guard]\nmax_folding_percent = 0.1",
            "[[adam]]",
            "[[adam]]\niterations = 81",
            "[[discrete]]",
            "[[start]]\nkind = 'centres'",
        )
    ]
    hashes = {config_hash(config) for config in [base, *changed]}
    assert len(hashes) == len(changed) + 1
    assert all(len(digest) == 16 for digest in hashes)


def test_values_that_json_does_not_know_are_faults_not_crashes(tmp_path):
    path = tmp_path / "dated.toml"
    path.write_text("[[adam]]\niterations = 2026-11-21\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"adam\.0\.iterations"):
        load_config(path)
    with pytest.raises(ConfigError, match=r"adam\.0\.iterations"):
        load_preset("mind", ["adam.0.iterations=2026-11-21"])


def test_numbers_in_the_place_of_text_are_text():
    assert load_preset("mind", ["output.naming=2024"]).output.naming == "2024"


@pytest.mark.parametrize("rate", ["inf", "nan", "-1.0", "0.0"])
def test_impossible_learning_rates(rate):
    with pytest.raises(ConfigError, match="learning_rate"):
        load_preset("mind", [f"adam.0.learning_rate={rate}"])
