"""What a run may leave behind: refused, resumed, interrupted at the worst moment, on a full disk."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread
from nibabel.nifti1 import Nifti1Image

from regtask import read_field

pytestmark = pytest.mark.integration

# The command in a process of its own, with a trap: ACTION runs when half of field number COUNT is written.
DRIVER = """
import io, os, signal, sys, time
from nibabel.nifti1 import Nifti1Image
from dinoreg.cli.main import main

# A parent that ignores it, such as a shell with this test in the background, hands that down.
signal.signal(signal.SIGINT, signal.default_int_handler)
whole, written = Nifti1Image.to_stream, []

def half(image, stream):
    written.append(image)
    held = io.BytesIO()
    whole(image, held)
    last = len(written) == {count}
    stream.write(held.getvalue()[: held.tell() // 2] if last else held.getvalue())
    if last:
        stream.flush()
        {action}

Nifti1Image.to_stream = half
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


def files_of(task, pair):
    fixed, moving = task.pairs[pair]
    masks = task.folder / "masksTr"
    return {
        "fixed": task.image(fixed),
        "moving": task.image(moving),
        "fixed_mask": masks / f"Tiny_{fixed}.nii.gz",
        "moving_mask": masks / f"Tiny_{moving}.nii.gz",
    }


def test_the_manifest_says_what_each_pair_was_made_from(tiny, quick_run):
    entries = json.loads((quick_run[0] / "manifest.json").read_text())["pairs"]
    for pair, case in enumerate(tiny.cases):
        expected = {
            role: hashlib.sha256(path.read_bytes()).hexdigest() for role, path in files_of(tiny, pair).items()
        }
        assert entries[case]["inputs"] == expected
        assert entries[case]["modalities"] == {"fixed": "MR", "moving": "MR"}


@pytest.mark.parametrize("role", ["fixed", "moving", "fixed_mask", "moving_mask"])
def test_resume_redoes_a_pair_whose_inputs_changed(damaged, quick, tmp_path, dinoreg, role):
    arguments = request(damaged, tmp_path / "out", quick)
    assert dinoreg(*arguments).code == 0
    before = snapshot(tmp_path / "out")
    path = files_of(damaged, 1)[role]
    image = nib.load(path)
    data = np.asanyarray(image.dataobj).copy()
    # One voxel; the file's size on disk and its grid say nothing.
    data[10, 11, 12] = 1 - data[10, 11, 12] if role.endswith("mask") else data[10, 11, 12] + 100
    nib.Nifti1Image(data, image.affine).to_filename(path)
    done = dinoreg(*arguments, "--resume")
    assert done.code == 0
    assert f"{damaged.cases[1]}: registered anew: {role} changed" in done.err
    assert done.err.count("complete already") == 2
    after = snapshot(tmp_path / "out")
    for pair, name in enumerate(damaged.fields):
        assert (after[name][0] == before[name][0]) == (pair != 1)
    entry = json.loads(after["manifest.json"][1])["pairs"][damaged.cases[1]]
    assert entry["inputs"][role] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert dinoreg(*arguments, "--resume").err.count("complete already") == 3


def test_resume_notices_a_mask_that_went_and_another_modality(damaged, quick, tmp_path, dinoreg):
    arguments = request(damaged, tmp_path / "out", quick)
    assert dinoreg(*arguments).code == 0
    files_of(damaged, 0)["moving_mask"].unlink()
    done = dinoreg(*arguments, "--resume")
    assert f"{damaged.cases[0]}: registered anew: moving_mask removed" in done.err
    content = json.loads(damaged.description.read_text())
    content["modality"]["0"] = "CT"
    damaged.description.write_text(json.dumps(content))
    done = dinoreg(*arguments, "--resume")
    assert "modality of fixed changed" in done.err


def test_resume_redoes_what_does_not_say_its_inputs(tiny, quick, finished, dinoreg):
    manifest = json.loads((finished / "manifest.json").read_text())
    del manifest["pairs"][tiny.cases[2]]["inputs"]
    (finished / "manifest.json").write_text(json.dumps(manifest))
    done = dinoreg(*request(tiny, finished, quick, "--resume"))
    assert f"{tiny.cases[2]}: registered anew: its inputs were not recorded" in done.err
    assert done.err.count("complete already") == 2


def test_resume_keeps_a_field_whose_image_is_gone(damaged, quick, tmp_path, dinoreg):
    """With --on-failure fallback the pair would be redone, and get a safe field instead of a good one."""
    arguments = request(damaged, tmp_path / "out", quick, "--on-failure", "fallback")
    assert dinoreg(*arguments).code == 0
    before = snapshot(tmp_path / "out")
    damaged.image(damaged.pairs[1][1]).unlink()
    done = dinoreg(*arguments, "--resume")
    assert done.err.count("complete already") == 3
    after = snapshot(tmp_path / "out")
    assert {name: after[name] for name in damaged.fields} == {name: before[name] for name in damaged.fields}


def test_resume_draws_the_pictures_that_are_missing(tiny, quick, finished, dinoreg):
    before = snapshot(finished)
    done = dinoreg(*request(tiny, finished, quick, "--resume", "--pictures"))
    assert done.code == 0
    assert done.err.count("complete already") == 3
    assert done.err.count("picture drawn from the written field") == 3
    pictures = {f"{fixed}_{moving}.png" for fixed, moving in tiny.pairs}
    drawn = snapshot(finished / "pictures")
    assert set(drawn) == pictures
    one = f"{tiny.pairs[0][0]}_{tiny.pairs[0][1]}.png"
    (finished / "pictures" / one).unlink()
    done = dinoreg(*request(tiny, finished, quick, "--resume", "--pictures"))
    assert done.err.count("picture drawn from the written field") == 1
    again = snapshot(finished / "pictures")
    assert again[one][1] == drawn[one][1]
    assert {name: again[name] for name in pictures - {one}} == {n: drawn[n] for n in pictures - {one}}
    assert {name: snapshot(finished)[name] for name in tiny.fields} == {n: before[n] for n in tiny.fields}


def test_resume_draws_what_the_run_would_have_drawn(tiny, quick, finished, tmp_path, dinoreg):
    assert dinoreg(*request(tiny, finished, quick, "--resume", "--pictures")).code == 0
    assert dinoreg(*request(tiny, tmp_path / "at once", quick, "--pictures")).code == 0
    name = f"{tiny.pairs[0][0]}_{tiny.pairs[0][1]}.png"
    late, early = (imread(folder / "pictures" / name) for folder in (finished, tmp_path / "at once"))
    np.testing.assert_array_equal(late, early)


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
    whole_write, whole_replace, seen = Nifti1Image.to_stream, Path.replace, []

    def write(image, stream):
        seen.append(image)
        whole_write(image, stream)
        if len(seen) == 2:
            raise OSError(number, os.strerror(number))

    def replace(path, target):
        if str(target).endswith(".nii.gz"):
            seen.append(path)
            if len(seen) == 2:
                raise OSError(number, os.strerror(number))
        return whole_replace(path, target)

    if place == "write":
        monkeypatch.setattr(Nifti1Image, "to_stream", write)
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
