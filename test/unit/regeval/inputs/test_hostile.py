"""Every hostile file gets one clear line, costs little memory, and hides no other fault."""

import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from hostile_files import BAD_FIELDS, PACKED, SHAPE, SOUND, nifti, npz, pickled_npz

from regeval.inputs.archive import Limits
from regeval.inputs.config import Config, Method
from regeval.inputs.submission import open_submission
from regeval.scoring import evaluate_submission
from regeval.scoring.evaluate_submission import evaluate
from regtask import DataError
from regtask.pair import Pair


def make_config(folder, count=1, shape=SHAPE):
    images = folder / "gt" / "imagesTr"
    pairs = [
        Pair.of(images / f"Knee_{number:04}_0000.nii.gz", images / f"Knee_{number:04}_0001.nii.gz")
        for number in range(1, count + 1)
    ]
    return Config("Knee", (Method("LogJacDetStd", "sdlogj"),), tuple(pairs), shape, masked=False)


def faults_of(folder, config, **options):
    with pytest.raises(DataError) as caught:
        evaluate(config, open_submission(folder), "strict", **options)
    return [str(fault) for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "submission"
    path.mkdir()
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".npz"])
def test_sound_fields_pass(folder, tmp_path, suffix):
    content = {".nii.gz": PACKED, ".nii": nifti(), ".npz": npz(any=SOUND.astype(np.float16))}[suffix]
    (folder / f"disp_0001_0001{suffix}").write_bytes(content)
    document = evaluate(make_config(tmp_path), open_submission(folder), "strict")
    assert document["aggregates"]["sdLogJ"]["mean"] > 0.1


