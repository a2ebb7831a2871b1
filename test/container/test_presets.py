"""Everything that the image offers, once: encoders, presets, low-rank adapters, compiled kernels."""

import json

import numpy as np
import pytest
import torch
from random_weights import random_sam, random_vit_small

from dinoreg.settings.load import load_preset, preset_names
from regtask import Grid, read_field
from regtask.images import write_volume

pytestmark = pytest.mark.container

WEIGHTS = "/opt/ml/model"  # where platforms mount them
VIT, VIT_PLAIN = "vits14-reg-random.pth", "vits14-random.pth"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights: of SAM under the official name, of DINOv2, whose digests are pinned, under others."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(random_sam(), folder / "sam_vit_b_01ec64.pth")
    torch.save(random_vit_small(), folder / VIT)
    torch.save(random_vit_small(registers=0), folder / VIT_PLAIN)
    return folder


def quick(preset):
    """Settings that leave a preset what it is and make it short; weights as in the folder above."""
    config = load_preset(preset)
    changes = {}
    for number, encoder in enumerate(config.features.encoders):
        where = f"features.encoders.{number}"
        if encoder.name == "dinov2":
            changes |= {f"{where}.variant": "vits14-reg", f"{where}.weights": f"{WEIGHTS}/{VIT}"}
        if encoder.name in ("dinov2", "sam"):
            changes |= {} if config.ffd else {f"{where}.up_sampling": 2.0, f"{where}.slice_step": 8}
    changes |= {f"adam.{number}.iterations": 3 for number in range(len(config.adam))}
    for number in range(len(config.ffd)):
        changes |= {f"ffd.{number}.iterations": 2}
        changes |= {f"ffd.{number}.feature_grid": 6} if config.ffd[number].alpha else {}
    return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]


@pytest.mark.parametrize("preset", preset_names())
def test_preset(one_pair, weights, image, shut_in, writable, preset):
    mounts = {"/input:ro": one_pair.folder, f"{WEIGHTS}:ro": weights, "/output": writable}
    done = shut_in(image, "--preset", preset, "--on-failure", "raise", *quick(preset), mounts=mounts)
    assert done.code == 0, done.err
    field = read_field(writable / one_pair.fields[0])
    assert np.isfinite(field).all()
    assert field.any() == (preset != "identity")


def test_every_module_can_be_imported(docker, image):
    script = (
        "import importlib, pkgutil, dinoreg, regeval, peft;"
        "walked = [pkgutil.walk_packages(p.__path__, p.__name__ + '.') for p in (dinoreg, regeval)];"
        "names = [m.name for found in walked for m in found if not m.name.endswith('__main__')];"
        "[importlib.import_module(n) for n in names];"
        "print({'sam', 'dinov2', 'dinov3'} <= {n.removeprefix('dinoreg.encoders.vit.') for n in names})"
    )
    done = docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", script)
    assert done.code == 0, done.err
    assert done.out == "True\n"


def test_one_step_of_low_rank_adapters(weights, image, shut_in, writable, tmp_path):
    grid = Grid((40, 52, 6), np.diag([1.5, 2.0, 1.0, 1.0]))
    x, y, t = np.indices(grid.shape)
    disc = np.hypot(x - 20 - t, y - 25 + t) < 9
    task = tmp_path / "cine"
    task.mkdir()
    write_volume(task / "frames.nii.gz", (500 + 900 * disc + 5 * x).astype(np.float32), grid)
    write_volume(task / "labels.nii.gz", disc.astype(np.int16), grid, np.int16)
    entry = {"id": "disc", "frames": "frames.nii.gz", "labels": "labels.nii.gz", "template_frame": 0}
    sequences = [entry | {"labelled_frames": [0, 3]}]
    (task / "CINE.json").write_text(json.dumps({"name": "cine", "sequences": sequences}))
    changes = {
        "encoder.variant": "vits14",
        "encoder.weights": f"{WEIGHTS}/{VIT_PLAIN}",
        "window.pixels": 56,
        "landmarks.decoder": "[16, 16]",
        "training.steps": 1,
        "training.frames": 2,
    }
    options = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    paths = ("--dataset", "/input/CINE.json", "--output", "/output/run")
    done = shut_in(
        image,
        *("-m", "dinoreg.cli.main", "motion", "train", "--preset", "dinomotion", *paths, *options),
        mounts={"/input:ro": task, f"{WEIGHTS}:ro": weights, "/output": writable},
        entry="python",
    )
    assert done.code == 0, done.err
    assert list((writable / "run").iterdir())


def test_no_kernel_is_compiled(docker, image):
    """The image was built for a target; where a machine is none, it compiles for itself."""
    script = (
        "import json; from dinoreg.space.kernels.cache import compile_kernels, runs_here;"
        "print(json.dumps([runs_here(), compile_kernels()]))"
    )
    limits = ("--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--user", "12345:12345")
    done = docker("run", *limits, "--entrypoint", "python", image, "-c", script)
    assert done.code == 0, done.err
    target, counts = json.loads(done.out)
    if not target:
        pytest.skip("this machine has to compile")
    assert {"sample", "sample_position_gradient", "squared_difference"} <= set(counts)
    assert set(counts.values()) == {0}
