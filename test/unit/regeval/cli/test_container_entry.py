"""What a platform mounts becomes one evaluation."""

import json
import zipfile
from importlib import metadata

import numpy as np
import pytest

from regeval import cli
from regeval.cli.container import main
from regtask import Grid, write_field
from regtask.metaimage import write_field_mha
from regtask.physical import voxels_to_lps

GRID_AFFINE = np.diag((2.0, 0.5, 1.25, 1.0))
NAMES = ("disp_0001_0000_0001_0001", "disp_0002_0000_0002_0001")


@pytest.fixture
def grid(shift_field):
    return Grid(shift_field.shape[:3], GRID_AFFINE)


@pytest.fixture
def evaluate(task, tmp_path, monkeypatch):
    """Run the entry on a folder; returns its exit code and the metrics, if it wrote any."""
    # The second pair has images only: with labels and landmarks asked for, the first alone is judged.
    content = json.loads(task.read_text())
    content["registration_val"] = content["registration_val"][:1]
    (tmp_path / "both.json").write_text(task.read_text())
    task.write_text(json.dumps(content))
    config = ("config", "--dataset", str(task), "--output", str(tmp_path / "evaluation_config.json"))
    assert cli.main([*config, "--labels", "1", "2", "7"]) == 0
    monkeypatch.delenv("REGEVAL_ARGUMENTS", raising=False)
    output = tmp_path / "output"
    output.mkdir()

    def run(folder, *options):
        paths = ("--input", folder, "--output", output, "--ground-truth", tmp_path)
        code = main([str(word) for word in (*paths, *options)])
        path = output / "metrics.json"
        return code, json.loads(path.read_text(), parse_constant=pytest.fail) if path.exists() else None

    return run


@pytest.fixture
def fields(tmp_path, shift_field, grid):
    folder = tmp_path / "input"
    folder.mkdir()
    write_field(folder / f"{NAMES[0]}.nii.gz", shift_field, grid)
    return folder


def test_fields_directly_in_the_folder(evaluate, fields):
    code, metrics = evaluate(fields)
    assert code == 0
    assert metrics["aggregates"]["DSC"]["mean"] == 1
    assert metrics["aggregates"]["TRE_lm"]["mean"] == pytest.approx(0, abs=1e-6)


def test_one_archive_in_the_folder(evaluate, fields, tmp_path):
    folder = tmp_path / "packed"
    folder.mkdir()
    with zipfile.ZipFile(folder / "submission.zip", "w") as archive:
        archive.write(fields / f"{NAMES[0]}.nii.gz", f"{NAMES[0]}.nii.gz")
    code, metrics = evaluate(folder)
    assert code == 0
    assert metrics["aggregates"]["DSC"]["mean"] == 1


@pytest.fixture
def jobs(shift_field, grid, tmp_path):
    """The outputs of one job; returns their folder and the list of jobs, still to be written."""
    place = tmp_path / "jobs" / "job-1" / "output" / "images" / "dvf"
    place.mkdir(parents=True)
    write_field_mha(place / "a.mha", voxels_to_lps(shift_field, grid, grid), grid)
    inputs = [
        {
            "socket": {"slug": role, "relative_path": f"images/{role}"},
            "image": {"name": f"Knee_0001_{modality}.mha"},
        }
        for role, modality in (("fixed", "0000"), ("moving", "0001"))
    ]
    outputs = [{"socket": {"slug": "dvf", "relative_path": "images/dvf"}}]
    jobs = [{"pk": "job-1", "status": "Succeeded", "inputs": inputs, "outputs": outputs}]
    return tmp_path / "jobs", jobs


def test_outputs_of_jobs(evaluate, jobs):
    folder, entries = jobs
    (folder / "predictions.json").write_text(json.dumps(entries))
    code, metrics = evaluate(folder)
    assert code == 0
    assert metrics["aggregates"]["DSC"]["mean"] == 1


def test_a_job_that_failed(evaluate, jobs, tmp_path, capsys):
    folder, entries = jobs
    failed = json.loads(json.dumps(entries[0]).replace("Knee_0001", "Knee_0002"))
    entries.append(failed | {"pk": "job-2", "status": "Failed"})
    (folder / "predictions.json").write_text(json.dumps(entries))
    (tmp_path / "evaluation_config.json").unlink()
    (tmp_path / "Knee_dataset.json").write_text((tmp_path / "both.json").read_text())
    code, metrics = evaluate(folder)
    assert (code, metrics) == (3, None)
    assert "job failed" in capsys.readouterr().err
    code, metrics = evaluate(folder, "--missing", "worst")
    assert code == 0
    (case, why), *more = metrics["missing"]["cases"].items()
    assert (case, more) == ("0002_0000<--0002_0001", [])
    assert "job failed" in why
    assert metrics["cases"][case]["folds_percent"]["mean"] == 100
    entries[1]["pk"] = "../job-2"  # whose job that was cannot be told
    (folder / "predictions.json").write_text(json.dumps(entries))
    assert evaluate(folder, "--missing", "worst")[0] == 3