@pytest.mark.parametrize("mode", ["strict", "l2r"])
@pytest.mark.parametrize(("suffix", "content", "message"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_bad_field(folder, tmp_path, suffix, content, message, mode):
    path = folder / f"disp_0001_0000_0001_0001{suffix}"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as caught:
        evaluate(make_config(tmp_path), open_submission(folder), mode)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(caught.value.faults) == 1
    text = str(caught.value.faults[0])
    assert "\n" not in text
    assert path.name in text
    assert peak < 10_000_000


def test_pickle_is_not_executed(folder, tmp_path):
    (folder / "disp_0001_0001.npz").write_bytes(pickled_npz(tmp_path / "pwned"))
    faults_of(folder, make_config(tmp_path))
    assert not (tmp_path / "pwned").exists()
    # The bomb is a bomb: numpy sets it off when it is allowed to.
    with pytest.raises(Exception, match=r".*"):
        np.load(folder / "disp_0001_0001.npz", allow_pickle=True)["arr_0"].shape[9]
    assert (tmp_path / "pwned").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_faults_at_once(folder, tmp_path, jobs):
    names = ["NaN", "asks for 108 GB", "npz of objects", "channel first"]
    for number, name in enumerate(names, 1):
        suffix, content, _ = BAD_FIELDS[name]
        (folder / f"disp_{number:04}_{number:04}{suffix}").write_bytes(content)
    (folder / "disp_0006_0006.nii.gz").write_bytes(PACKED)
    (folder / "disp_0007_0007.nii.gz").symlink_to("/etc/hostname")
    faults = faults_of(folder, make_config(tmp_path, 7), jobs=jobs)
    assert len(faults) == 7
    for text in ("not finite", "too early", "real numbers", "channel-first", "link out of the submission"):
        assert sum(text in fault for fault in faults) == 1
    assert sum("no displacement field" in fault for fault in faults) == 2  # 5, and 7 behind the link


def test_process_killed_for_its_memory(folder, tmp_path, monkeypatch):
    """As the system does it: the process is gone, and with it the pool."""

    class Pool:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool())
            return future

    monkeypatch.setattr(evaluate_submission, "ProcessPoolExecutor", Pool)
    for number in (1, 2):
        (folder / f"disp_{number:04}_{number:04}.nii.gz").write_bytes(PACKED)
    faults = faults_of(folder, make_config(tmp_path, 2), jobs=2)
    assert [fault.split(";")[0].split(" ->")[0] for fault in faults] == [
        f"scoring was killed: {number:04}_0000<--{number:04}_0001" for number in (1, 2)
    ]


def test_out_of_memory(folder, tmp_path, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    (folder / "disp_0001_0001.nii.gz").write_bytes(PACKED)
    monkeypatch.setattr(evaluate_submission, "measure", exhausted)
    assert "not enough memory" in faults_of(folder, make_config(tmp_path))[0]


def test_links_within_the_submission_and_hard_links_are_fine(folder, tmp_path):
    (folder / "disp_0001_0000_0001_0001.nii.gz").write_bytes(PACKED)
    (folder / "disp_0002_0002.nii.gz").symlink_to("disp_0001_0000_0001_0001.nii.gz")
    os.link(folder / "disp_0001_0000_0001_0001.nii.gz", folder / "disp_0003_0003.nii.gz")
    document = evaluate(make_config(tmp_path, 3), open_submission(folder), "strict")
    assert len(document["cases"]) == 3


def test_pipes_and_folders_in_place_of_files(folder, tmp_path):
    os.mkfifo(folder / "disp_0001_0001.nii.gz")  # opening it would wait for ever
    (folder / "disp_0002_0002.nii.gz").mkdir()
    faults = faults_of(folder, make_config(tmp_path, 2))
    assert len(faults) == 3
    assert "not a file" in faults[0]


def test_too_many_files(folder):
    for number in range(4):
        (folder / f"disp_{number:04}_0001.nii.gz").write_bytes(b"")
    assert "too many files" in str(open_submission(folder, Limits(files=3)).faults[0])
    assert open_submission(folder, Limits(files=4)).faults == ()


def test_file_too_large(folder):
    (folder / "disp_0001_0001.nii.gz").write_bytes(bytes(100))
    (fault,) = open_submission(folder, Limits(file_bytes=99)).faults
    assert fault.what == "file too large"


def test_no_submission(tmp_path):
    with pytest.raises(DataError, match="no submission"):
        open_submission(tmp_path / "nothing")
    (tmp_path / "field.nii.gz").write_bytes(PACKED)
    with pytest.raises(DataError, match="not a zip archive"):
        open_submission(tmp_path / "field.nii.gz")


def test_random_damage_never_escapes_as_another_exception(folder):
    """Any byte of the header or of a zip directory changed: a field or a DataError, nothing else."""
    rng = np.random.default_rng(5)
    refused = 0
    for suffix, sound, end in ((".nii", nifti(), 352), (".npz", npz(a=SOUND), None)):
        for file in folder.iterdir():
            file.unlink()
        for _ in range(150):
            content = bytearray(sound)
            for place in rng.integers(0, end or len(content), size=5):
                content[place] = rng.integers(256)
            (folder / f"disp_0001_0001{suffix}").write_bytes(content)
            try:
                open_submission(folder).read_field(f"disp_0001_0001{suffix}", SHAPE)
            except DataError:
                refused += 1
    assert 60 < refused < 300


def test_command_line_has_no_traceback(folder, tmp_path):
    (folder / "disp_0001_0001.nii").write_bytes(BAD_FIELDS["asks for 108 GB, not packed"][1])
    (tmp_path / "config.json").write_text(
        '{"task_name": "Knee", "evaluation_methods": [{"name": "J", "metric": "sdlogj"}],'
        '"expected_shape": [6, 5, 4, 3], "eval_pairs": [{"fixed": "./imagesTr/Knee_0001_0000.nii.gz",'
        '"moving": "./imagesTr/Knee_0001_0001.nii.gz"}]}'
    )
    command = [sys.executable, "-m", "regeval", "evaluate", "--config", str(tmp_path / "config.json")]
    done = subprocess.run(
        [*command, "--predictions", str(folder), "--output", str(tmp_path / "metrics.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not Path(tmp_path / "metrics.json").exists()
