"""Zip archives: nothing is written where the archive says, nothing unpacks to more than it claims."""

import io
import stat
import struct
import warnings
import zipfile

import pytest
from hostile_files import PACKED, nifti

from regeval.inputs.archive import Limits
from regeval.inputs.submission import open_submission
from regtask import DataError, OutputError

NAME = "disp_0001_0001.nii.gz"


def archive_of(path, *members, method=zipfile.ZIP_STORED):
    """Write (name or ZipInfo, content) pairs to a zip archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of repeated names
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return path


def patched(path, old, new, count=-1):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "submission.zip"


@pytest.mark.parametrize("folder", ["", "team a/", "deep/er/"])
def test_sound_archive(path, tmp_path, folder):
    litter = (("__MACOSX/._x", b""), (f"{folder}.DS_Store", b""), (f"{folder}notes.txt", b"hello"))
    submission = open_submission(archive_of(path, (f"{folder}{NAME}", PACKED), *litter))
    assert submission.faults == ()
    assert set(submission.files) == {NAME, "notes.txt"}
    assert submission.sizes[NAME] == len(PACKED)
    with submission.local(NAME) as file:
        assert file.read_bytes() == PACKED
        assert file.name == NAME
    assert not file.exists()
    assert submission.read_field(NAME, (6, 5, 4)).shape == (6, 5, 4, 3)
    assert sorted(tmp_path.iterdir()) == [path]


def test_faults_of_a_field_name_the_archive(path):
    submission = open_submission(archive_of(path, (NAME, PACKED[:50])))
    with pytest.raises(DataError, match=r"submission\.zip: 'disp_0001_0001.nii.gz'"):
        submission.read_field(NAME, None)


@pytest.mark.parametrize(
    "name",
    ["../evil.nii.gz", "/etc/evil", "a/../../evil", "C:\\evil", "..\\evil", "\\\\server\\evil", "C:/evil"],
)
def test_zip_slip(path, tmp_path, name):
    info = zipfile.ZipInfo("x")
    info.filename = name
    submission = open_submission(archive_of(path, (info, b"evil"), (NAME, PACKED)))
    (fault,) = submission.faults
    assert fault.what == "path leaves the archive"
    assert set(submission.files) == {NAME}
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices(path, kind):
    info = zipfile.ZipInfo(NAME)
    info.external_attr = (kind | 0o777) << 16
    submission = open_submission(archive_of(path, (info, b"/etc/passwd")))
    assert submission.faults[0].what == "not a file"
    assert not submission.files


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_bound(path, method):
    (fault,) = open_submission(archive_of(path, (NAME, PACKED), method=method)).faults
    assert fault.what == "unknown compression"


def test_bomb(path):
    """A million zeros are a thousand bytes: less than deflate's best is a matter of the limit."""
    archive_of(path, (NAME, bytes(1_000_000)), method=zipfile.ZIP_DEFLATED)
    assert open_submission(path).faults == ()
    (fault,) = open_submission(path, Limits(ratio=100)).faults
    assert fault.what == "unpacks to too much"
    (fault,) = open_submission(path, Limits(file_bytes=999_999)).faults
    assert fault.what == "file too large"


def test_all_together_too_large(path):
    archive_of(path, *((f"disp_{n:04}_0001.nii.gz", bytes(100)) for n in range(5)))
    assert open_submission(path, Limits(total_bytes=500)).faults == ()
    (fault,) = open_submission(path, Limits(total_bytes=499)).faults
    assert fault.what == "archive too large"


def test_too_many_files(path):
    archive_of(path, *((f"disp_{n:04}_0001.nii.gz", b"") for n in range(5)))
    submission = open_submission(path, Limits(files=4))
    assert submission.faults[0].what == "too many files"
    assert not submission.files


def test_name_used_twice(path):
    submission = open_submission(archive_of(path, (NAME, PACKED), (NAME, b"other"), ("a.txt", b"")))
    assert [fault.what for fault in submission.faults] == ["name used twice"]
    assert NAME not in submission.files


def test_fields_in_several_folders(path):
    submission = open_submission(archive_of(path, (f"a/{NAME}", PACKED), (f"b/{NAME}", PACKED)))
    (fault,) = submission.faults
    assert fault.what == "fields in several folders"
    assert "'a', 'b'" in fault.got


def test_size_that_lies(path):
    """Smaller and larger than the truth, in the directory and in the local header."""
    for claim in (10, len(PACKED) + 7):
        archive_of(path, (NAME, PACKED))
        patched(path, struct.pack("<2I", len(PACKED), len(PACKED)), struct.pack("<2I", len(PACKED), claim))
        submission = open_submission(path)
        with pytest.raises(DataError, match=r"damaged zip|size differs"), submission.local(NAME):
            pass


def test_members_that_overlap(path):
    """Two directory entries for the same bytes: a bomb of which every part keeps within the ratio."""
    archive_of(path, (NAME, PACKED), ("disp_0002_0002.nii.gz", PACKED))
    with zipfile.ZipFile(path) as archive:
        first, second = archive.infolist()
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    struct.pack_into("<I", content, directory + 42, first.header_offset)
    struct.pack_into("<I", content, directory + 20, second.compress_size + len(content))
    path.write_bytes(content)
    assert open_submission(path).faults[0].what == "members overlap"


def test_encrypted(path):
    archive_of(path, (NAME, PACKED))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert open_submission(path).faults[0].what == "encrypted"


def test_wrong_checksum(path):
    archive_of(path, (NAME, PACKED))
    patched(path, PACKED[20:40], bytes(20), 1)
    with pytest.raises(DataError, match="damaged zip"), open_submission(path).local(NAME):
        pass


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.9, 0.99])
def test_cut_off(path, kept):
    content = archive_of(path, (NAME, nifti())).read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(DataError, match="not a zip archive"):
        open_submission(path)


def test_no_space_to_unpack(path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    submission = open_submission(archive_of(path, (NAME, PACKED)))
    with pytest.raises(OutputError, match="no space to unpack"), submission.local(NAME):
        pass


def test_names_cannot_forge_lines(path):
    submission = open_submission(archive_of(path, ("../a\nregeval: all is well", b"")))
    assert "\n" not in str(submission.faults[0])


def test_nested_archives_stay_closed(path):
    inner = io.BytesIO()
    archive_of(inner, (NAME, PACKED))
    submission = open_submission(archive_of(path, ("fields.zip", inner.getvalue())))
    assert set(submission.files) == {"fields.zip"}
