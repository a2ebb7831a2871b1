import pytest

from dinoreg.errors import ConfigError
from dinoreg.pretrain.settings import PretrainConfig, load_pretrain_config


def test_defaults_are_usable():
    assert load_pretrain_config() == PretrainConfig()


def test_a_file_and_overrides(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('description = "x"\n[training]\nsteps = 30\n[views]\nsize = 32\n', encoding="utf-8")
    config = load_pretrain_config(
        path, ["training.steps=40", "network.widths=[4, 8]", "network.depths=[1, 2]"]
    )
    assert (config.description, config.training.steps, config.views.size) == ("x", 40, 32)
    assert config.network.widths == (4, 8)
    assert PretrainConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["contrastive.weight=0"], "no objective"),
        (["anatomy.torsos=0", "anatomy.random_bodies=0"], "nothing to train on"),
        (["views.size=24"], "views.size must be a multiple of 16"),
        (["views.elastic=[1.0]"], "as many bands"),
        (["views.voxel_mm=[3.0, 2.0]"], r"views.voxel_mm.*\(smallest, largest\)"),
        (["views.hidden_share=[0.5, 0.4]"], r"views.hidden_share.*\(smallest, largest\)"),
        (["dino.mask_share=[0.3, 0.1]"], r"dino.mask_share.*\(smallest, largest\)"),
        (["views.points=3", "views.clustered=4"], "points must be at least"),
        (["network.widths=[8]"], "as many levels"),
        (["training.stepps=3"], r"unknown key: .*training.stepps -> did you mean steps\?$"),
        (["training.zzz=3"], r"unknown key: .*training.zzz -> the config.json in the folder of any training"),
        (["training.precision=float16"], "precision"),
    ],
)
def test_faults_are_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_pretrain_config(None, overrides)


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_pretrain_config(tmp_path / "none.toml")
