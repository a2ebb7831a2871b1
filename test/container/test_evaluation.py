"""The evaluation image, and the chain from the registration's fields through it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from regtask import Grid, read_field, read_header, write_field
from regtask.metaimage import write_field_mha
from regtask.physical import voxels_to_lps

pytestmark = pytest.mark.container

TRUTH = "/opt/ml/input/data/ground_truth:ro"
ANY_UID = 12345
PRESET = "convexadam"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def configure(evaluation_image, docker):
    """Let the image write the configuration of a task into its folder."""

    def write(description):
        description.parent.chmod(0o777)
        mount = ("--volume", f"{description.parent}:/truth")
        paths = ("--dataset", f"/truth/{description.name}", "--output", "/truth/evaluation_config.json")
        options = ("--rm", "--network", "none", *mount, "--entrypoint", "python")
        done = docker("run", *options, evaluation_image, "-m", "regeval", "config", *paths)
        assert done.code == 0, done.err

    return write


@pytest.fixture(scope="session")
def truth(phantom, configure, tmp_path_factory):
    """The phantom as ground truth."""
    task = phantom.copied_to(tmp_path_factory.mktemp("truth") / "task")
    configure(task.description)
    return task.folder


@pytest.fixture
def evaluate(evaluation_image, shut_in, truth, writable):
    """Evaluate a folder; returns how it ended, and the metrics, if there are any."""

    def run(folder, *options, truth=truth):
        mounts = {"/input:ro": folder, TRUTH: truth, "/output": writable}
        done = shut_in(evaluation_image, *options, mounts=mounts)
        path = writable / "metrics.json"
        return done, json.loads(path.read_text(), parse_constant=pytest.fail) if path.exists() else None

    return run


def test_fields_of_the_registration_pass_a_gate(phantom_run, evaluate, writable):
    gates = ("--require", "DSC.mean>=0.6", "--require", "TRE_lm.mean<=8")
    done, metrics = evaluate(phantom_run.output, *gates)
    assert done.code == 0, done.err
    assert metrics["aggregates"]["DSC"]["mean"] > metrics["reference"]["aggregates"]["DSC"]["mean"] + 0.1
    assert sorted(path.name for path in writable.iterdir()) == ["metrics.json"]
    assert (writable / "metrics.json").stat().st_uid == ANY_UID


def test_runs_can_be_ranked(phantom_run, evaluate, evaluation_image, shut_in, writable):
    done, _ = evaluate(phantom_run.output)
    assert done.code == 0, done.err
    runs = ("ours=/output/metrics.json", "again=/output/metrics.json")
    done = shut_in(
        evaluation_image,
        *("rank", *runs, "--output", "/output/board", "--bootstrap", "10"),
        mounts={"/output": writable},
    )
    assert done.code == 0, done.err
    assert "ours" in (writable / "board" / "leaderboard.html").read_text()


def test_a_challenge_becomes_a_site_with_pictures(
    phantom_run, truth, evaluation_image, shut_in, writable, tmp_path
):
    shutil.copytree(phantom_run.output, tmp_path / "teams" / "team")
    (description,) = truth.glob("*_dataset.json")
    done = shut_in(
        evaluation_image,
        *("leaderboard", "--dataset", f"/truth/{description.name}", "--submissions", "/teams"),
        *("--output", "/output/site", "--bootstrap", "10", "--pictures", "all"),
        mounts={"/truth:ro": truth, "/teams:ro": tmp_path / "teams", "/output": writable},
    )
    assert done.code == 0, done.err
    assert len(list((writable / "site").rglob("*.svg"))) == len(phantom_run.manifest["pairs"])


def test_gate_that_is_not_met(phantom_run, evaluate):
    done, metrics = evaluate(phantom_run.output, "--require", "DSC.mean>=0.999")
    assert done.code == 1
    assert "DSC.mean>=0.999" in done.err.strip().splitlines()[-1]
    assert metrics is not None


def job(folder, key, fixed, moving):
    """The folder of a job's field, made, and the job's entry in predictions.json."""
    inputs = [
        {
            "socket": {"slug": f"{role}-image", "relative_path": f"images/{role}-image"},
            "image": {"name": f"Phantom_{case}.mha"},
        }
        for role, case in (("fixed", fixed), ("moving", moving))
    ]
    outputs = [{"socket": {"slug": "displacement-field", "relative_path": "images/displacement-field"}}]
    place = folder / key / "output" / "images" / "displacement-field"
    place.mkdir(parents=True)
    return place, {"pk": key, "status": "Succeeded", "inputs": inputs, "outputs": outputs}


def test_fields_as_outputs_of_jobs_score_the_same(phantom, phantom_run, evaluate, truth, tmp_path):
    folder, jobs = tmp_path / "jobs", []
    for number, name in enumerate(phantom.fields):
        cases = name[5:14], name[15:24]
        place, entry = job(folder, f"job-{number}", *cases)
        grids = [read_header(truth / "imagesTr" / f"Phantom_{case}.nii.gz").grid for case in cases]
        vectors = read_field(phantom_run.output / name)
        write_field_mha(place / "field.mha", voxels_to_lps(vectors, *grids), grids[0])
        jobs.append(entry)
    (folder / "predictions.json").write_text(json.dumps(jobs))
    done, by_jobs = evaluate(folder)
    assert done.code == 0, done.err
    done, directly = evaluate(phantom_run.output)
    for metric in ("DSC", "TRE_lm"):
        values = [found["aggregates"][metric]["mean"] for found in (by_jobs, directly)]
        assert values[0] == pytest.approx(values[1], abs=1e-3)


def test_output_of_exec_mode_passes_a_gate(exec_job, evaluate, truth, tmp_path):
    """The field was made from scans on different grids; the ground truth has both on one."""
    alone = shutil.copytree(truth, tmp_path / "truth")
    config = json.loads((alone / "evaluation_config.json").read_text())
    config["eval_pairs"] = [pair for pair in config["eval_pairs"] if exec_job.fixed in pair["fixed"]]
    (alone / "evaluation_config.json").write_text(json.dumps(config))
    place, entry = job(tmp_path / "jobs", "job", exec_job.fixed, exec_job.moving)
    shutil.copy(exec_job.field, place / "field.mha")
    (tmp_path / "jobs" / "predictions.json").write_text(json.dumps([entry]))
    done, metrics = evaluate(tmp_path / "jobs", "--require", "DSC.mean>=0.6", truth=alone)
    assert done.code == 0, done.err
    before, after = (found["aggregates"]["TRE_lm"]["mean"] for found in (metrics["reference"], metrics))
    assert after < 0.7 * before


def test_faults_are_told_together_and_nothing_is_scored(phantom, phantom_run, evaluate, tmp_path):
    folder = shutil.copytree(phantom_run.output, tmp_path / "fields")
    first, second = phantom.fields
    field = read_field(folder / first)
    write_field(folder / first, np.zeros((*np.array(field.shape[:3]) // 2, 3)), half_grid(field))
    (folder / second).write_bytes((folder / second).read_bytes()[:1000])
    done, metrics = evaluate(folder)
    assert (done.code, metrics) == (3, None)
    assert first in done.err
    assert second in done.err
    assert "half resolution" in done.err
    assert "Traceback" not in done.err


def half_grid(field):
    return Grid(tuple(n // 2 for n in field.shape[:3]), np.diag((2.0, 2.0, 2.0, 1.0)))


@pytest.mark.real_data
def test_fields_of_real_scans_pass_a_gate(run_image, configure, evaluate, tmp_path):
    source = DATA / "HippocampusMR"
    if not source.is_dir():
        pytest.skip(f"no {source}")
    task = tmp_path / "task"
    content = json.loads((source / "HippocampusMR_dataset.json").read_text(encoding="utf-8"))
    content["registration_val"] = content["registration_val"][:2]
    content["numRegistration_val"] = 2
    for pair in content["registration_val"]:
        for image in (pair["fixed"], pair["moving"]):
            for file in (image, image.replace("images", "labels")):
                (task / file).parent.mkdir(exist_ok=True, parents=True)
                shutil.copy(source / file, task / file)
    description = task / "HippocampusMR_dataset.json"
    description.write_text(json.dumps(content), encoding="utf-8")
    configure(description)
    run = run_image(task, "--preset", PRESET)
    assert run.finished.code == 0, run.finished.err
    done, metrics = evaluate(run.output, "--require", "DSC.mean>=0.75", truth=task)
    assert done.code == 0, done.err
    before, after = (found["aggregates"]["DSC"]["mean"] for found in (metrics["reference"], metrics))
    assert after > before
