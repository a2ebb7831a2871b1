"""`dinoreg motion` from the command line."""

import json

import numpy as np
import pytest
from motion_samples import TINY, moving_disc

from dinoreg.cli.main import main
from dinoreg.motion.settings import PRESETS, load_motion_config
from regtask.images import write_volume


def _write(folder):
    disc = moving_disc()
    grid = disc.cine.grid
    write_volume(folder / "frames.nii.gz", np.moveaxis(disc.cine.frames, 0, 2), grid)
    labels = np.zeros(grid.shape, np.int16)
    for number, mask in disc.labels.items():
        labels[..., number] = mask
    write_volume(folder / "labels.nii.gz", labels, grid, np.int16)
    entry = {
        "id": "disc",
        "frames": "frames.nii.gz",
        "labels": "labels.nii.gz",
        "labelled_frames": sorted(disc.labels),
        "template_frame": 0,
    }
    path = folder / "CINE.json"
    path.write_text(json.dumps({"name": "cine", "sequences": [entry]}))
    return path


def test_train_track_evaluate(tmp_path, capsys):
    dataset, run = str(_write(tmp_path)), str(tmp_path / "run")
    settings = [word for text in (*TINY, "training.steps=6") for word in ("--set", text)]
    assert main(["motion", "train", "--dataset", dataset, "--output", run, "--device", "cpu", *settings]) == 0
    out = tmp_path / "track"
    command = [
        "motion",
        "track",
        "--weights",
        run,
        "--template",
        "0",
        "--output",
        str(out),
        "--device",
        "cpu",
    ]
    frames, labels = str(tmp_path / "frames.nii.gz"), str(tmp_path / "labels.nii.gz")
    assert main([*command, "--frames", frames, "--labels", labels, "--transform", "affine"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "frames.csv",
        "landmarks.csv",
        "transforms.json",
        "labels.nii.gz",
        "warped.nii.gz",
        "landmarks.gif",
    }
    assert json.loads((out / "transforms.json").read_text())["kind"] == "affine"
    scores = tmp_path / "scores"
    evaluate = ["motion", "evaluate", "--dataset", dataset, "--weights", run, "--device", "cpu"]
    capsys.readouterr()
    assert main([*evaluate, "--output", str(scores)]) == 0
    assert "ms_per_frame" in capsys.readouterr().out
    assert (scores / "frames.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        ({"--template": "9"}, 3, "no such template frame"),
        ({"--frames": "one.nii.gz"}, 3, "not a sequence"),
        ({"--frames": "none.nii.gz"}, 3, "cannot read"),
        ({"--weights": "nowhere"}, 2, "no trained weights"),
    ],
)
def test_bad_input(changed, code, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path)
    disc = moving_disc()
    write_volume(
        tmp_path / "one.nii.gz",
        disc.cine.frames[:1].T.swapaxes(0, 1),
        disc.cine.grid.cropped((0, 0, 0), (40, 52, 1)),
    )
    options = {
        "--weights": "run",
        "--frames": "frames.nii.gz",
        "--template": "0",
        "--output": "out",
    } | changed
    assert main(["motion", "track", *(word for pair in options.items() for word in pair)]) == code
    assert message in capsys.readouterr().err


def test_settings_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[landmarks]\ncount = 32\ntransform = "affine"\n')
    config = load_motion_config(path=path)
    assert (config.name, config.landmarks.count, config.landmarks.transform) == ("mine", 32, "affine")


def test_the_published_settings():
    """DINOMotion (arXiv 2508.10260): ViT-B/14, rank 4, 224 x 224, decoder 512, 256, 64, 64 landmarks."""
    config = PRESETS["dinomotion"]
    assert (config.encoder.variant, config.lora.rank, config.window.pixels) == ("vitb14", 4, 224)
    assert (config.landmarks.decoder, config.landmarks.count) == ((512, 256, 64), 64)
    assert config.augment.misaligned_rotation_degrees > 30
    assert config.augment.misaligned_translation > 0.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[landmark]\ncount = 3\n", "unknown key.*did you mean landmarks"),
        ("[window]\npixels = 113\n", "multiple of the patch size 4"),
        ("[landmarks]\ncount = 2\n", "greater than or equal to 3"),
    ],
)
def test_bad_settings(text, message, tmp_path):
    from dinoreg.errors import ConfigError

    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_motion_config(path=tmp_path / "bad.toml")
