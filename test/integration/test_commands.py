"""The small verbs, the container's entry, and what loading them costs."""

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

from dinoreg.settings.load import config_hash, load_config, load_preset
from regtask import read_field

pytestmark = pytest.mark.integration

PRESETS = sorted(path.stem for path in (resources.files("dinoreg") / "presets").glob("*.toml"))


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def test_every_preset_is_listed_with_its_description(dinoreg):
    assert {"convexadam", "identity", "mind", "start-only"} <= set(PRESETS)
    done = dinoreg("presets")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == PRESETS
    for name, line in zip(PRESETS, lines, strict=True):
        description = line.removeprefix(name).strip()
        assert description == load_preset(name).description
        assert len(description) > 20


@pytest.mark.parametrize("name", PRESETS)
def test_shown_preset_passes_the_check(tmp_path, dinoreg, name):
    shown = dinoreg("config", "show", name)
    assert (shown.code, shown.err) == (0, "")
    path = tmp_path / "shown.toml"
    path.write_text(shown.out, encoding="utf-8")
    checked = dinoreg("config", "check", path)
    assert checked.code == 0, checked.err
    preset = load_preset(name)
    assert checked.out == f"{path}: valid, hash {config_hash(preset)}\n"
    assert load_config(path) == preset
    assert "\nct_level_hu = " in shown.out  # every key, not only those of the preset's file


def test_show_of_an_unknown_preset(dinoreg):
    done = dinoreg("config", "show", "convexadm")
    assert done.code == 2
    assert "did you mean convexadam" in done.err


def test_check_lists_all_faults(tmp_path, dinoreg):
    path = tmp_path / "faulty.toml"
    path.write_text(
        "masket = true\n"
        "voxel_lengths = 1\n"
        "[features]\ncell_mm = -4.0\n"
        '[[start]]\nkind = "guess"\n'
        "[[adam]]\nlcc_window = 4\n"
        '[[adam]]\niterations = "many"\n'
    )
    done = dinoreg("config", "check", path)
    assert done.code == 2
    assert "6 faults" in done.err
    for word in (
        *("masket", "did you mean masked?", "voxel_lengths", "features.cell_mm", "greater than 0", "-4.0"),
        *(
            "start.0",
            "'centres', 'slices', 'affine'",
            "lcc_window must be odd",
            "adam.1.iterations",
            "'many'",
        ),
    ):
        assert word in done.err
    assert done.err.count(str(path)) == 6


def test_check_of_a_file_that_is_no_toml(tmp_path, dinoreg):
    path = tmp_path / "broken.toml"
    path.write_text("[features\n")
    done = dinoreg("config", "check", path)
    assert done.code == 2
    assert "not a TOML file" in done.err
    assert "line 1" in done.err


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ([], ["run", "warp", "presets", "config", "phantom", "--version", "exit codes"]),
        (
            ["run"],
            [
                *("--dataset", "--output", "--data-dir", "--split", "--preset", "--config", "--set"),
                *("--device", "--on-failure", "--resume", "--pictures", "exit codes"),
            ],
        ),
        (
            ["warp"],
            [
                *("--field", "--image", "--labels", "--landmarks", "--output", "--moving", "--learn2reg"),
                *("--space {voxel,lps,ras}", "--dtype {same,float32}", "one rule, whatever the shapes"),
            ],
        ),
        (["presets"], []),
        (["config"], ["show", "check"]),
        (["config", "show"], ["name"]),
        (["config", "check"], ["file"]),
        (["phantom"], ["--output", "--size", "--seed"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_help(dinoreg, verb, options):
    done = dinoreg(*verb, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(" ".join(["usage: dinoreg", *verb]))
    for option in options:
        assert option in done.out


def test_help_of_the_container(container):
    done = container("--help")
    assert done.code == 0
    for option in ("--dataset", "--preset", "--on-failure", "--resume", "exit codes"):
        assert option in done.out


def test_version(dinoreg):
    assert dinoreg("--version").out.strip() == metadata.version("dinoreg")


def test_no_verb(dinoreg):
    done = dinoreg()
    assert done.code == 2
    assert "VERB" in done.err


def test_installed_command():
    """The entry point of the package, not only the function behind it."""
    command = shutil.which("dinoreg", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the package is not installed with its scripts")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, metadata.version("dinoreg"))


def test_regtask_is_silent_and_light():
    done = python(
        "import sys, regtask; heavy = {'torch', 'numba', 'pydantic', 'matplotlib', 'dinoreg'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["--version"], ["presets"], ["config", "show", "mind"]],
    ids=" ".join,
)
def test_small_verbs_do_not_load_torch(arguments):
    done = python(
        "import sys\nfrom dinoreg.cli.main import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "print('loaded:', {'torch', 'numba', 'matplotlib'} & set(sys.modules))"
    )
    assert done.stdout.endswith("loaded: set()\n")
    assert done.stderr == ""


def test_import_of_the_command_changes_nothing():
    """Handlers and signals belong to the edges; an import leaves both alone."""
    done = python(
        "import logging, signal, dinoreg, dinoreg.cli.main, dinoreg.task.run_task\n"
        "print(logging.getLogger().handlers, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    )
    assert (done.stdout, done.stderr) == ("[] True\n", "")


def test_container_finds_the_one_description(tiny, tmp_path, container):
    done = container("--input", tiny.folder, "--output", tmp_path, "--preset", "identity")
    assert done.code == 0, done.err
    assert [entry.name for entry in sorted(tmp_path.glob("disp_*"))] == tiny.fields


def test_container_without_description(tmp_path, container):
    done = container("--input", tmp_path, "--output", tmp_path / "out")
    assert done.code == 3
    assert re.search(r"one dataset JSON is needed: .*got none -> mount the task folder", done.err)
    assert not (tmp_path / "out").exists()


def test_container_with_two_descriptions(damaged, tmp_path, container):
    other = damaged.folder / "Other_dataset.json"
    other.write_bytes(damaged.description.read_bytes())
    arguments = ("--input", damaged.folder, "--output", tmp_path / "out", "--preset", "identity")
    done = container(*arguments)
    assert done.code == 3
    assert "got Other_dataset.json, Tiny_dataset.json" in done.err
    assert "--dataset" in done.err
    assert not (tmp_path / "out").exists()
    assert container(*arguments, "--dataset", other).code == 0


def test_container_survives_a_bad_pair(damaged, quick, tmp_path, container):
    damaged.image("0002_0000").unlink()
    done = container("--input", damaged.folder, "--output", tmp_path / "out", "--config", quick)
    assert done.code == 0
    entries = json.loads((tmp_path / "out" / "manifest.json").read_text())["pairs"]
    assert [entries[case]["status"] for case in damaged.cases] == ["ok", "fallback", "ok"]
    assert not read_field(tmp_path / "out" / damaged.fields[1]).any()
    strict = ("--output", tmp_path / "strict", "--config", quick, "--on-failure", "raise")
    assert container("--input", damaged.folder, *strict).code == 3
