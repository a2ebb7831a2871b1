"""Kernels compiled in advance: found, used without compiling, and left aside where they do not fit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dinoreg.space.kernels import cache as kernel_cache
from dinoreg.space.kernels.cache import FOLDER_VARIABLE, TARGET, prepare_kernels, runs_here

BUILD = "import pathlib; from dinoreg.space.kernels import cache as k; k.build_kernels(pathlib.Path({!r}))"
COMPILE = "import json; from dinoreg.space.kernels import cache as k; print(json.dumps(k.compile_kernels()))"
COMPILE_ONE = """
import numpy as np
from dinoreg.space.kernels.candidates import fill_unknown
known = np.ones((1, 1, 1), np.float32)
fill_unknown(np.ones((1, 1, 1, 1, 1, 1), np.float32), known, known, np.float32(1))
print(sum(fill_unknown.stats.cache_misses.values()))
"""
VARIABLES = (FOLDER_VARIABLE, "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")

needs_target = pytest.mark.skipif(not runs_here(), reason=f"no {TARGET} machine")


def in_its_own_process(script, **environment):
    """Run a script with none of the variables but those given; what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    call = [sys.executable, "-c", script]
    return subprocess.run(call, stdout=subprocess.PIPE, env=inherited | environment, check=True).stdout


def compiled(**environment):
    """Call the kernels; how often each had to be compiled."""
    return json.loads(in_its_own_process(COMPILE, **environment))


@needs_target
def test_nothing_is_compiled_where_the_kernels_are_at_hand(tmp_path):
    ready, cache = tmp_path / "ready", tmp_path / "cache"
    in_its_own_process(BUILD.format(str(ready)))
    counts = compiled(NUMBA_CACHE_DIR=str(cache), **{FOLDER_VARIABLE: str(ready)})
    assert set(counts) == {
        "sample",
        "inverse",
        "sample_position_gradient",
        "squared_difference",
        "joint_histogram",
        "score_gradient",
        "filter_lines",
        "filter_last_axis",
        "determinant_rows",
        "diffusion_rows",
        "adam_numbers",
        "squared_distances",
        "known_costs",
        "fill_unknown",
        "cheapest",
        "similarity_rows",
    }
    assert not any(counts.values())


@needs_target
def test_with_a_folder_that_holds_nothing_a_kernel_is_compiled(tmp_path):
    """One of all, since compiling takes its time."""
    nothing = {FOLDER_VARIABLE: str(tmp_path / "none"), "NUMBA_CACHE_DIR": str(tmp_path / "other")}
    assert int(in_its_own_process(COMPILE_ONE, **nothing)) > 0


@pytest.fixture
def variables(monkeypatch, tmp_path):
    """A folder of kernels and an absent cache, named by the environment; what a call adds is undone."""
    ready = tmp_path / "ready"
    (ready / "space").mkdir(parents=True)
    (ready / "space" / "sample.nbi").write_bytes(b"index")
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv(FOLDER_VARIABLE, str(ready))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "far" / "cache"))
    monkeypatch.setattr(kernel_cache, "runs_here", lambda: True)
    return Path(os.environ["NUMBA_CACHE_DIR"])


def test_they_are_copied_for_the_user_alone_and_make_the_target(variables):
    prepare_kernels()
    assert (variables / "space" / "sample.nbi").read_bytes() == b"index"
    assert variables.stat().st_mode & 0o777 == 0o700
    assert list(variables.parent.iterdir()) == [variables]
    assert os.environ["NUMBA_CPU_NAME"] == TARGET


def test_a_cache_that_is_there_stays(variables):
    (variables / "space").mkdir(parents=True)
    prepare_kernels()
    assert list(variables.rglob("*.nbi")) == []


def test_a_machine_that_cannot_run_them_compiles_for_itself(variables, monkeypatch):
    monkeypatch.setattr(kernel_cache, "runs_here", lambda: False)
    prepare_kernels()
    assert not variables.exists()
    assert "NUMBA_CPU_NAME" not in os.environ


def test_a_target_that_the_user_names_stands(variables, monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    prepare_kernels()
    assert not variables.exists()
    assert os.environ["NUMBA_CPU_NAME"] == "generic"


def test_no_room_for_the_copy_is_no_failure(variables):
    variables.parent.write_text("a file where a folder belongs")
    prepare_kernels()
