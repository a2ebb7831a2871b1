"""`dinoreg tune` on the tiny task."""

import shutil

import pytest

from dinoreg.settings.load import load_config
from dinoreg.study.ablation import TABLE_NAME

pytestmark = pytest.mark.integration


def test_tuned_resumed_and_used(tiny, quick, tmp_path, dinoreg):
    output = tmp_path / "tuned.toml"
    command = ("tune", "--dataset", tiny.description, "--output", output, "--config", quick, "--trials", "3")
    done = dinoreg(*command, "--device", "cpu")
    assert done.code == 0, done.err
    work = tmp_path / "tuned.toml.trials"
    assert {path.name for path in work.iterdir() if path.is_dir()} == {"base", "t001", "t002"}
    assert not list(work.glob("*/disp_*"))
    assert "| base | " in done.out
    assert "Left out one person at a time" in done.out
    config = load_config(output)
    assert config.name.endswith("-Tiny")
    assert "best of 3 by dinoreg tune on 3 pairs" in config.description

    scores = {path: path.stat().st_mtime_ns for path in work.glob("*/scores.json")}
    again = dinoreg(*command, "--device", "cpu")
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in work.glob("*/scores.json")} == scores
    assert (work / f"{TABLE_NAME}.csv").is_file()
    used = dinoreg("run", "--dataset", tiny.description, "--output", tmp_path / "out", "--config", output)
    assert used.code == 0, used.err


def test_a_task_without_truth_is_refused(tiny, quick, tmp_path, dinoreg):
    shutil.copytree(tiny.folder, tmp_path / "task", ignore=shutil.ignore_patterns("labelsTr", "landmarksTr"))
    output = tmp_path / "tuned.toml"
    description = tmp_path / "task" / tiny.description.name
    done = dinoreg("tune", "--dataset", description, "--output", output, "--config", quick)
    assert done.code == 3
    assert "nothing to tune by" in done.err
    assert not output.exists()
