"""A whole run over a tiny task: the files, the manifest, and what the numbers mean."""

import json
from dataclasses import replace
from importlib import metadata

import nibabel as nib
import numba
import numpy as np
import pytest
import torch
from scipy import ndimage

from dinoreg.settings.load import config_hash, load_config, load_preset
from dinoreg.task.run_task import RunOptions, run_task
from regtask import Grid, read_dataset, read_field, read_field_grids, read_header, read_volume, write_volume

pytestmark = pytest.mark.integration

SHORT = ["disp_0001_0001.nii.gz", "disp_0002_0001_0002_0000.nii.gz", "disp_0003_0004.nii.gz"]


def centre(field):
    return field[10:-10, 10:-10, 10:-10].reshape(-1, 3)


def test_one_field_per_pair_as_the_evaluator_wants_it(tiny, quick_run):
    output, _ = quick_run
    assert sorted(path.name for path in output.iterdir()) == sorted([*tiny.fields, "manifest.json"])
    for name in tiny.fields:
        image = nib.load(output / name)
        stored = np.asanyarray(image.dataobj)
        assert stored.shape == (*tiny.grid.shape, 3)
        assert stored.dtype == image.get_data_dtype() == np.float32
        assert np.isfinite(stored).all()
        np.testing.assert_allclose(image.affine, tiny.grid.affine, atol=1e-5)
        np.testing.assert_allclose(image.get_qform(), tiny.grid.affine, atol=1e-4)
        np.testing.assert_array_equal(read_field(output / name, tiny.grid.shape), stored)


@pytest.mark.parametrize("preset", ["identity", "fallback"])
def test_each_field_notes_where_its_moving_image_lay(damaged, tmp_path, dinoreg, preset):
    """The moving image's own header, not the fixed one's, and also beside a safe field."""
    path = damaged.image(damaged.pairs[0][1])
    turned = damaged.grid.affine @ np.diag([-1, 1, 1, 1])
    turned[:3, 3] += (7.5, -11.0, 3.25)
    write_volume(path, read_volume(path).data, Grid(damaged.grid.shape, turned))
    arguments = ("--output", tmp_path / "out", "--preset", "identity")
    if preset == "fallback":
        damaged.image(damaged.pairs[0][0]).write_bytes(b"")
        arguments += ("--on-failure", "fallback")
    assert dinoreg("run", "--dataset", damaged.description, *arguments).code == 0
    fixed, moving = read_field_grids(tmp_path / "out" / damaged.fields[0])
    expected = read_header(path).grid
    assert moving.shape == expected.shape
    np.testing.assert_array_equal(moving.affine, expected.affine)
    assert fixed.matches(expected if preset == "fallback" else damaged.grid)


@pytest.mark.parametrize("naming", ["long", "2024", "both"])
def test_names(tiny, tmp_path, dinoreg, naming):
    output = tmp_path / "made" / "by the run"
    done = dinoreg(
        *("run", "--dataset", tiny.description, "--output", output),
        *("--preset", "identity", "--set", f'output.naming="{naming}"'),
    )
    assert done.code == 0, done.err
    expected = {"long": tiny.fields, "2024": SHORT, "both": sorted({*tiny.fields, *SHORT})}[naming]
    assert sorted(path.name for path in output.glob("disp_*")) == sorted(expected)
    manifest = json.loads((output / "manifest.json").read_text())
    assert sorted(name for entry in manifest["pairs"].values() for name in entry["files"]) == sorted(expected)


def test_name_2024_without_quotes(tiny, tmp_path, dinoreg):
    arguments = ("run", "--dataset", tiny.description, "--output", tmp_path, "--preset", "identity")
    assert dinoreg(*arguments, "--set", "output.naming=2024").code == 0


def test_shifts_are_recovered_with_sign_and_axis(tiny, tmp_path):
    config = load_preset("convexadam", ["adam.0.iterations=40"])
    run_task(read_dataset(tiny.description), config, RunOptions(tmp_path))
    for name, shift in zip(tiny.fields, tiny.shifts, strict=True):
        found = np.median(centre(read_field(tmp_path / name)), axis=0)
        np.testing.assert_allclose(found, shift, atol=0.25)


def test_field_pulls_the_moving_image_onto_the_fixed(tiny, quick_run):
    fixed, moving = (
        np.asanyarray(nib.load(tiny.image(name)).dataobj).astype(float) for name in tiny.pairs[0]
    )
    field = read_field(quick_run[0] / tiny.fields[0])
    positions = np.indices(fixed.shape) + np.moveaxis(field, -1, 0)
    warped = ndimage.map_coordinates(moving, positions, order=1, mode="nearest")
    inner = (slice(10, -10),) * 3
    after = np.abs(warped - fixed)[inner].mean()
    assert after < 0.4 * np.abs(moving - fixed)[inner].mean()


