"""The measurements for a GPU, in a dry run: all of them work at the first try, and leave their results."""

import json
import subprocess
import sys

import pytest

import gpu_session

STEPS = [step.name for step in gpu_session.plan(dry_run=True)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    output = tmp_path_factory.mktemp("gpu")
    command = ["bash", str(gpu_session.ROOT / "benchmarks/gpu_all.sh"), "--dry-run"]
    environment = {
        "OUT": str(output),
        "PYTHON": sys.executable,
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"{name}: done" for name in STEPS]
    assert sorted(path.name for path in output.glob("*.log")) == sorted(f"{name}.log" for name in STEPS)
    return {name: json.loads((output / f"{name}.json").read_text()) for name in STEPS}


@pytest.mark.parametrize("name", STEPS)
def test_every_step_says_where_and_how_it_ended(results, name):
    found = results[name]
    assert (found["step"], found["status"], found["dry_run"]) == (name, "done", True)
    assert found["seconds"] > 0
    assert {"card", "driver", "torch", "commit", "device"} <= found["machine"].keys()
    assert found["machine"]["device"] == "cpu"


def test_the_tests_for_a_gpu_are_found(results):
    counts = results["tests"]["counts"]
    assert counts["tests"] >= 4
    assert counts["failures"] == counts["errors"] == 0


def test_kernels_are_compared_with_torch_task_by_task(results):
    found = results["kernels"]
    assert (found["kernels"], found["channels"], found["shape"]) == ("numba", 24, [12, 10, 11])
    assert len(found["tasks"]) == 7
    assert all(row.keys() == {"task", "torch_ms"} and row["torch_ms"] > 0 for row in found["tasks"])


def test_a_device_agrees_with_itself(results):
    rows = results["agreement"]["cases"]
    assert {row["case"] for row in rows} == {"convexadam", "ssd", "dinoreg-cpu"}
    for row in rows:
        assert row["largest_voxels"] == row["median_voxels"] == 0
        assert row["repeats_bit_for_bit"] is True


@pytest.mark.parametrize("name", [name for name in STEPS if name.startswith("speed")])
def test_speed_is_told_by_stage(results, name):
    found = results[name]
    assert len(found["runs"]) == 1
    for run in found["runs"]:
        names = [stage["name"] for stage in run["stages"]]
        assert "features" in names
        assert "adam" in names
        assert names[-1] == "guard"
        assert all(stage["peak_memory_mib"] > 0 for stage in run["stages"])
        assert 0 < sum(stage["seconds"] for stage in run["stages"]) <= run["seconds"] * 1.01


def test_the_slowest_stage_is_profiled(results):
    assert results["profile"]["stage"]["seconds_unprofiled"] > 0
    assert any("aten::" in line for line in results["profile"]["table"])


@pytest.mark.parametrize(("action", "status"), [("nothing", "failed with exit code 2"), ("sleep", "stopped")])
def test_a_step_that_fails_or_takes_too_long_is_recorded(tmp_path, action, status, monkeypatch):
    sleeper = tmp_path / "sleeper.py"
    sleeper.write_text("import time\ntime.sleep(60)\n")
    if action == "sleep":
        monkeypatch.setattr(gpu_session.gpu_steps, "__file__", str(sleeper))
    step = gpu_session.Step("broken", action, (), 30)
    shared = ["--device", "cpu"]
    assert gpu_session.run(step, shared, tmp_path, 1.5 if action == "sleep" else 30).startswith(status)
    found = json.loads((tmp_path / "broken.json").read_text())
    assert found["status"].startswith(status)
    assert found["machine"]["torch"]


def test_without_time_a_step_is_not_begun(tmp_path):
    step = gpu_session.Step("late", "tests", (), 30)
    assert gpu_session.run(step, ["--device", "cpu"], tmp_path, 0) == "no time was left"
    assert json.loads((tmp_path / "late.json").read_text())["status"] == "no time was left"


def test_all_steps_fit_into_the_time_there_is():
    assert sum(step.seconds for step in gpu_session.plan(dry_run=False)[:4]) < gpu_session.TOTAL_SECONDS
