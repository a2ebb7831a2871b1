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
        (["vit.heads=7"], "multiple of 6"),
        (["vit.width=100", "vit.heads=5"], "multiple of 6"),
        (["vit.patch=4", "network.channels=16"], "for the U-Net, not for vit"),
        (["vit.patch=4"], "coarse_weight must be 0 with vit"),
        (["vit.patch=7", "contrastive.coarse_weight=0"], "views.size must be a multiple of 7"),
        (["training.layer_decay=0.9"], "layer_decay is for a transformer"),
    ],
)
def test_faults_are_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_pretrain_config(None, overrides)


def test_the_preset_of_a_transformer_is_what_is_published():
    """Kats & Heinrich, arXiv 2603.14086: sizes, masks, temperatures and schedule."""
    config = load_pretrain_config(preset="vit")
    assert config.vit is not None
    assert (config.vit.patch, config.vit.width, config.vit.depth, config.vit.heads) == (4, 180, 8, 6)
    assert (config.views.size, config.views.voxel_mm) == (128, (1.5, 1.5))
    dino, training = config.dino, config.training
    assert (dino.prototypes, dino.mask_share, dino.koleo_weight) == (8192, (0.4, 0.7), 0.1)
    assert (dino.global_weight, dino.masked_weight, dino.dense_weight) == (1, 1, 0)
    assert (dino.teacher_temperature, dino.momentum) == ((0.04, 0.07), (0.992, 0.998))
    assert dino.teacher_warmup * training.steps == pytest.approx(1000 * 50)  # of 3000 epochs of 50 batches
    assert (training.steps, training.batch, training.learning_rate) == (3000 * 50, 4, 1e-3)
    assert (training.weight_decay, training.weight_decay_last) == (0.04, 0.4)
    assert (training.layer_decay, training.max_gradient) == (0.9, 3)
    assert PretrainConfig.model_validate_json(config.model_dump_json()) == config


def test_an_unknown_preset_is_named():
    with pytest.raises(ConfigError, match=r"unknown preset.*unet, vit"):
        load_pretrain_config(preset="mamba")


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_pretrain_config(tmp_path / "none.toml")
