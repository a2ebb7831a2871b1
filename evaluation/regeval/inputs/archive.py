"""Zip archives from strangers: claims are checked against what is on disk, before and while unpacking.

No member is ever written under its own name, so none can leave the folder it is unpacked to.
"""

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from regtask.errors import DataError, Fault, OutputError
from regtask.nifti_header import MAX_DEFLATE_RATIO
from regtask.untrusted.opening import open_regular, reading_fault

_GIB = 1 << 30
_CHUNK = 1 << 20
# Both decompress in bounded memory, and deflate never by more than MAX_DEFLATE_RATIO.
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_ENCRYPTED = 0x1
# How many names of each kind of fault are listed.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a submission may hold.

    Attributes:
        files: number of files.
        file_bytes: bytes of one file, unpacked.
        total_bytes: bytes of all files of an archive, unpacked.
        ratio: bytes unpacked per byte packed; deflate cannot do better than the default.
    """

    files: int = 10_000
    file_bytes: int = 8 * _GIB
    total_bytes: int = 512 * _GIB
    ratio: int = MAX_DEFLATE_RATIO


def list_archive(location: Path, limits: Limits) -> tuple[dict[str, int], list[Fault]]:
    """List the files of a zip archive without unpacking any.

    Args:
        location: the archive.
        limits: what it may hold.

    Returns:
        Path within the archive -> bytes as claimed, of the members without a fault; and the faults.

    Raises:
        DataError: not a zip archive, or its directory is damaged.
    """
    try:
        with open_regular(location) as file, zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise DataError(Fault("not a zip archive", str(location), got=str(error))) from error
    except OSError as error:
        raise DataError(reading_fault(location, error)) from error
    faults = list(_archive_faults(location, members, limits))
    if len(members) > limits.files:
        return {}, faults
    sound: dict[str, int] = {}
    repeated = {name for name, count in Counter(m.filename for m in members).items() if count > 1}
    for member in members:
        where = f"{location}: {member.filename[:200]!r}"
        if fault := _member_fault(where, member, limits):
            faults.append(fault)
        elif member.filename not in repeated:
            sound[member.filename] = member.file_size
    faults += [Fault("name used twice", f"{location}: {name[:200]!r}") for name in sorted(repeated)[:_SHOWN]]
    return sound, faults


@contextmanager
def unpacked(location: Path, member: str, name: str, limits: Limits) -> Iterator[Path]:
    """Unpack one file of an archive to a temporary folder, for the time of the block.

    Args:
        location: the archive.
        member: path within it.
        name: base name of the file to write.
        limits: what the archive may hold.

    Yields:
        The file.

    Raises:
        DataError: damaged, or more bytes than claimed.
        OutputError: the temporary folder has no space.
    """
    where = f"{location}: {member!r}"
    with tempfile.TemporaryDirectory(prefix="regeval-") as folder:
        path = Path(folder) / name
        try:
            with open_regular(location) as file, zipfile.ZipFile(file) as archive:
                info = archive.getinfo(member)
                if fault := _member_fault(where, info, limits):
                    raise DataError(fault)
                _refuse_full_disk(folder, info.file_size)
                with archive.open(info) as source, path.open("wb") as target:
                    left = info.file_size
                    while left >= 0 and (chunk := source.read(_CHUNK)):
                        left -= len(chunk)
                        target.write(chunk)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            KeyError,
        ) as error:
            # NotImplementedError and RuntimeError: a compression or an encryption that is not understood.
            raise DataError(Fault("damaged zip archive", where, got=str(error))) from error
        if left:
            raise DataError(Fault("size differs from the claim", where, f"{info.file_size} bytes"))
        yield path


def _refuse_full_disk(folder: str, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        remedy = "set TMPDIR to a folder with more space"
        raise OutputError(Fault("no space to unpack", folder, f"{needed} bytes", f"{free} free", remedy))


def _archive_faults(location: Path, members: list[zipfile.ZipInfo], limits: Limits) -> Iterator[Fault]:
    where, on_disk = str(location), location.stat().st_size
    if len(members) > limits.files:
        yield Fault("too many files", where, f"at most {limits.files}", str(len(members)))
    total = sum(member.file_size for member in members)
    if total > limits.total_bytes:
        yield Fault("archive too large", where, f"at most {limits.total_bytes} bytes unpacked", str(total))
    packed = sum(member.compress_size for member in members)
    if packed > on_disk:
        yield Fault(
            "members overlap", where, f"at most {on_disk} bytes packed, the size of the file", str(packed)
        )


def _member_fault(where: str, member: zipfile.ZipInfo, limits: Limits) -> Fault | None:
    name = member.filename
    windows = PureWindowsPath(name)
    parts = (*PurePosixPath(name).parts, *windows.parts)
    if name.startswith("/") or windows.drive or windows.root or ".." in parts or "\0" in name or "\\" in name:
        return Fault("path leaves the archive", where, "plain names")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return Fault("not a file", where, "regular files", stat.filemode(member.external_attr >> 16))
    if member.flag_bits & _ENCRYPTED:
        return Fault("encrypted", where)
    if member.compress_type not in _METHODS:
        expected = " or ".join(_METHODS.values())
        return Fault("unknown compression", where, expected, f"method {member.compress_type}")
    if member.file_size > limits.file_bytes:
        return Fault("file too large", where, f"at most {limits.file_bytes} bytes", str(member.file_size))
    if member.file_size > member.compress_size * limits.ratio:
        got = f"{member.file_size} bytes from {member.compress_size}"
        return Fault("unpacks to too much", where, f"at most {limits.ratio} times its size", got)
    return None
