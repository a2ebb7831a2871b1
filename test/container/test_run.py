"""The container at work, with every restriction that a platform may impose."""

import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dinoreg.weights.official import SHIPPED
from regeval.scoring.quick_scores import mean_scores, score_task
from regtask import read_dataset, read_field

pytestmark = pytest.mark.container

PRESET = "convexadam"
ANY_UID = 12345
TOLERANCE_VOXELS = 1e-3


def fingerprint(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_one_field_per_pair_a_manifest_and_nothing_else(phantom, phantom_run):
    assert phantom_run.finished.code == 0, phantom_run.finished.err
    assert phantom_run.files == sorted([*phantom.fields, "manifest.json"])
    assert [entry["status"] for entry in phantom_run.manifest["pairs"].values()] == ["ok"] * len(
        phantom.fields
    )
    assert {(phantom_run.output / name).stat().st_uid for name in phantom_run.files} == {ANY_UID}


def test_says_how_far_it_is_and_warns_of_nothing(phantom, phantom_run):
    count = len(phantom.fields)
    assert f"pair {count}/{count}" in phantom_run.finished.err
    assert "Traceback" not in phantom_run.finished.err
    assert "Warning" not in phantom_run.finished.err


def test_fields_equal_those_of_the_command(phantom, phantom_run, tmp_path):
    command = (sys.executable, "-m", "dinoreg.cli.main", "run", "--preset", PRESET, "--device", "cpu")
    paths = ("--dataset", str(phantom.description), "--output", str(tmp_path))
    subprocess.run([*command, *paths], check=True, env={**os.environ, "OMP_THREAD_LIMIT": "32"})
    for name in phantom.fields:
        ours, theirs = read_field(tmp_path / name), read_field(phantom_run.output / name)
        assert np.abs(ours).max() > 1
        np.testing.assert_allclose(theirs, ours, atol=TOLERANCE_VOXELS, rtol=0)


def test_fields_register(phantom, phantom_run):
    dataset = read_dataset(phantom.description)
    before, after = (
        mean_scores(score_task(dataset, folder, "auto")) for folder in (None, phantom_run.output)
    )
    assert after.dice > before.dice + 0.1
    assert after.tre_mm < 0.5 * before.tre_mm


def test_the_encoder_of_our_own_is_in_the_image(phantom, run_image):
    """Nobody mounts its weights; the run finds them, checks their digest and registers with them."""
    run = run_image(phantom.folder, "--preset", "dino3d+mind")
    assert run.finished.code == 0, run.finished.err
    found = run.manifest["weights"]["0"]
    assert (found["provenance"], found["sha256"]) == ("official", SHIPPED.sha256)
    before, after = (
        mean_scores(score_task(read_dataset(phantom.description), folder, "auto"))
        for folder in (None, run.output)
    )
    assert after.dice > before.dice + 0.1


@pytest.mark.parametrize("names", [(), ("Phantom_dataset.json", "Other_dataset.json")], ids=["none", "two"])
def test_not_one_dataset_description(phantom, run_image, tmp_path, names):
    for name in names:
        shutil.copy(phantom.description, tmp_path / name)
    run = run_image(tmp_path)
    assert run.finished.code == 3
    last = run.finished.err.strip().splitlines()[-1]  # the line that platforms show
    assert last.startswith("dinoreg: one dataset JSON is needed: /input")
    assert "--dataset" in last
    assert all(name in last for name in names)
    assert "Traceback" not in run.finished.err
    assert run.files == []


def test_output_cannot_be_written(phantom, run_image):
    run = run_image(phantom.folder, "--preset", "identity", mode="ro")
    assert run.finished.code == 4, run.finished.err
    assert "/output" in run.finished.err
    assert "Traceback" not in run.finished.err


def test_broken_image_still_gives_every_field_and_only_tmp_is_touched(phantom, run_image, docker, tmp_path):
    task = phantom.copied_to(tmp_path / "task")
    broken = read_dataset(task.description).pairs("auto")[0].moving
    broken.write_bytes(broken.read_bytes()[:2000])
    given = fingerprint(task.folder)
    # Here the root file system may be written, as on platforms that do not forbid it: nothing must.
    name = f"dinoreg-test-{os.getpid()}"
    try:
        run = run_image(
            task.folder,
            *("--preset", PRESET),
            restrictions=("--name", name, "--network", "none", "--user", f"{ANY_UID}:{ANY_UID}"),
        )
        changed = [line.split()[1] for line in docker("diff", name).out.splitlines()]
    finally:
        docker("rm", "--force", name)
    assert run.finished.code == 0, run.finished.err
    assert run.files == sorted([*task.fields, "manifest.json"])
    statuses = [entry["status"] for entry in run.manifest["pairs"].values()]
    assert statuses == ["fallback"] + ["ok"] * (len(statuses) - 1)
    assert broken.name in run.finished.err
    assert not read_field(run.output / task.fields[0]).any()
    assert [path for path in changed if path != "/tmp" and not path.startswith("/tmp/")] == []
    assert fingerprint(task.folder) == given


def test_threads_stay_few_on_a_large_machine(docker, image):
    """A machine of 200 cores is simulated; each library would start as many threads."""
    script = (
        "import torch, numba, numpy, pathlib, re;"
        "a = torch.rand(64, 64, 64, 64); (a * a + a).sum(); torch.rand(900, 900) @ torch.rand(900, 900);"
        "numba.njit(parallel=True)(lambda x: x + 1)(numpy.zeros(100000));"
        "print(re.search(r'Threads:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    cores = ("OMP_NUM_THREADS=200", "MKL_NUM_THREADS=200", "MKL_DYNAMIC=FALSE")
    simulated = [word for setting in cores for word in ("--env", setting)]
    limits = ("--rm", "--network", "none", "--pids-limit", "256")
    done = docker("run", *limits, *simulated, "--entrypoint", "python", image, "-c", script)
    assert done.code == 0, done.err
    assert int(done.out) < 128