def test_missing_fields_by_configuration_and_environment(evaluate, fields, tmp_path, monkeypatch):
    config = tmp_path / "evaluation_config.json"
    content = json.loads(config.read_text())
    second = {key: path.replace("0001_", "0002_") for key, path in content["eval_pairs"][0].items()}
    methods = [entry for entry in content["evaluation_methods"] if entry["metric"] == "sdlogj"]
    content |= {"eval_pairs": [*content["eval_pairs"], second], "evaluation_methods": methods}
    config.write_text(json.dumps(content))
    assert evaluate(fields)[0] == 3
    config.write_text(json.dumps(content | {"missing_fields": "identity"}))
    code, metrics = evaluate(fields)
    assert (code, metrics["missing"]["policy"]) == (0, "identity")
    monkeypatch.setenv("REGEVAL_ARGUMENTS", "--missing worst")
    code, metrics = evaluate(fields)
    assert (code, metrics["missing"]["policy"]) == (0, "worst")


def test_options_of_the_environment_and_a_gate(evaluate, fields, monkeypatch, capsys):
    monkeypatch.setenv("REGEVAL_ARGUMENTS", "--mode l2r --require 'DSC.mean>=1.5'")
    code, metrics = evaluate(fields)
    assert code == 1
    assert metrics["mode"] == "l2r"
    assert "DSC.mean>=1.5" in capsys.readouterr().err.splitlines()[-1]


def test_missing_field_is_one_message(evaluate, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    code, metrics = evaluate(tmp_path / "empty")
    assert (code, metrics) == (3, None)
    assert NAMES[0] in capsys.readouterr().err


def test_values_that_json_lacks_are_null(evaluate, fields, shift_field, grid):
    write_field(fields / f"{NAMES[0]}.nii.gz", shift_field * 0 + 1000, grid)
    code, metrics = evaluate(fields, "--mode", "l2r")
    assert code == 0
    assert metrics["aggregates"]["HD95"]["mean"] is None


def test_configuration_of_another_name(evaluate, fields, tmp_path):
    (tmp_path / "evaluation_config.json").rename(tmp_path / "other.json")
    assert evaluate(fields)[0] == 0
    (tmp_path / "second.json").write_text((tmp_path / "other.json").read_text())
    assert evaluate(fields)[0] == 3


def test_a_task_without_configuration(evaluate, fields, tmp_path):
    (tmp_path / "evaluation_config.json").unlink()
    code, metrics = evaluate(fields)
    assert code == 0
    assert metrics["aggregates"]["DSC"]["cases"] == 1
    (tmp_path / "Knee_dataset.json").rename(tmp_path / "Knee.json")
    assert evaluate(fields)[0] == 3


@pytest.mark.parametrize("word", ["fixd=a", "fixed=", "fixed"])
def test_faulty_socket(evaluate, fields, tmp_path, word):
    (tmp_path / "input" / "predictions.json").write_text("[]")
    assert evaluate(fields, "--socket", word)[0] == 3


def test_a_verb_is_run_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("REGEVAL_ARGUMENTS", "--mode l2r")  # meant for evaluations
    with pytest.raises(SystemExit) as ended:
        main(["rank", "--help"])
    assert ended.value.code == 0
    assert "usage: regeval rank" in capsys.readouterr().out


@pytest.mark.parametrize("entry", [main, cli.main])
def test_the_version_is_that_of_the_image(entry, capsys, monkeypatch):
    monkeypatch.setenv("REGEVAL_VERSION", "1.2.3")
    with pytest.raises(SystemExit) as ended:
        entry(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, "1.2.3\n")
    monkeypatch.delenv("REGEVAL_VERSION")
    with pytest.raises(SystemExit):
        entry(["--version"])
    assert capsys.readouterr().out.strip() == metadata.version("dinoreg")

    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    with pytest.raises(SystemExit):
        entry(["--version"])
    assert capsys.readouterr().out == "unknown\n"
