"""The command: its table, its JSON, its errors, and what it does not import."""

import json
import subprocess
import sys

import numpy as np
import pytest

from regeval.cli import main
from regtask import Grid, write_field

SHAPE = (26, 30, 34)


@pytest.fixture
def predictions(task, shift_field):
    folder = task.parent / "predictions"
    folder.mkdir()
    for subject in ("0001", "0002"):
        write_field(folder / f"disp_{subject}_{subject}.nii.gz", shift_field, Grid(SHAPE, np.eye(4)))
    return folder


def test_table(task, predictions, capsys):
    assert main(["evaluate", "--dataset", str(task), "--predictions", str(predictions)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Toy, 2 pairs")
    assert lines[2].split() == ["pair", "Dice", "HD95", "mm", "TRE", "mm", "folds", "%", "sdLogJ"]
    row = next(line for line in lines if line.startswith("0001_0000<--0001_0001"))
    assert "0.000 ->  1.000" in row
    assert "10.90 ->   0.00" in row
    empty = next(line for line in lines if line.startswith("0002_0000<--0002_0001")).split()
    assert empty[1:4] == ["-", "-", "-"]
    assert lines[-1].startswith("mean")
    assert "0.000 ->  1.000" in lines[-1]
    assert len({len(line) for line in lines if "<--" in line or line.startswith("mean")}) == 1


def test_table_without_labels_and_landmarks(task, predictions, capsys):
    for kind in ("labels", "landmarks"):
        for file in (task.parent / f"{kind}Tr").iterdir():
            file.unlink()
    assert main(["evaluate", "--dataset", str(task), "--predictions", str(predictions)]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["pair", "folds", "%", "sdLogJ"]


def test_lost_organ_is_explained_and_json_is_strict(task, predictions, tmp_path, capsys):
    far = np.full((*SHAPE, 3), 100, np.float32)
    write_field(predictions / "disp_0001_0001.nii.gz", far, Grid(SHAPE, np.eye(4)))
    out = tmp_path / "scores.json"
    assert (
        main(["evaluate", "--dataset", str(task), "--predictions", str(predictions), "--json", str(out)]) == 0
    )
    assert "vanished" in capsys.readouterr().out

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    content = json.loads(out.read_text(encoding="utf-8"), parse_constant=refuse)
    after = content["cases"][0]["after"]
    assert after["hd95_mm"] == "inf"
    assert after["dice_per_label"] == {"1": 0.0, "2": 0.0, "7": 0.0, "9": None}
    assert content["cases"][1]["after"]["dice"] is None
    assert content["mean"]["before"]["tre_mm"] == pytest.approx(10.90, abs=5e-3)


def test_missing_fields_exit_with_their_status(task, tmp_path, capsys):
    assert main(["evaluate", "--dataset", str(task), "--predictions", str(tmp_path)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "disp_0001_0001.nii.gz" in captured.err
    assert "disp_0002_0002.nii.gz" in captured.err


def test_data_dir(task, predictions, tmp_path_factory, capsys):
    elsewhere = tmp_path_factory.mktemp("json") / task.name
    elsewhere.write_text(task.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ["evaluate", "--dataset", str(elsewhere), "--predictions", str(predictions)]
    assert main(arguments) != 0
    assert main([*arguments, "--data-dir", str(task.parent)]) == 0


def test_imports_neither_torch_nor_the_registration():
    code = (
        "import sys, regeval.__main__;"
        "heavy = {'torch', 'SimpleITK', 'pydantic', 'matplotlib', 'dinoreg'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
