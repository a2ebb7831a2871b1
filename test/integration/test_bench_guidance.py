"""The experiments of feature guidance on a made-up pair of slices, on the CPU and on a pretended GPU."""

import json

import numpy as np
import pytest
import torch
from pretend_cuda import pretended_cuda
from random_weights import random_sam
from scipy import ndimage

import bench_guidance
from dinoreg.settings.load import load_preset
from guidance.rows import schedule
from regtask import Grid, write_volume

pytestmark = pytest.mark.integration
SHAPE = (40, 32, 1)
SHORT = ["--set", "ffd.0.iterations=4", "--set", "ffd.0.levels=1", "--set", "ffd.0.feature_grid=4"]
DEVICES = ["cpu", "cuda:0"]


@pytest.fixture(scope="module")
def task(tmp_path_factory, oblique):
    """A bright ring around a label, smaller in the moving image; beside it a second label."""
    folder = tmp_path_factory.mktemp("data") / "Ring"
    ground = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal(SHAPE[:2]), 2.0)
    x, y = np.indices(SHAPE[:2])
    for role, radius in ((0, 9.0), (1, 7.0)):
        distance = np.hypot(x - 18, y - 17)
        labels = (distance < radius).astype(np.uint8) + (distance < radius - 3)
        image = 600 * np.exp(-((distance - radius) ** 2) / 6) + 300 * ground + 500
        for kind, values in (("imagesTr", image.astype(np.float32)), ("labelsTr", labels.astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            path = folder / kind / f"Ring_0001_000{role}.nii.gz"
            write_volume(path, values[..., None], Grid(SHAPE, oblique), values.dtype)
    pair = {"fixed": "./imagesTr/Ring_0001_0000.nii.gz", "moving": "./imagesTr/Ring_0001_0001.nii.gz"}
    description = {"name": "Ring", "modality": {"0": "MR", "1": "MR"}, "registration_val": [pair]}
    (folder / "Ring_dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small transformer of random weights, which say nothing of accuracy, by the option for one's own."""
    path = tmp_path_factory.mktemp("weights") / "medsam_tiny.pth"
    torch.save(random_sam(), path)
    return f'tiny={{ name = "sam", weights = "{path}" }}'


@pytest.fixture
def bench(task, tiny, tmp_path, monkeypatch):
    """Run an experiment; gives what its file of results then holds."""
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    results = tmp_path / "guidance.json"

    def run(experiment, *options, device="cpu", encoders=("mind", "tiny")):
        command = [experiment, "--data", str(task), "--encoder", tiny, "--encoders", *encoders]
        command += ["--results", str(results), "--figures", str(tmp_path), "--device", device]
        bench_guidance.main([*command, *options])
        return json.loads(results.read_text()) if results.is_file() else {}

    return run


def pictured(tmp_path, experiment):
    return (tmp_path / f"guidance_{experiment}.png").stat().st_size > 5000


def test_the_table_and_its_box_plots(bench, tmp_path, capsys):
    content = bench("table", *SHORT, encoders=("mind", "dinov2"))
    rows = {row["name"]: row for row in content["rows"]}
    assert len(rows) == 2 + 4
    assert rows["NCC"]["dice"] > rows["initial"]["dice"]
    assert rows["mind cosine"]["sd_log_jacobian"] != rows["mind l1"]["sd_log_jacobian"]
    assert content["not_measured"] == {"dinov2": "no weights for vitb14-reg"}
    content = bench("boxes")
    assert pictured(tmp_path, "boxes")
    quartiles = json.loads(capsys.readouterr().out.split("png\n")[1])
    assert quartiles.keys() == rows.keys()
    assert content["provenance"].keys() == {"table"}  # plots measure nothing


def test_the_sweep_of_alpha_and_its_plot(bench, tmp_path, capsys):
    content = bench("alpha", *SHORT, encoders=("mind",))
    assert len(content["rows"]) == 11
    bench("sweep")
    assert pictured(tmp_path, "sweep")
    found = json.loads(capsys.readouterr().out.split("png\n")[1])
    best = max(content["rows"], key=lambda row: row["dice"])
    assert found["mind"]["best_alpha"] == float(best["name"].rpartition(" ")[2])


@pytest.mark.parametrize("experiment", ["sweep", "boxes"])
def test_a_plot_of_nothing_says_what_to_run_first(bench, experiment):
    with pytest.raises(SystemExit, match=r"run (alpha|table) first"):
        bench(experiment)


def test_an_unknown_encoder_is_named(bench, capsys):
    with pytest.raises(SystemExit):
        bench("table", encoders=("dinov9",))
    assert "no such encoder: dinov9" in capsys.readouterr().err


def run_on(device, bench, *arguments, **options):
    if device == "cpu":
        return bench(*arguments, **options)
    with pretended_cuda() as waits:
        found = bench(*arguments, device=device, **options)
    assert waits  # something was computed there
    return found


@pytest.mark.parametrize("device", DEVICES)
def test_the_guided_example_improves_what_it_shows(bench, tmp_path, device):
    found = run_on(device, bench, "guided", *SHORT, "--set", "ffd.0.learning_rate=0.5")
    numbers = found["figures"]["guided"]
    assert numbers.keys() == {"pair", "initial", "NCC", "mind, alpha 0.3", "tiny, alpha 0.3"}
    assert numbers["mind, alpha 0.3"]["dice"] > numbers["initial"]["dice"] + 0.05
    assert pictured(tmp_path, "guided")


@pytest.mark.parametrize("device", DEVICES)
def test_the_volume_change_of_features_alone(bench, tmp_path, device):
    found = run_on(device, bench, "jacobian", *SHORT)["figures"]["jacobian"]["mean_log_determinant"]
    assert found.keys() == {"NCC", "mind alone", "tiny alone"}
    assert all(value["on_labels"] > 0 for value in found.values())
    assert found["NCC"]["on_labels"] > found["NCC"]["elsewhere"]  # nothing else moves
    assert pictured(tmp_path, "jacobian")


@pytest.mark.parametrize("experiment", ["curves", "components", "commute", "pairs", "order", "upscaling"])
def test_every_other_experiment_runs_on_a_device(bench, tmp_path, experiment, monkeypatch):
    monkeypatch.setattr("guidance.curves.DEGREES", np.linspace(-90, 90, 5))
    monkeypatch.setattr("guidance.curves.PIXELS", np.linspace(-8, 8, 5))
    monkeypatch.setattr(bench_guidance, "GRID", 4)
    found = run_on("cuda:0", bench, experiment, *SHORT, encoders=("tiny",))
    if experiment in bench_guidance.MEASURED:
        assert {row["experiment"] for row in found["rows"]} == {experiment}
        assert all(0 < row["dice"] < 1 for row in found["rows"])
    else:
        assert pictured(tmp_path, experiment)


def test_the_published_schedule_is_that_of_the_preset():
    """5e-4 and 120 in half sides of 128 pixels; a rate of 0.032 pixels; (2 / 127)^2 of the squared slope."""
    (stage,) = load_preset("ffd-ncc", schedule("published")).ffd
    assert (stage.levels, stage.iterations) == (1, 1500)
    assert stage.learning_rate == pytest.approx(5e-4 * 128 / 2)
    assert stage.regularity_weight == pytest.approx(120 * (2 / 127) ** 2, rel=0.02)
    (guided,) = load_preset("ffd-published").ffd
    assert guided == stage.model_copy(update={"alpha": 0.3})
    assert schedule("ours") == ()
