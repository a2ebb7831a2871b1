"""`dinoreg pretrain` as a command: what it learns, what it leaves, and what a kill does to it."""

import csv
import shutil
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dinoreg.encoders.dino3d.weights import read_dino3d
from dinoreg.pretrain.validate import held_out_scans

pytestmark = pytest.mark.integration

CONFIG = """
description = "a training of some seconds"
[anatomy]
torsos = 1
torso_spacing_mm = 8.0
random_bodies = 3
random_size = 40
[views]
size = 32
voxel_mm = [3.0, 6.0]
points = 256
elastic = [1.5]
wavelength = [12.0]
shift = [0.15, 0.15, 0.15]
[network]
widths = [8, 16, 32]
depths = [1, 1, 1]
channels = 16
[training]
steps = 60
warmup_steps = 5
learning_rate = 0.003
precision = "float32"
picture_steps = 1000
average = 0.95
"""


def losses(folder):
    with (folder / "loss.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def steps(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["progress"]["steps"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "pretrain.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_a_training_learns_and_its_result_is_an_encoder(dinoreg, tiny, config, tmp_path):
    folder, scan = tmp_path / "run", tmp_path / "scan.nii.gz"
    values = np.zeros((30, 26, 34), np.float32)
    values[4:-4, 4:-4, 4:-4] = np.random.default_rng(0).uniform(200, 600, (22, 18, 26))
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-6.0, -7.0, 8.0, 1.0])), scan)
    done = dinoreg("pretrain", "--config", config, "--output", folder, "--device", "cpu", "--real", scan)
    assert done.code == 0, done.err
    assert "step 60/60" in done.err
    found = losses(folder)
    assert len(found) == 60
    assert np.mean(found[-15:]) < 0.85 * np.mean(found[:15])
    assert sorted(p.name for p in (folder / "features").iterdir()) == [
        "real-000060.png",
        "synthetic-000060.png",
    ]
    assert len(list((folder / "anatomies").iterdir())) == 4
    network, metadata = read_dino3d(folder / "encoder.safetensors")
    assert network.widths == (8, 16, 32)
    assert metadata["spacing_mm"] == pytest.approx(18**0.5, abs=0.01)
    assert metadata["score"]["step"] == 60
    assert 0 < metadata["score"]["organ"] < 1

    done = dinoreg("pretrain", "--config", config, "--output", folder)
    assert done.code == 2
    assert "folder holds a training" in done.err

    fields = tmp_path / "fields"
    own = (folder / "encoder.safetensors").rename(tmp_path / "own.safetensors")
    weights = ("--set", f"features.encoders.0.weights={own}")
    done = dinoreg(
        *("run", "--dataset", tiny.description, "--output", fields, "--preset", "dino3d", *weights)
    )
    assert done.code == 0, done.err
    assert sorted(p.name for p in fields.glob("disp_*")) == sorted(tiny.fields)


def test_held_out_places_are_the_same_in_both_scans():
    for first, second, other in held_out_scans():
        assert first.points.shape == second.points.shape
        assert len(first.points) > 500
        assert len(other.points) > 500
        organs = []
        for scan in (first, second, other):
            image = scan.image[0, 0]
            assert image.shape == scan.organs.shape
            assert 0 <= image.min() <= image.max() <= 1
            i, j, k = scan.points.round().long().unbind(dim=1)
            organs.append(scan.organs[i, j, k])
            assert float((image[i, j, k] > 0).float().mean()) > 0.5  # lungs may be black
        inside = organs[0] > 0
        # The same but for those at the edge of an organ, where half a voxel decides.
        assert float((organs[0] == organs[1])[inside].float().mean()) > 0.8
        assert float((first.points - second.points).norm(dim=1).median()) > 0.5


# The command without held-out patients, pictures and logs, which take longer than the steps.
STUBBED = """
import sys
import torch
torch.set_num_threads(1)
from dinoreg.pretrain import train
from dinoreg.pretrain.validate import Score

class NoPictures:
    def __init__(self, *arguments): pass
    def draw(self, *arguments): pass

train.held_out_scans = list
train.score = lambda encode, scans: Score(1.0, 0.5, 0.25)
train.FeaturePictures = NoPictures
train.write_log = lambda folder, progress: None
"""
STARTED = """
from dinoreg.cli.main import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def stubbed(dinoreg, monkeypatch):
    """The command in this process, with the same stubs."""
    from dinoreg.pretrain import train

    for name in ("held_out_scans", "score", "FeaturePictures", "write_log"):
        monkeypatch.setattr(train, name, getattr(train, name))  # is undone after the test
    exec(STUBBED, {})
    return dinoreg


def test_a_kill_at_any_time_is_made_good(stubbed, config, tmp_path):
    command = ["pretrain", "--config", config, "--resume", "--device", "cpu"]
    for setting in ("training.steps=30", "anatomy.torsos=0", "anatomy.random_bodies=1"):
        command += ["--set", setting]
    command += ["--set", "training.checkpoint_minutes=1e-9", "--output"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = stubbed(*command, whole)
    assert done.code == 0, done.err

    shutil.copytree(whole / "anatomies", killed / "anatomies")  # drawing them again takes seconds
    script = tmp_path / "stubbed.py"
    script.write_text(STUBBED + STARTED, encoding="utf-8")
    process = subprocess.Popen(
        [str(part) for part in (sys.executable, script, *command, killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (killed / "checkpoint.pt").is_file() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(steps(killed)) < 30
    assert not (killed / "encoder.safetensors").exists()

    done = stubbed(*command, killed)
    assert done.code == 0, done.err
    assert "resuming at step" in done.err
    assert steps(killed) == steps(whole)
    assert len(steps(whole)) == 30
    one, other = (load_file(folder / "encoder.safetensors") for folder in (whole, killed))
    assert all(one[name].equal(other[name]) for name in one)
    left = {p.name for p in killed.iterdir()} - {p.name for p in whole.iterdir()}
    assert len(left) <= 1, left  # at most the one file that was being written when the kill came


def test_scans_of_ones_own(stubbed, config, tmp_path):
    scans, empty = tmp_path / "scans", tmp_path / "empty"
    scans.mkdir()
    empty.mkdir()
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        values = np.full((30, 26, 34), -1000, np.float32)
        values[4:-4, 4:-4, 4:-4] = rng.uniform(-100, 200, (22, 18, 26))
        nibabel.save(nibabel.Nifti1Image(values, np.diag([-6.0, -7.0, 8.0, 1.0])), scans / f"{name}.nii.gz")
    command = ["pretrain", "--config", config, "--device", "cpu"]
    for setting in ("anatomy.torsos=0", "anatomy.random_bodies=0", "training.steps=3"):
        command += ["--set", setting]
    own = ("--set", f"anatomy.scans={scans}", "--output", tmp_path / "run")
    assert stubbed(*command, *own, "--until", 2).code == 0
    result = tmp_path / "run" / "encoder.safetensors"
    assert read_dino3d(result)[1]["steps"] == 2
    done = stubbed(*command, *own, "--resume")
    assert done.code == 0, done.err
    assert "resuming at step 2" in done.err
    assert read_dino3d(result)[1]["steps"] == 3
    assert len(steps(tmp_path / "run")) == 3
    done = stubbed(*command, "--set", f"anatomy.scans={empty}", "--output", tmp_path / "other")
    assert done.code == 2
    assert "no scans to train on" in done.err
