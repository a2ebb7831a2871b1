"""Tar archives from strangers, made by hand."""

import io
import tarfile

import pytest

from regeval.inputs.archive import Limits
from regeval.inputs.tar_archive import untarred
from regtask.errors import DataError


@pytest.fixture
def pack(tmp_path):
    """Pack members (name, content, or a TarInfo) to a .tar.gz."""

    def call(*members):
        path = tmp_path / "fields.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    archive.addfile(member)
                    continue
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    return call


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_plain_files_are_unpacked_and_removed(pack):
    with untarred(pack(("a/b.nii.gz", b"1"), special("d", tarfile.DIRTYPE), ("c", b"22"))) as (
        folder,
        faults,
    ):
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
        assert (found, faults) == ({"a/b.nii.gz": b"1"}, ())
        assert (folder / "c").read_bytes() == b"22"
    assert not folder.exists()


LEFT_OUT = {
    "above": (("../a", b"1"), "path leaves the archive"),
    "absolute": (("/tmp/a", b"1"), "path leaves the archive"),
    "windows": (("..\\a", b"1"), "path leaves the archive"),
    "link": (special("a", tarfile.SYMTYPE, "/etc/passwd"), "not a file"),
    "hard link": (special("a", tarfile.LNKTYPE, "good"), "not a file"),
    "pipe": (special("a", tarfile.FIFOTYPE), "not a file"),
    "twice": (("good", b"2"), "name used twice"),
    "file as folder": (("good/a", b"2"), "a file where a folder is"),
    "large": (("a", b"x" * 101), "file too large"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_is_left_out(kind, pack, tmp_path):
    member, what = LEFT_OUT[kind]
    before = {path for path in tmp_path.rglob("*")}
    with untarred(pack(("good", b"1"), member), Limits(file_bytes=100)) as (folder, faults):
        assert [fault.what for fault in faults] == [what]
        assert [path.name for path in folder.rglob("*")] == ["good"]
        assert (folder / "good").read_bytes() == b"1"
    assert {path for path in tmp_path.rglob("*")} - before == {tmp_path / "fields.tar.gz"}


def test_limits(pack):
    many = [(f"f{number}", b"1") for number in range(4)]
    for limits, what in (
        (Limits(files=3), "too many files"),
        (Limits(total_bytes=3), "archive too large"),
    ):
        with pytest.raises(DataError, match=what), untarred(pack(*many), limits):
            pass
    bomb = pack(*((f"f{number}", bytes(1 << 20)) for number in range(3)))
    with pytest.raises(DataError, match="archive too large"), untarred(bomb, Limits(ratio=10)):
        pass


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08" + bytes(30)])
def test_what_is_no_archive(content, tmp_path):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="tar archive"), untarred(path):
        pass


def test_a_truncated_archive(pack):
    path = pack(("a", bytes(range(256)) * 400))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged tar archive"), untarred(path):
        pass
