"""What a run may leave behind: refused, resumed, interrupted at the worst moment, on a full disk."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from regtask import read_field

pytestmark = pytest.mark.integration

# The command in a process of its own, with a trap: ACTION runs when half of field number COUNT is written.
DRIVER = """
import os, signal, sys, time
from nibabel.nifti1 import Nifti1Image
from dinoreg.cli.main import main

whole, written = Nifti1Image.to_filename, []

def half(image, path, *more):
    whole(image, path, *more)
    written.append(path)
    if len(written) == {count}:
        os.truncate(path, os.path.getsize(path) // 2)
        {action}

Nifti1Image.to_filename = half
sys.exit(main(sys.argv[1:]))
"""


def snapshot(folder):
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir() if path.is_file()
    }


def request(task, output, config, *more):
    return ["run", "--dataset", task.description, "--output", output, "--config", config, *more]


def child(code, arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, process):
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no first field within two minutes"
        time.sleep(0.005)


def assert_same_fields(task, output, expected):
    for name in task.fields:
        np.testing.assert_array_equal(read_field(output / name), read_field(expected / name))


@pytest.fixture
def finished(tiny, quick, tmp_path, dinoreg) -> Path:
    output = tmp_path / "finished"
    assert dinoreg(*request(tiny, output, quick)).code == 0
    return output


@pytest.mark.parametrize("kept", ["all", "manifest.json", "disp_0003_0000_0004_0000.nii.gz"])
def test_existing_output_is_refused(tiny, quick, finished, dinoreg, kept):
    for path in finished.iterdir():
        if kept not in ("all", path.name):
            path.unlink()
    before = snapshot(finished)
    done = dinoreg(*request(tiny, finished, quick))
    assert done.code == 4
    assert "output exists already" in done.err
    assert "--resume" in done.err
    assert (kept if kept != "all" else "manifest.json") in done.err
    assert snapshot(finished) == before


def test_files_of_others_are_no_hindrance(tiny, quick, tmp_path, dinoreg):
    (tmp_path / "notes.txt").write_text("mine")
    assert dinoreg(*request(tiny, tmp_path, quick)).code == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_resume_skips_what_is_complete(tiny, quick, finished, dinoreg):
    before = snapshot(finished)
    done = dinoreg(*request(tiny, finished, quick, "--resume"))
    assert done.code == 0
    assert done.err.count("complete already") == 3
    after = snapshot(finished)
    assert {name: after[name] for name in tiny.fields} == {name: before[name] for name in tiny.fields}
    pairs = [json.loads(content["manifest.json"][1])["pairs"] for content in (before, after)]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize("harm", ["truncated", "removed"])
def test_resume_redoes_a_damaged_field(tiny, quick, quick_run, finished, dinoreg, harm):
    path = finished / tiny.fields[1]
    if harm == "removed":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size // 2)
    before = snapshot(finished)
    done = dinoreg(*request(tiny, finished, quick, "--resume"))
    assert done.code == 0
    assert done.err.count("complete already") == 2
    after = snapshot(finished)
    assert all(after[tiny.fields[pair]] == before[tiny.fields[pair]] for pair in (0, 2))
    assert_same_fields(tiny, finished, quick_run[0])


def test_resume_redoes_everything_when_the_configuration_changed(tiny, quick, finished, dinoreg):
    before = json.loads((finished / "manifest.json").read_text())
    old = [read_field(finished / name) for name in tiny.fields]
    done = dinoreg(*request(tiny, finished, quick, "--set", "adam.0.iterations=7", "--resume"))
    assert done.code == 0
    assert "complete already" not in done.err
    after = json.loads((finished / "manifest.json").read_text())
    assert after["config_hash"] != before["config_hash"]
    for name, case, field in zip(tiny.fields, tiny.cases, old, strict=True):
        assert not np.array_equal(read_field(finished / name), field)
        assert after["pairs"][case]["config_hash"] == after["config_hash"]


def test_resume_into_an_empty_folder_is_a_run(tiny, quick, quick_run, tmp_path, dinoreg):
    assert dinoreg(*request(tiny, tmp_path / "new", quick, "--resume")).code == 0
    assert_same_fields(tiny, tmp_path / "new", quick_run[0])


def test_resume_with_a_damaged_manifest_is_refused(tiny, quick, finished, dinoreg):
    os.truncate(finished / "manifest.json", 40)
    before = snapshot(finished)
    done = dinoreg(*request(tiny, finished, quick, "--resume"))
    assert done.code == 4
    assert "manifest not readable" in done.err
    assert snapshot(finished) == before


def test_kill_while_writing_then_resume(tiny, quick, quick_run, tmp_path, dinoreg):
    output = tmp_path / "out"
    code = DRIVER.format(count=2, action="os.kill(os.getpid(), signal.SIGKILL)")
    process = child(code, request(tiny, output, quick))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in output.glob("disp_*")] == tiny.fields[:1]
    before = snapshot(output)
    done = dinoreg(*request(tiny, output, quick, "--resume"))
    assert done.code == 0
    assert done.err.count("complete already") == 1
    assert snapshot(output)[tiny.fields[0]] == before[tiny.fields[0]]
    assert_same_fields(tiny, output, quick_run[0])


def test_kill_while_computing_then_resume(tiny, quick, tmp_path, dinoreg):
    more = ("--set", "adam.0.iterations=300")  # the second pair lasts longer than the wait
    output, expected = tmp_path / "out", tmp_path / "expected"
    process = child("from dinoreg.cli.main import main; main()", request(tiny, output, quick, *more))
    wait_for(output / tiny.fields[0], process)
    process.kill()
    process.communicate()
    assert [path.name for path in output.glob("disp_*")] == tiny.fields[:1]
    assert dinoreg(*request(tiny, output, quick, *more, "--resume")).code == 0
    assert dinoreg(*request(tiny, expected, quick, *more)).code == 0
    assert_same_fields(tiny, output, expected)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_while_writing(tiny, quick, tmp_path, number, code):
    driver = DRIVER.format(count=2, action=f"os.kill(os.getpid(), {int(number)}); time.sleep(60)")
    process = child(driver, request(tiny, tmp_path, quick))
    err = process.communicate(timeout=120)[1]
    assert process.returncode == code
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == [tiny.fields[0], "manifest.json"]
    assert read_field(tmp_path / tiny.fields[0], tiny.grid.shape).any()
    assert list(json.loads((tmp_path / "manifest.json").read_text())["pairs"]) == tiny.cases[:1]


def test_sigterm_while_computing(tiny, quick, tmp_path):
    arguments = request(tiny, tmp_path, quick, "--set", "adam.0.iterations=300", "--on-failure", "fallback")
    process = child("import sys; from dinoreg.cli.main import main; sys.exit(main())", arguments)
    wait_for(tmp_path / tiny.fields[0], process)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert sorted(path.name for path in tmp_path.iterdir()) in (
        [tiny.fields[0], "manifest.json"],
        [*tiny.fields[:2], "manifest.json"],
    )


def full_at(monkeypatch, number, place):
    """Let the disk be full when the second field is written, or renamed."""
    whole_write, whole_replace, seen = Nifti1Image.to_filename, Path.replace, []

    def write(image, path, *more):
        seen.append(path)
        whole_write(image, path, *more)
        if len(seen) == 2:
            os.truncate(path, path.stat().st_size // 2)
            raise OSError(number, os.strerror(number))

    def replace(path, target):
        if str(target).endswith(".nii.gz"):
            seen.append(path)
            if len(seen) == 2:
                raise OSError(number, os.strerror(number))
        return whole_replace(path, target)

    if place == "write":
        monkeypatch.setattr(Nifti1Image, "to_filename", write)
    else:
        monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("policy", ["raise", "fallback"])
@pytest.mark.parametrize("place", ["write", "rename"])
@pytest.mark.parametrize(
    "number",
    [
        errno.ENOSPC,
        errno.EIO,
    ],
    ids=errno.errorcode.get,
)
def test_disk_fails(tiny, quick, quick_run, tmp_path, dinoreg, monkeypatch, number, place, policy):
    full_at(monkeypatch, number, place)
    done = dinoreg(*request(tiny, tmp_path, quick, "--on-failure", policy))
    assert done.code == 4
    assert os.strerror(number) in done.err
    assert tiny.fields[1] in done.err
    assert "Traceback" not in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [tiny.fields[0], "manifest.json"]
    np.testing.assert_array_equal(
        read_field(tmp_path / tiny.fields[0]), read_field(quick_run[0] / tiny.fields[0])
    )
    entries = json.loads((tmp_path / "manifest.json").read_text())["pairs"]
    assert {case: entry["status"] for case, entry in entries.items()} == {tiny.cases[0]: "ok"}
    monkeypatch.undo()
    assert dinoreg(*request(tiny, tmp_path, quick, "--resume")).code == 0
    assert_same_fields(tiny, tmp_path, quick_run[0])


def test_full_disk_at_the_manifest(tiny, quick, tmp_path, dinoreg, monkeypatch):
    whole = Path.write_text

    def write_text(path, *more, **settings):
        if path.name.endswith("manifest.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, *more, **settings)

    monkeypatch.setattr(Path, "write_text", write_text)
    done = dinoreg(*request(tiny, tmp_path, quick))
    assert done.code == 4
    assert "manifest.json" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tiny, quick, tmp_path, dinoreg):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    for output in (folder, folder / "below"):
        done = dinoreg(*request(tiny, output, quick))
        assert done.code == 4
        assert str(folder) in done.err
        assert "Traceback" not in done.err
    assert list(folder.iterdir()) == []


def test_file_where_the_folder_should_be(tiny, quick, tmp_path, dinoreg):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for output in (taken, taken / "below"):
        done = dinoreg(*request(tiny, output, quick))
        assert done.code == 4
        assert "output folder not usable" in done.err
    assert taken.read_text() == "mine"


def test_picture_that_fails_does_not_cost_the_field(tiny, quick, quick_run, tmp_path, dinoreg, monkeypatch):
    class NoPictures:
        @staticmethod
        def draw_pictures(*arguments, **settings):
            raise RuntimeError("no font")

    monkeypatch.setitem(sys.modules, "dinoreg.task.pictures", NoPictures)
    arguments = request(tiny, tmp_path, quick, "--pictures", "--on-failure", "fallback")
    assert dinoreg(*arguments).code == 0
    assert_same_fields(tiny, tmp_path, quick_run[0])
