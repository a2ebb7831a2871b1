import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from regtask import OutputError, atomic_path, atomic_write_text, write_field, write_landmarks, write_volume
from regtask.atomic import remove_leftovers


def test_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "case 1.5 mm.nii.gz"
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_file_is_not_taken_for_a_result(tmp_path):
    with atomic_path(tmp_path / "disp_0001.nii.gz") as temporary:
        temporary.write_bytes(b"abc")
        assert list(tmp_path.glob("disp_*")) == []


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_interrupted_block_leaves_nothing_and_keeps_the_old_file(tmp_path, interruption):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(interruption), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise interruption
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_text_is_utf8_and_replaces(tmp_path):
    path = tmp_path / "a.json"
    atomic_write_text(path, "a long first version")
    atomic_write_text(path, "µ")
    assert path.read_bytes() == "µ".encode()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_failing_disk_says_what_to_do(tmp_path, monkeypatch, number, remedy):
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=remedy) as caught:
        atomic_write_text(tmp_path / "a.txt", "x")
    assert caught.value.exit_code == 4
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_every_writer_survives_a_full_disk(tmp_path, monkeypatch, grid, values):
    def fail(_self: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    vectors = np.zeros((*grid.shape, 3), np.float32)
    writers = [
        lambda: write_volume(tmp_path / "a.nii.gz", values, grid),
        lambda: write_field(tmp_path / "b.nii.gz", vectors, grid),
        lambda: write_landmarks(tmp_path / "c.csv", [[1, 2, 3]]),
    ]
    for write in writers:
        with pytest.raises(OutputError, match="No space left"):
            write()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    real = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    atomic_write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"


def test_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="create the folder first"):
        atomic_write_text(tmp_path / "absent" / "a.txt", "x")


def test_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        atomic_write_text(tmp_path / "file" / "a.txt", "x")


def test_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match="a folder of this name"):
        atomic_write_text(tmp_path / "a.txt", "x")


def test_other_faults_of_the_disk_are_output_errors_too(tmp_path):
    with pytest.raises(OutputError, match="Input/output"), atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.EIO, "Input/output error")


def test_leftovers_of_a_killed_process_go_and_nothing_else(tmp_path):
    kept = [".hidden", ".0123456.short", "disp_1_2.nii.gz", ".01234567", ".0123456g.nii.gz"]
    for name in [*kept, ".0123abcd.disp_1_2.nii.gz", ".ffffffff.manifest.json"]:
        (tmp_path / name).write_text("x")
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
