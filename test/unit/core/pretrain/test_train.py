import errno
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrain_samples import HELD_OUT_SHAPE, VIT, blocks, few_held_out_scans, tiny_config, write_scan
from safetensors.torch import load_file

from dinoreg.encoders.dino3d.weights import read_dino3d
from dinoreg.errors import ConfigError, NumericalError, WeightsError
from dinoreg.pretrain import picture as picture_module
from dinoreg.pretrain import train as train_module
from dinoreg.pretrain.objective.learner import Learner
from dinoreg.pretrain.settings import load_pretrain_config
from dinoreg.pretrain.train import TrainOptions, learning_rate, pretrain, weight_decay
from regtask.errors import OutputError

CPU = torch.device("cpu")
OBJECTIVES = {
    "contrastive": (),
    "coarse": ("contrastive.coarse_weight=0.5",),
    "dino": ("contrastive.weight=0", "dino.weight=1", "dino.centring=mean"),
    "both": ("dino.weight=0.5",),
    "vit": VIT,
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Train on `blocks`, with little to draw; the folder is named."""
    monkeypatch.setattr(train_module, "held_out_scans", few_held_out_scans)
    monkeypatch.setattr(picture_module, "HELD_OUT_SHAPE", HELD_OUT_SHAPE)
    monkeypatch.setattr(train_module, "anatomy_bank", lambda folder, settings, seed: [blocks()])

    def train(name, *overrides, **options):
        folder = tmp_path / name
        return folder, pretrain(tiny_config(*overrides), TrainOptions(folder, CPU, **options))

    return train


@pytest.fixture
def short(run, monkeypatch):
    """As `run`, without pictures and scores, for what needs neither."""

    class NoPictures:
        def __init__(self, *arguments):
            pass

        def draw(self, *arguments):
            pass

    monkeypatch.setattr(train_module, "FeaturePictures", NoPictures)
    return run


def test_learning_rate_by_hand():
    training = tiny_config(
        "training.learning_rate=0.02", "training.warmup_steps=4", "training.steps=14"
    ).training
    found = [learning_rate(step, training) for step in range(15)]
    assert found[:4] == pytest.approx([0.005, 0.01, 0.015, 0.02])
    assert found[4] == pytest.approx(0.02)
    assert found[9] == pytest.approx(0.02 * (0.002 + 0.998 / 2))
    assert found[6] == pytest.approx(0.02 * (0.002 + 0.499 * (1 + math.cos(math.pi / 5))))
    assert found[14] == pytest.approx(0.02 * 0.002)
    assert learning_rate(0, tiny_config("training.warmup_steps=0").training) > 0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_resuming_is_exact(short, objective):
    whole, in_one_go = short("whole", *OBJECTIVES[objective])
    parts, _ = short("parts", *OBJECTIVES[objective], stop_at=2)
    assert read_dino3d(parts / "encoder.safetensors")[1]["steps"] == 2
    torch.rand(3)  # what another process would not have drawn
    short("parts", *OBJECTIVES[objective], resume=True, stop_at=3)
    _, resumed = short("parts", *OBJECTIVES[objective], resume=True)
    assert resumed.step == in_one_go.step == 6
    assert resumed.steps == in_one_go.steps
    assert len({row["loss"] for row in resumed.steps}) == 6
    states = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, parts)]
    for branch in ("student", "average"):
        for name, value in states[0][branch].items():
            assert torch.equal(value, states[1][branch][name]), name
    results = [load_file(folder / "encoder.safetensors") for folder in (whole, parts)]
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    texts = [(folder / "loss.csv").read_text() for folder in (whole, parts)]
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == 7


def test_a_training_changes_the_weights_and_seeds_differ(short):
    folder, progress = short("run")
    _, other = short("other", "training.seed=1")
    assert progress.steps[0] != other.steps[0]
    start = Learner(tiny_config(), CPU).average.network.state_dict()
    end = load_file(folder / "encoder.safetensors")
    moved = [name for name in start if not torch.equal(start[name].half(), end[name])]
    assert "stem.weight" in moved
    assert "head.weight" in moved


def test_what_a_training_leaves_behind(run):
    folder, progress = run("run", "training.picture_steps=4")
    assert sorted(p.name for p in folder.iterdir()) == [
        *("checkpoint.pt", "config.json", "curves.png", "encoder.safetensors"),
        *("features", "loss.csv", "scores.csv"),
    ]
    names = ["synthetic-000004.png", "synthetic-000006.png"]
    assert sorted(p.name for p in (folder / "features").iterdir()) == names
    assert load_pretrain_config(None, []).model_validate_json((folder / "config.json").read_text()) == (
        tiny_config("training.picture_steps=4")
    )
    lines = [line.split(",") for line in (folder / "loss.csv").read_text().splitlines()]
    assert lines[0] == ["step", "contrastive", "loss"]
    assert [int(line[0]) for line in lines[1:]] == [1, 2, 3, 4, 5, 6]
    assert float(lines[3][2]) == pytest.approx(progress.steps[2]["loss"], rel=1e-5)
    scores = np.genfromtxt(folder / "scores.csv", delimiter=",", names=True)
    assert scores.dtype.names == ("step", "median_mm", "near", "organ")
    assert scores["step"].tolist() == [4, 6]
    network, metadata = read_dino3d(folder / "encoder.safetensors")
    assert (network.widths, network.depths, network.channels) == ((4, 6), (1, 1), 4)
    assert metadata["spacing_mm"] == pytest.approx((1.9 * 4.0) ** 0.5, abs=0.01)
    assert metadata["steps"] == 6
    assert metadata["config"]["training"]["steps"] == 6
    assert metadata["score"] == progress.scores[-1]


def test_a_real_scan_is_pictured_and_not_trained_on(run, tmp_path):
    body = np.zeros((30, 26, 34))
    body[4:-4, 4:-4, 4:-4] = np.random.default_rng(0).uniform(200, 600, (22, 18, 26))
    path = write_scan(tmp_path / "scan.nii.gz", body, np.diag([-3.0, 4.0, 5.0, 1.0]))
    folder, progress = run("real", real=path)
    assert [p.name for p in sorted((folder / "features").iterdir())] == [
        "real-000006.png",
        "synthetic-000006.png",
    ]
    assert progress.steps == run("plain")[1].steps


def test_checkpoints_are_written_as_the_training_goes(short, monkeypatch):
    steps = []
    original = train_module.write_checkpoint

    def write(folder, learner, optimiser, progress):
        steps.append(progress.step)
        original(folder, learner, optimiser, progress)

    monkeypatch.setattr(train_module, "write_checkpoint", write)
    short("often", "training.checkpoint_minutes=1e-9")
    short("rarely")
    assert steps == [1, 2, 3, 4, 5, 6, 6]


def test_a_folder_with_another_run(short):
    folder, _ = short("run")
    before = (folder / "checkpoint.pt").read_bytes()
    with pytest.raises(ConfigError, match=r"folder holds a training.*--resume"):
        short("run")
    with pytest.raises(ConfigError, match="checkpoint of another configuration"):
        short("run", "training.learning_rate=0.5", resume=True)
    assert (folder / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("override", ["training.seed=1", "anatomy.random_size=40"])
def test_anatomies_of_another_run_are_not_taken_over(short, override):
    """A run that was killed before its first checkpoint leaves its anatomies behind."""
    folder, _ = short("run")
    (folder / "checkpoint.pt").unlink()
    (folder / "anatomies").mkdir()
    with pytest.raises(ConfigError, match=r"anatomies of another configuration.*delete"):
        short("run", override)
    assert short("run", "training.learning_rate=0.5")[1].step == 6


def damaged(state):
    yield b"not a checkpoint"
    yield b""
    yield [1, 2]
    yield torch.zeros(3)
    yield {key: value for key, value in state.items() if key != "average"}
    yield {**state, "student": {}}
    yield {**state, "progress": {"unknown": 3}}


def test_a_damaged_checkpoint(short):
    folder, _ = short("run", stop_at=2)
    path = folder / "checkpoint.pt"
    whole = path.read_bytes()
    for content in damaged(torch.load(path, weights_only=True)):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(WeightsError, match="checkpoint not readable"):
            short("run", resume=True)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="checkpoint not readable"):
        short("run", resume=True)
    path.write_bytes(whole)
    assert short("run", resume=True)[1].step == 6


@pytest.mark.parametrize("text", ["{}...", '{"views": {"depth": 3}}'])
def test_a_checkpoint_of_another_version(short, text):
    folder, _ = short("run", stop_at=2)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    torch.save({**state, "config": text}, folder / "checkpoint.pt")
    with pytest.raises(ConfigError, match="settings that this version does not know"):
        short("run", resume=True)


def test_the_result_tells_what_the_training_began_with(short, tmp_path):
    first, _ = short("first")
    weights = tmp_path / "first.safetensors"
    weights.write_bytes((first / "encoder.safetensors").read_bytes())
    second, _ = short("second", f"network.start_from='{weights}'", stop_at=2)
    weights.unlink()  # what the checkpoint holds is enough to go on
    short("second", f"network.start_from='{weights}'", resume=True)
    origin = read_dino3d(second / "encoder.safetensors")[1]["origin"]
    content = (first / "encoder.safetensors").read_bytes()
    assert origin["sha256"] == hashlib.sha256(content).hexdigest()
    assert (origin["steps"], origin["origin"]) == (6, {})
    assert read_dino3d(first / "encoder.safetensors")[1]["origin"] == {}


def test_what_a_killed_training_left_half_written_is_removed(short):
    folder, _ = short("run", stop_at=2)
    left = folder / ".0a1b2c3d.checkpoint.pt"
    left.write_bytes(b"half")
    short("run", resume=True)
    assert not left.exists()


def test_a_full_disk_keeps_the_last_checkpoint(short, monkeypatch):
    folder, _ = short("run", stop_at=2)
    before = (folder / "checkpoint.pt").read_bytes()

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"cannot write.*free space"):
        short("run", resume=True)
    monkeypatch.undo()
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_precision_is_settled_when_a_training_begins(short):
    folder, _ = short("run", "training.precision=auto", stop_at=0)
    assert json.loads((folder / "config.json").read_text())["training"]["precision"] == "float32"
    config = tiny_config("training.precision=auto")
    assert [config.on(d).training.precision for d in ("cpu", "cuda")] == ["float32", "bfloat16"]
    kept = tiny_config("training.precision=float32")
    assert kept.on("cuda") == kept


def test_a_training_that_is_done_is_written_again(short):
    folder, _ = short("run")
    before = (folder / "encoder.safetensors").read_bytes()
    (folder / "encoder.safetensors").unlink()
    assert short("run", resume=True)[1].step == 6
    assert (folder / "encoder.safetensors").read_bytes() == before


def test_stopping_before_the_first_step(short):
    folder, progress = short("run", stop_at=0)
    assert progress.step == 0
    assert read_dino3d(folder / "encoder.safetensors")[1]["steps"] == 0


def test_a_gradient_that_is_not_finite(short, monkeypatch):
    original = Learner.loss
    monkeypatch.setattr(
        Learner, "loss", lambda self, pairs, step: (original(self, pairs, step)[0] * math.nan, {"loss": 1.0})
    )
    with pytest.raises(NumericalError, match=r"gradient not finite.*step 0"):
        short("run")


def test_only_what_multiplies_decays():
    learner = Learner(tiny_config("dino.weight=1"), CPU)
    decayed, kept = train_module._groups(learner, learner.config.training)
    assert (decayed.decays, kept.decays, decayed.pace, kept.pace) == (True, False, 1, 1)
    names = {id(p): name for name, p in learner.student.named_parameters()}
    assert len(names) == len(decayed.parameters) + len(kept.parameters)
    plain = {names[id(p)] for p in kept.parameters}
    assert "network.mask_token" in plain
    assert "network.stem.bias" in plain
    assert "network.norm.scale" in plain
    assert "heads.places.prototypes" in {names[id(p)] for p in decayed.parameters}


def test_earlier_blocks_of_a_transformer_move_less():
    learner = Learner(tiny_config(*VIT, "training.layer_decay=0.5"), CPU)
    groups = train_module._groups(learner, learner.config.training)
    names = {id(p): name for name, p in learner.student.named_parameters()}
    paces = {names[id(p)]: group.pace for group in groups for p in group.parameters}
    assert paces.keys() == set(names.values())
    expected = {"patches.weight": 1 / 8, "cls_token": 1 / 8, "layers.0.norm1.weight": 1 / 4}
    expected |= {"layers.1.mlp.up_proj.weight": 1 / 2, "norm.weight": 1}
    assert {name: paces[f"network.{name}"] for name in expected} == expected
    assert paces["heads.views.prototypes"] == 1


def test_weight_decay_rises_along_half_a_cosine():
    training = tiny_config("training.weight_decay_last=0.4", "training.steps=100").training
    assert [weight_decay(step, training) for step in (0, 50, 100)] == pytest.approx([0.04, 0.22, 0.4])
    assert weight_decay(30, tiny_config().training) == 0.04


def test_rates_and_decay_reach_the_optimiser(short, monkeypatch):
    seen = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self: seen.append([(g["lr"], g["weight_decay"]) for g in self.param_groups]) or step(self),
    )
    short("run", *VIT, "training.layer_decay=0.5", "training.weight_decay_last=0.4")
    rates = {rate for rate, _ in seen[-1]}
    assert len(rates) == 4  # one per depth
    assert {decay > 0 for _, decay in seen[-1]} == {True, False}
    assert max(decay for _, decay in seen[-1]) > 5 * max(decay for _, decay in seen[0])


def test_the_configuration_is_plain_json(short):
    folder, _ = short("run", stop_at=0)
    assert json.loads((folder / "config.json").read_text())["views"]["size"] == 16


def test_other_scans_than_the_training_began_with(short, tmp_path):
    body = np.zeros((20, 16, 24))
    body[4:-4, 4:-4, 4:-4] = np.random.default_rng(0).uniform(200, 600, (12, 8, 16))
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("b.nii.gz", "a.nii.gz"):
        write_scan(folder / name, body, np.diag([3.0, 3, 3, 1]))
    own = f"anatomy.scans='{folder}'"
    assert short("run", own, stop_at=2)[1].scans == ["a.nii.gz", "b.nii.gz"]
    (folder / "b.nii.gz").rename(folder / "c.nii.gz")
    with pytest.raises(ConfigError, match=r"not the scans.*gone or new: b.nii.gz, c.nii.gz"):
        short("run", own, resume=True)
    (folder / "c.nii.gz").rename(folder / "b.nii.gz")
    assert short("run", own, resume=True)[1].step == 6
