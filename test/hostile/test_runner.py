"""The campaign notices what it is there to notice."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from campaign import runner
from campaign.case import Case, Play


def says_traceback(arguments):
    raise ZeroDivisionError


def sleeps(arguments):
    time.sleep(60)


def takes_memory(arguments):
    np.ones(100_000_000)  # 763 MiB
    return 3


def overwrites(arguments):
    Path("metrics.json").write_text("half")
    return 3


def leaves_temporary(arguments):
    tempfile.mkdtemp()
    return 3


def escapes(arguments):
    sys.stderr.write("\x1b[31mred\n")
    return 3


def pwns(arguments):
    Path("pwned").touch()
    return 3


def quiet(code):
    return lambda arguments: code


def speaks(arguments):
    sys.stderr.write("regeval: not a NIfTI file\n")
    return 3


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Run one case of a program that misbehaves; returns its problems."""

    def run(program, **options):
        monkeypatch.setattr(runner, "programs", lambda: {"regeval": program})
        template, work = tmp_path / "sound", tmp_path / "work"
        template.mkdir()
        work.mkdir()
        (template / "x").touch()

        def make(folder):
            (folder / "metrics.json").write_text("whole")
            return []

        case = Case("x", "regeval", make, kept=("metrics.json",), **options)
        (outcome,) = runner.run_cases([case], template, work, 1)
        return outcome.problems

    return run


BAD = {
    "traceback": (says_traceback, "Traceback on stderr"),
    "memory": (takes_memory, "takes "),
    "lost": (overwrites, "lost or changed"),
    "temporary": (leaves_temporary, "left in the temporary folder"),
    "escape": (escapes, "control character '\\x1b'"),
    "pwned": (pwns, "ran a program"),
    "undocumented": (quiet(9), "exit code 9 is not documented"),
    "wrong": (quiet(0), "exit code 0 instead of [3]"),
    "silent": (quiet(3), "fails without a word"),
}


@pytest.mark.parametrize(("program", "problem"), BAD.values(), ids=BAD)
def test_what_is_noticed(judge, program, problem):
    assert any(found.startswith(problem) for found in judge(program))


def test_a_hang_is_noticed(judge, monkeypatch):
    monkeypatch.setattr(runner, "LONGEST_S", 0.5)
    assert judge(sleeps)[0].startswith("hangs")


def test_what_is_right_is_right(judge):
    assert judge(speaks, says="not a NIfTI") == []


def test_the_wrong_message_is_noticed(judge):
    assert judge(speaks, says="not a zip")[0].startswith("does not say 'not a zip'")


def test_a_play_says_its_problems(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "programs", dict)
    for name in ("sound", "work"):
        (tmp_path / name).mkdir()
    plays = [Play("a", lambda folder: ["the field is lost"]), Play("b", lambda folder: [])]
    outcomes = list(runner.run_cases(plays, tmp_path / "sound", tmp_path / "work", 2))
    assert {one.name: one.problems for one in outcomes} == {"a": ["the field is lost"], "b": []}
