"""The comparisons of the volume encoder, each on made-up data small enough for a test."""

import itertools
import json
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from pretend_cuda import pretended_cuda
from random_dino3d import random_network
from scipy import ndimage

import bench_encoder
import encoder_capture
import encoder_cost
import encoder_table
from common import run_process
from dinoreg.encoders.dino3d.weights import write_dino3d
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.pretrain.settings import load_pretrain_config
from dinoreg.settings.config import Preprocess
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.weights import search as weights_module
from encoder_contrast import retrieve
from encoder_motions import Motion, make_moving, move
from regtask import Grid, write_volume

pytestmark = pytest.mark.integration
SPACING = (1.5, 2.0, 2.5)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    write_dino3d(path, random_network((16,), (1,), 24), {"spacing_mm": 2.0})
    return path


def scene(shape, seed=3):
    """A textured ellipsoid in air, 0 to 1000."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    texture = 300 + 700 * (texture - texture.min()) / np.ptp(texture)
    at = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    inside = ((at / (0.42 * np.array(shape).reshape(3, 1, 1, 1))) ** 2).sum(axis=0) < 1
    return np.where(inside, texture, 0).astype(np.float32)


def features_on(values, weight, spacing=(2.0, 3.0, 4.0)):
    shape = values.shape[1:]
    return Features(
        torch.from_numpy(values), torch.from_numpy(weight)[None], Lattice(shape, (1, 1, 1), spacing)
    )


# --- the known motions


def test_a_shift_moves_the_content_by_its_millimetres(rng):
    values = rng.random((12, 14, 16), dtype=np.float32)
    moved = move(values, Motion("shift", 1, -6.0), SPACING)  # 3 voxels of 2 mm
    np.testing.assert_allclose(moved[:, :-3], values[:, 3:], atol=1e-5)
    assert not moved[:, -3:].any()


@pytest.mark.parametrize("axis", range(3))
def test_a_rotation_is_right_handed_and_in_millimetres(axis):
    shape = (31, 27, 25)
    centre = (np.array(shape) - 1) / 2
    first, second = (axis + 1) % 3, (axis + 2) % 3
    from_mm, to_mm = np.zeros(3), np.zeros(3)
    from_mm[first] = 10.0
    to_mm[first], to_mm[second] = 10.0 * np.cos(np.deg2rad(30)), 10.0 * np.sin(np.deg2rad(30))
    blob = np.exp(
        -sum((g - p) ** 2 for g, p in zip(np.indices(shape), centre + from_mm / SPACING, strict=True))
    )
    motion = Motion("rotation", axis, 30.0)
    found = ndimage.center_of_mass(move(blob, motion, SPACING))
    np.testing.assert_allclose((found - centre) * SPACING, to_mm, atol=0.1)
    np.testing.assert_allclose(motion.displacement_mm(from_mm[None])[0], to_mm - from_mm, atol=1e-9)


def test_the_moving_image_has_another_contrast_and_a_background_of_zero():
    fixed = prepare_image(scene((24, 26, 28)), Preprocess(), modality="MR", mask=None)
    moving = make_moving(fixed, Motion("shift", 0, 0.0), "inverted", SPACING)
    both = fixed.foreground & moving.foreground
    assert np.corrcoef(fixed.values[both], moving.values[both])[0, 1] < -0.9
    assert not moving.values[~moving.foreground].any()


# --- matching


def test_the_search_finds_the_cheapest_patch_among_the_foreground(rng):
    shape, channels = (6, 7, 8), 3
    a, b = (rng.standard_normal((channels, *shape)).astype(np.float32) for _ in range(2))
    weight = (rng.random(shape) > 0.3).astype(np.float32)
    cells = np.array([(0, 0, 0), (5, 1, 7), *np.argwhere(weight)[::9]])
    pad = [(0, 0)] + [(2, 2)] * 3
    a_padded, b_padded = (np.pad(v.astype(np.float64), pad, mode="edge") for v in (a, b))
    box = np.convolve(np.ones(3) / 3, np.ones(3) / 3)
    patch = np.einsum("i,j,k->ijk", box, box, box)

    def window(volume, cell):
        return volume[(slice(None), *(slice(c, c + 5) for c in cell))]

    expected = []
    for cell in cells:
        costs = {
            other: (patch * (window(a_padded, cell) - window(b_padded, other)) ** 2).sum()
            for other in np.ndindex(shape)
            if weight[other] >= 0.5
        }
        expected.append(min(costs, key=costs.get))
    found = encoder_capture.search_everywhere(
        features_on(a, np.ones_like(weight)), features_on(b, weight), torch.from_numpy(cells)
    )
    assert found.tolist() == [list(cell) for cell in expected]


def test_retrieval_counts_distances_and_ranks(rng):
    shape = (4, 5, 3)
    a = rng.standard_normal((2, *shape)).astype(np.float32)
    b = np.where(rng.random(shape) < 0.5, a, rng.standard_normal(a.shape)).astype(np.float32)
    weight = np.ones(shape, np.float32)
    weight[0] = 0
    cells = np.argwhere(weight)
    errors, ranks = [], []
    for cell in cells:
        costs = [np.linalg.norm(a[(slice(None), *cell)] - b[(slice(None), *other)]) for other in cells]
        errors.append(np.linalg.norm((cells[np.argmin(costs)] - cell) * (2.0, 3.0, 4.0)))
        own = costs[[tuple(other) for other in cells].index(tuple(cell))]
        ranks.append(sum(cost > own for cost in costs) / (len(cells) - 1))
    found = retrieve(features_on(a, weight), features_on(b, weight), 1000)
    assert found["median_mm"] == pytest.approx(np.sort(errors)[(len(errors) - 1) // 2])
    assert found["within"] == pytest.approx(np.mean(np.array(errors) <= 10))
    assert found["auc"] == pytest.approx(np.mean(ranks))


def test_features_that_say_nothing_have_an_auc_of_one_half():
    same = features_on(np.ones((2, 4, 4, 4), np.float32), np.ones((4, 4, 4), np.float32))
    assert retrieve(same, same, 1000)["auc"] == pytest.approx(0.5)


# --- the processes


def test_a_process_is_measured_without_the_memory_of_its_parent(tmp_path):
    def peak(code):
        return run_process([sys.executable, "-c", code], tmp_path / "log.txt").peak_memory_mib

    large = bytearray(300 << 20)  # of this process
    large[:: 1 << 12] = b"x" * len(large[:: 1 << 12])
    assert peak("pass") < 100
    assert peak("large = b'x' * (200 << 20)") > 200


def test_a_process_that_fails_is_an_error_and_leaves_its_output(tmp_path):
    log = tmp_path / "log.txt"
    with pytest.raises(RuntimeError, match="exit code 3"):
        run_process([sys.executable, "-c", "print('why'); raise SystemExit(3)"], log)
    assert log.read_text() == "why\n"
    with pytest.raises(RuntimeError, match="not started"):
        run_process([str(tmp_path / "absent")], log)


# --- the commands


def test_capture_recovers_small_motions_and_goes_on_where_it_stopped(tmp_path, oblique, monkeypatch):
    volume, output, figure = (tmp_path / name for name in ("scan.nii.gz", "rows.json", "curves.png"))
    grid = Grid((36, 32, 40), oblique)
    write_volume(volume, scene(grid.shape), grid)
    command = ["capture", "--volume", str(volume), "--presets", "mind", "--contrasts", "inverted"]
    command += ["--shifts", "4", "30", "--rotations", "5", "--points", "60"]
    command += ["--output", str(output), "--figure", str(figure)]
    bench_encoder.main(command)
    rows = json.loads(output.read_text())["rows"]
    assert len(rows) == 9
    shares = {(row["kind"], row["axis"], abs(row["amount"])): row for row in rows}
    for axis, (kind, amount) in itertools.product(range(3), (("shift", 4.0), ("rotation", 5.0))):
        found = shares[kind, axis, amount]
        assert found["counted"] > 30
        assert found["search"] > 0.8
        assert found["stages"] > 0.8
    assert figure.stat().st_size > 10_000

    figure.unlink()
    monkeypatch.setattr(encoder_capture.Bench, "measure", lambda *_: pytest.fail("measured again"))
    bench_encoder.main(command)
    assert figure.is_file()


def test_contrast_compares_every_pair_of_contrasts(tmp_path, weights, oblique):
    grid = Grid((20, 24, 22), oblique)
    values = scene(grid.shape)
    (tmp_path / "native").mkdir()
    contrasts = {
        "T1pre": values,
        "T1post": 2 * values,  # the same once prepared
        "T2": np.where(values > 0, 1300 - values, 0),
        "FLAIR": np.where(values > 0, scene(grid.shape, seed=9), 0),  # of other content
    }
    for name, data in contrasts.items():
        write_volume(tmp_path / "native" / f"brain_{name}.nii.gz", data.astype(np.float32), grid)
    command = [
        "contrast",
        "--data",
        str(tmp_path),
        "--presets",
        "ssd",
        "mind",
        "dino3d",
        "--weights",
        weights,
    ]
    command += ["--points", "150", "--output", tmp_path / "contrast"]
    bench_encoder.main([str(part) for part in command])
    rows = json.loads((tmp_path / "contrast.json").read_text())["rows"]
    assert len(rows) == 3 * 6
    for row in rows:
        if row["contrasts"] == ["T1pre", "T1post"]:
            assert row["median_mm"] == 0
            assert row["auc"] > 0.99
    by_mind = {tuple(row["contrasts"]): row["auc"] for row in rows if row["preset"] == "mind"}
    assert by_mind["T1pre", "T2"] > 0.9 > by_mind["T1pre", "FLAIR"]
    assert (tmp_path / "contrast.md").read_text().count("\n") == 2 + 3 * 7


def test_inference_runs_in_a_process_of_its_own(tmp_path, weights, capsys):
    output = tmp_path / "inference.json"
    command = ["inference", "--shape", "24", "20", "28", "--threads", "1", "--repeats", "1"]
    bench_encoder.main([*command, "--weights", str(weights), "--output", str(output)])
    found = json.loads(output.read_text())
    (row,) = found["rows"]
    assert row["grid"] == [24, 20, 28]
    assert 0 < row["encode_seconds"] < row["process_seconds"]
    assert 0 < row["imported_mib"] <= row["peak_mib"] <= row["process_peak_mib"] + 1
    assert "24x20x28, 1 threads" in capsys.readouterr().out


TINY_VIT = ("vit.patch=4", "vit.width=24", "vit.depth=2", "vit.heads=2", "views.size=16")


def test_the_operations_of_a_transformer_by_hand():
    config = load_pretrain_config(None, TINY_VIT, preset="vit")
    tokens, width, gated = 4**3 + 1, 24, 64
    attention = 4 * tokens * width**2 + 2 * tokens**2 * width
    block = attention + 3 * tokens * width * gated
    patches = (tokens - 1) * 4**3 * width
    forward, both = encoder_cost.operations(config)
    assert forward == 2 * (patches + 2 * block)  # two operations per multiply-add
    # the gradient takes twice as many, but that no one asks for that of the image
    assert both == 3 * forward - 2 * patches
    counted = encoder_cost.count(config)
    assert counted["step_tera"] == pytest.approx(2 * 4 * (forward + both) / 1e12)  # the teacher looks too
    assert counted["training_exa"] == pytest.approx(counted["step_tera"] * 150_000 / 1e6)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_the_cost_of_a_training_is_counted_and_timed(tmp_path, capsys, device):
    output = tmp_path / "cost.json"
    command = ["cost", "--presets", "vit", "--size", "16", "--steps", "1", "--output", str(output)]
    command += [part for setting in TINY_VIT for part in ("--set", setting)]
    with pretended_cuda() if device != "cpu" else nullcontext():
        bench_encoder.main([*command, "--device", device])
    (row,) = json.loads(output.read_text())["rows"]
    assert (row["batch"], row["timed_batch"], row["timed_size"], row["steps"]) == (4, 1, 16, 150_000)
    assert row["seconds"] > 0
    days = 4 * row["seconds"] * 150_000 / 86_400  # four times the pairs
    assert row["training_days"] == pytest.approx(days)
    assert "| `vit` |" in capsys.readouterr().out


def test_the_table_keeps_what_is_current_and_replaces_the_rest(tiny, weights, tmp_path, monkeypatch):
    tiny.copied_to(tmp_path / "Tiny")
    output = tmp_path / "encoder.json"
    command = ["table", "--data", str(tmp_path), "--tasks", "Tiny", "--limit", "1", "--output", str(output)]
    command += ["--weights", str(weights), "--presets", "identity", "dino3d"]
    bench_encoder.main(command)
    identity, dino3d = json.loads(output.read_text())["rows"]
    assert (identity["method"], dino3d["method"]) == ("identity", "dino3d")
    assert identity["weights"] == []
    assert dino3d["weights"] == [weights_module.file_digest(weights)]
    assert dino3d["dice"] > identity["dice"] + 0.1
    assert "| Tiny | dino3d | 1 |" in output.with_suffix(".md").read_text()

    measured = []

    def measure(dataset, pair, preset, *, device, overrides):
        measured.append(preset)
        return {**dino3d, "dice": 0.125}

    monkeypatch.setattr(encoder_table, "measure_preset", measure)
    bench_encoder.main(command)
    assert measured == []
    write_dino3d(weights, random_network((16,), (1,), 24, seed=1), {"spacing_mm": 2.0})
    bench_encoder.main(command)
    assert measured == ["dino3d"]
    assert [row["dice"] for row in json.loads(output.read_text())["rows"]] == [identity["dice"], 0.125]


def test_presets_without_weights_are_named(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights_module, "_WITH_PROJECT", (tmp_path,))
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    tiny.copied_to(tmp_path / "Tiny")
    command = ["table", "--data", str(tmp_path), "--tasks", "Tiny", "--output", str(tmp_path / "rows.json")]
    bench_encoder.main([*command, "--presets", "dino3d"])
    assert "dino3d: not measured, no weights for dino3d" in capsys.readouterr().out


def test_gains_are_of_the_same_pairs_and_meet_the_goal_or_not():
    def row(task, method, case, dice):
        return {"task": task, "method": method, "case": case, "dice": dice}

    rows = [
        *(row("AbdomenMRCT", "mind", case, dice) for case, dice in (("a", 0.5), ("b", 0.6))),
        *(row("AbdomenMRCT", "dino3d", case, dice) for case, dice in (("a", 0.58), ("b", 0.63), ("c", 0.1))),
        row("BrainT1", "mind", "a", 0.7),
        row("BrainT1", "dino3d", "a", 0.68),
    ]
    _, _, first, second = encoder_table.format_gains(rows).splitlines()
    assert first == "| AbdomenMRCT | dino3d |  |  | +0.055 | +0.08 +0.03 | +0.05 | yes |"
    assert second == "| BrainT1 | dino3d |  |  | -0.020 | -0.02 | -0.01 | no |"