def test_command_equals_library(tiny, quick, quick_run, tmp_path, dinoreg):
    done = dinoreg("run", "--dataset", tiny.description, "--output", tmp_path, "--config", quick)
    assert (done.code, done.out) == (0, "")
    assert "pair 3/3  0003_0000<--0004_0000  ok" in done.err
    for name in tiny.fields:
        np.testing.assert_array_equal(read_field(tmp_path / name), read_field(quick_run[0] / name))
    ours, theirs = (json.loads((folder / "manifest.json").read_text()) for folder in (tmp_path, quick_run[0]))
    assert ours["config"] == theirs["config"]
    assert ours["config_hash"] == theirs["config_hash"]


@pytest.mark.parametrize("threads", [1, 2])
def test_two_runs_are_identical(tiny, quick, tmp_path, request, threads):
    dataset = read_dataset(tiny.description)
    raw = {**dataset.raw, "registration_val": dataset.raw["registration_val"][:1]}
    for library in (torch, numba):
        request.addfinalizer(lambda library=library: library.set_num_threads(1))
        library.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    for run in ("first", "second"):
        run_task(replace(dataset, raw=raw), load_config(quick), RunOptions(tmp_path / run))
    first, second = (read_field(tmp_path / run / tiny.fields[0]) for run in ("first", "second"))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) > 1000


def test_manifest(tiny, quick, quick_run):
    output, returned = quick_run
    manifest = json.loads((output / "manifest.json").read_text())
    config = load_config(quick)
    assert manifest["pairs"] == returned.pairs
    assert manifest["task"] == "Tiny"
    assert manifest["split"] == "auto"
    assert manifest["config"] == config.model_dump(mode="json")
    assert manifest["config_hash"] == config_hash(config)
    for package in ("dinoreg", "torch", "numpy"):
        assert manifest["machine"][package] == metadata.version(package)
    assert manifest["machine"]["device"].startswith("cpu")
    assert manifest["machine"]["kernels"] == "numba"
    assert list(manifest["pairs"]) == tiny.cases
    for name, entry in zip(tiny.fields, manifest["pairs"].values(), strict=True):
        assert entry["status"] == "ok"
        assert "error" not in entry
        assert entry["files"] == {name: (output / name).stat().st_size}
        assert entry["folding_percent"] == 0
        assert entry["config_hash"] == manifest["config_hash"]
        assert [stage["name"] for stage in entry["stages"]] == ["features", "discrete", "adam", "guard"]
        assert all(stage["seconds"] >= 0 for stage in entry["stages"])
        assert sum(stage["seconds"] for stage in entry["stages"]) <= entry["seconds"] + 0.01
        assert entry["peak_memory_mib"] > 0
        assert entry["stages"][2]["details"]["iterations"] == 5
        plan = entry["plan"]
        assert plan["frame"]["image_shape"] == list(tiny.grid.shape)
        assert plan["finest"]["stride"] == [2, 2, 2]  # voxel_lengths: 2 mm are 2 voxels
        assert plan["stages"][0]["lattice"]["stride"] == [6, 6, 6]


def test_folds_are_repaired(tiny, quick, tmp_path):
    """Without regularity Adam folds the images; the guard repairs that unless it is told not to."""
    rough = ["adam.0.regularity_weight=0.0", "adam.0.smoothing_repeats=0", "adam.0.iterations=20"]
    for allowed in ("0", "100"):
        overrides = [*rough, f"guard.max_folding_percent={allowed}.0"]
        output = tmp_path / allowed
        manifest = run_task(read_dataset(tiny.description), load_config(quick, overrides), RunOptions(output))
        for name, entry in zip(tiny.fields, manifest.pairs.values(), strict=True):
            field = read_field(output / name)
            gradients = [np.gradient(field[..., axis], axis=(0, 1, 2)) for axis in range(3)]
            matrix = np.moveaxis(np.array(gradients), (0, 1), (-2, -1)) + np.eye(3)
            folded = (np.linalg.det(matrix) <= 0).mean()
            if allowed == "0":
                assert entry["folding_percent"] == 0
                assert folded == 0
            else:
                assert entry["folding_percent"] > 0.1
                assert folded > 0.001


def test_identity_writes_zeros(tiny, tmp_path):
    run_task(read_dataset(tiny.description), load_preset("identity"), RunOptions(tmp_path))
    for name in tiny.fields:
        assert not read_field(tmp_path / name, tiny.grid.shape).any()


def test_data_folder_apart_from_the_description(tiny, tmp_path, dinoreg):
    moved = tmp_path / "elsewhere_dataset.json"
    moved.write_bytes(tiny.description.read_bytes())
    arguments = ("run", "--dataset", moved, "--output", tmp_path / "out", "--preset", "identity")
    assert dinoreg(*arguments).code == 3
    assert dinoreg(*arguments, "--data-dir", tiny.folder).code == 0


def test_splits(damaged, tmp_path, dinoreg):
    content = json.loads(damaged.description.read_text())
    content["registration_test"] = content["registration_val"][1:2]
    damaged.description.write_text(json.dumps(content))
    for split, count in (("auto", 1), ("test", 1), ("val", 3)):
        arguments = ("--output", tmp_path / split, "--preset", "identity", "--split", split)
        assert dinoreg("run", "--dataset", damaged.description, *arguments).code == 0
        assert len(list((tmp_path / split).glob("disp_*"))) == count
