"""The comparisons of landmark tracking on small made-up sequences, on the CPU and on a pretended GPU."""

import json

import numpy as np
import pytest
import torch
from pretend_cuda import CUDA, pretended_cuda
from random_weights import random_vit_small
from scipy import ndimage

import bench_motion
import bench_motion_robustness
from cine.sequences import labelled_only
from dinoreg.motion.cines.sequences import read_cine_dataset
from dinoreg.settings.load import load_preset
from dinoreg.weights.search import file_digest
from regtask import Grid, write_volume

pytestmark = pytest.mark.integration
SHAPE, SPACING = (44, 36), (2.0, 2.5)
TINY = [
    "window.pixels=28",
    "landmarks.count=4",
    "landmarks.decoder=[8]",
    "landmarks.upsamplings=0",
    "training.steps=2",
    "training.frames=2",
]
SMALL = ["encoder.width=16", "encoder.dilations=[1]", "window.side_mm=60.0"]
VIT = 'encoder={name = "dinov2", variant = "vits14-reg", weights = "%s", sha256 = "%s"}'


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    """Two patients, one slice each: a textured disc that moves between two labelled frames."""
    folder = tmp_path_factory.mktemp("cine")
    sequences = []
    for seed, name in enumerate(("Video001a", "Video002a")):
        ground = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 2.0)
        x, y = (i * size for i, size in zip(np.indices(SHAPE), SPACING, strict=True))
        frames, labels = [], []
        for number in range(3):
            distance = np.hypot(x - 42 - number, y - 44 + 2 * number)
            labels.append((distance < 16).astype(np.int16))
            frames.append(500 + 400 * ground / ground.std() + 900 * labels[-1])
        grid = Grid((*SHAPE, 3), np.diag([*SPACING, 1.0, 1.0]))
        write_volume(folder / f"{name}.nii.gz", np.stack(frames, axis=-1).astype(np.float32), grid)
        write_volume(folder / f"{name}_labels.nii.gz", np.stack(labels, axis=-1), grid, np.int16)
        sequences.append(
            {
                "id": name,
                "frames": f"{name}.nii.gz",
                "labels": f"{name}_labels.nii.gz",
                "labelled_frames": [0, 1, 2],
                "template_frame": 0,
            }
        )
    description = {"name": "CardiacCine2D", "sequences": sequences}
    (folder / "CardiacCine2D_dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


@pytest.fixture
def short(monkeypatch):
    """The free-form registration beside the tracker, short."""
    settings = ("ffd.0.iterations=2", "ffd.0.levels=1")
    for place in ("bench_motion", "cine.methods"):
        monkeypatch.setattr(f"{place}.load_preset", lambda name: load_preset(name, settings))


def test_lora_is_compared_with_a_frozen_transformer(cine, tmp_path, monkeypatch):
    """With random weights under official names it says nothing of accuracy; here it is to work."""
    weights = tmp_path / "dinov2_vits14_reg4_pretrain.pth"
    torch.save(random_vit_small(), weights)
    settings = [*TINY, VIT % (weights, file_digest(weights))]
    names = ["dinomotion", "dinomotion without LoRA"]
    work = tmp_path / "work"
    command = ["--data", str(cine), "--work", str(work), "--device", "cuda:0", "--patients", "Video001"]
    monkeypatch.setattr(bench_motion, "TRANSFORMS", (("rigid", 0.0), ("tps", 0.1)))
    (sequence, _) = read_cine_dataset(cine / "CardiacCine2D_dataset.json")
    with pretended_cuda() as waits:
        bench_motion.main([*command, "--candidates", *names, "--set", *settings])
        best, means = bench_motion.choose_on([labelled_only(sequence)], names, work / "Video001", CUDA)
    assert waits
    assert len(means) == 4
    assert means[str(best)] == max(means.values())
    assert all(0 <= dice <= 1 for dice in means.values())
    sizes = {name: (work / "Video001" / name / "weights.safetensors").stat().st_size for name in names}
    # rank 4 of queries and values, 12 blocks of width 384, float32
    adapters = 12 * 2 * 4 * 2 * 384 * 4
    assert sizes[names[0]] - sizes[names[1]] == pytest.approx(adapters, rel=0.1)


def test_candidates_without_weights_are_named(cine, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    command = ["--data", str(cine), "--work", str(tmp_path / "work"), "--candidates", "dinomotion"]
    with pytest.raises(SystemExit, match="nothing to measure"):
        bench_motion.main(command)
    assert "dinomotion: not measured, no weights for vitb14" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_the_rigid_search_recovers_what_an_untrained_network_does_not(
    cine, tmp_path, short, device, monkeypatch
):
    monkeypatch.setattr(bench_motion_robustness, "ROTATIONS_DEGREES", (0, 45))
    monkeypatch.setattr(bench_motion_robustness, "SHIFTS_PERCENT", (10,))
    monkeypatch.setattr(bench_motion_robustness, "HIDDEN_PERCENT", (0, 40))
    output = tmp_path / "robustness"
    command = ["--data", str(cine), "--work", str(tmp_path / "work"), "--output", str(output)]
    command += ["--device", device, "--set", *TINY, *SMALL]
    if device == "cpu":
        bench_motion_robustness.main(command)
    else:
        with pretended_cuda() as waits:
            bench_motion_robustness.main(command)
        assert waits
    content = json.loads(output.with_suffix(".json").read_text())
    errors = {(row["method"], row["kind"][0], row["amount"]): row["error_mm"] for row in content["motion"]}
    for kind in ("rigid", "affine", "tps"):
        assert errors[f"landmarks, {kind}", "r", 45] > 8
        assert errors[f"rigid search, then landmarks, {kind}", "r", 45] < 4
        assert errors[f"rigid search, then landmarks, {kind}", "s", 10] < 4
    assert errors["rigid search", "r", 45] < 4
    assert content["search_of_unmoved_frames"] == {"heeded": 0, "frames": 6}
    assert [row["hidden_percent"] for row in content["occlusion"]] == [0, 40]
    assert "rigid search, then landmarks, tps" in output.with_suffix(".md").read_text()
