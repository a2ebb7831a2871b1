"""The command `evaluate`: its table, its metrics file, its gates, its errors, and what it does not import."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from regeval.cli import main
from regtask import Grid, write_field

SHAPE = (26, 30, 34)


def refuse(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.fixture
def predictions(task, shift_field):
    folder = task.parent / "predictions"
    folder.mkdir()
    for subject in ("0001", "0002"):
        write_field(folder / f"disp_{subject}_{subject}.nii.gz", shift_field, Grid(SHAPE, np.eye(4)))
    return folder


@pytest.fixture
def command(task, predictions):
    return ["evaluate", "--dataset", str(task), "--predictions", str(predictions)]


def test_table(command, capsys):
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Knee, 2 pairs, mode strict")
    assert lines[2].split() == ["pair", "DSC", "HD95", "mm", "TRE_lm", "mm", "folds", "%", "sdLogJ"]
    row = next(line for line in lines if line.startswith("0001_0000<--0001_0001"))
    assert "0.000 ->  1.000" in row
    assert "10.90 ->   0.00" in row
    empty = next(line for line in lines if line.startswith("0002_0000<--0002_0001")).split()
    assert empty[1:4] == ["-", "-", "-"]
    mean = next(line for line in lines if line.startswith("mean"))
    assert "0.000 ->  1.000" in mean
    assert len({len(line) for line in lines if "<--" in line or line.startswith("mean")}) == 1


def test_table_without_labels_and_landmarks(task, command, capsys):
    for kind in ("labels", "landmarks"):
        for file in (task.parent / f"{kind}Tr").iterdir():
            file.unlink()
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["pair", "folds", "%", "sdLogJ"]


def test_lost_organ_is_explained_and_json_is_strict(command, predictions, tmp_path, capsys):
    far = np.full((*SHAPE, 3), 100, np.float32)
    write_field(predictions / "disp_0001_0001.nii.gz", far, Grid(SHAPE, np.eye(4)))
    out = tmp_path / "metrics.json"
    assert main([*command, "--output", str(out)]) == 0
    assert "vanished in warping (Dice 0, HD95 the diagonal of the image): 3" in capsys.readouterr().out
    content = json.loads(out.read_text(encoding="utf-8"), parse_constant=refuse)
    dice = content["cases"]["0001_0000<--0001_0001"]["DSC"]
    assert dice["detailed"] == [0.0, 0.0, 0.0, None]
    assert dice["lost_labels"] == [1, 2, 7]
    assert dice["absent_labels"] == [9]
    assert "label 9: not in both images" in dice["reasons"]
    distance = content["cases"]["0001_0000<--0001_0001"]["HD95_l2r"]
    assert distance["mean"] is None
    assert "mean: infinite" in distance["reasons"]
    assert content["cases"]["0002_0000<--0002_0001"]["DSC"]["mean"] is None
    assert content["reference"]["aggregates"]["TRE_lm"]["mean"] == pytest.approx(10.90, abs=5e-3)


def test_official_json_holds_infinity(command, predictions, tmp_path):
    far = np.full((*SHAPE, 3), 100, np.float32)
    write_field(predictions / "disp_0001_0001.nii.gz", far, Grid(SHAPE, np.eye(4)))
    out = tmp_path / "metrics.json"
    assert main([*command, "--output", str(out), "--mode", "l2r"]) == 0
    assert json.loads(out.read_text())["cases"]["0001_0000<--0001_0001"]["HD95"]["mean"] == float("inf")
    assert main([*command, "--output", str(out), "--mode", "l2r", "--strict-json"]) == 0
    json.loads(out.read_text(), parse_constant=refuse)


def test_gates(command, capsys):
    assert main([*command, "--require", "DSC.mean>=1", "--require", "TRE_lm.mean<=0.001"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*command, "--require", "DSC.mean>=0.6", "--require", "sdLogJ.mean>0"]) == 1
    assert capsys.readouterr().err == "regeval: requirement not met: sdLogJ.mean>0: it is 0\n"
    assert main([*command, "--require", "DCS.mean>=0.6"]) == 3
    assert "is 'DSC' meant?" in capsys.readouterr().err


def test_config_then_zip_in_two_processes(task, command, predictions, tmp_path):
    config, first, second = (tmp_path / f"{name}.json" for name in ("config", "first", "second"))
    for file in (task.parent / "labelsTr").iterdir():  # a configuration demands ground truth for every pair
        (task.parent / "labelsTr" / file.name.replace("0001_", "0002_")).write_bytes(file.read_bytes())
    for file in (task.parent / "landmarksTr").iterdir():
        (task.parent / "landmarksTr" / file.name.replace("0001_", "0002_")).write_bytes(file.read_bytes())
    assert main(["config", "--dataset", str(task), "--output", str(config), "--masked"]) == 0
    with zipfile.ZipFile(tmp_path / "fields.zip", "w") as archive:
        for file in predictions.iterdir():
            archive.write(file, f"my fields/{file.name}")
    assert main([*command, "--output", str(first)]) == 0
    arguments = ["evaluate", "--config", str(config), "--data", str(task.parent), "--jobs", "2"]
    arguments += ["--predictions", str(tmp_path / "fields.zip"), "--output", str(second)]
    assert main(arguments) == 0
    assert json.loads(first.read_text()) == json.loads(second.read_text())


def test_missing_fields_exit_with_their_status(task, tmp_path, capsys):
    assert main(["evaluate", "--dataset", str(task), "--predictions", str(tmp_path)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "disp_0001_0001.nii.gz" in captured.err
    assert "disp_0002_0002.nii.gz" in captured.err


def test_data_elsewhere(task, predictions, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("json") / task.name
    elsewhere.write_text(task.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ["evaluate", "--dataset", str(elsewhere), "--predictions", str(predictions)]
    assert main(arguments) != 0
    assert main([*arguments, "--data", str(task.parent)]) == 0


def test_imports_neither_torch_nor_the_registration():
    code = (
        "import sys, regeval.__main__;"
        "heavy = {'torch', 'SimpleITK', 'pydantic', 'pandas', 'jinja2', 'matplotlib', 'dinoreg'};"
        "heavy &= set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("policy", ["identity", "worst"])
def test_missing_fields_are_scored_where_asked_for(task, command, predictions, tmp_path, capsys, policy):
    (predictions / "disp_0001_0001.nii.gz").unlink()
    assert main(command) == 3
    out = tmp_path / "metrics.json"
    assert main([*command, "--missing", policy, "--output", str(out), "--require", "missing.count==0"]) == 1
    captured = capsys.readouterr()
    assert f"scored as {policy}, in all means: 1 of 2 pairs" in captured.out
    assert "missing.count==0: it is 1" in captured.err
    content = json.loads(out.read_text(), parse_constant=refuse)
    assert list(content["missing"]["cases"]) == ["0001_0000<--0001_0001"]


def test_the_configuration_says_what_becomes_of_missing_fields(task, predictions, tmp_path):
    config = tmp_path / "config.json"
    words = ["config", "--dataset", str(task), "--output", str(config), "--labels", "--missing", "worst"]
    assert main([*words, "--landmarks"]) == 0
    (predictions / "disp_0001_0001.nii.gz").unlink()
    command = ["evaluate", "--config", str(config), "--predictions", str(predictions)]
    assert main(command) == 0
    assert main([*command, "--missing", "refuse"]) == 3
