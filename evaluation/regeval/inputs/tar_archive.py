"""Compressed tar archives from strangers: plain files only, within limits, never outside a folder."""

import lzma
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from regeval.inputs.archive import Limits
from regtask.errors import DataError, Fault, OutputError

_CHUNK = 1 << 20
_ENDINGS = (".tar.gz", ".tgz")


def is_tar(location: Path) -> bool:
    """Tell by its name whether a file is a compressed tar archive."""
    return location.is_file() and location.name.lower().endswith(_ENDINGS)


@contextmanager
def untarred(location: Path, limits: Limits | None = None) -> Iterator[tuple[Path, tuple[Fault, ...]]]:
    """Unpack a .tar.gz to a temporary folder, for the time of the block.

    Args:
        location: the archive.
        limits: what it may hold.

    Yields:
        The folder, and what is wrong with members that were left out.

    Raises:
        DataError: not such an archive, damaged, or too large.
        OutputError: the temporary folder has no space.
    """
    limits = limits or Limits()
    faults: list[Fault] = []
    with tempfile.TemporaryDirectory(prefix="regeval-") as name:
        folder = Path(name)
        try:
            # A stream: members are read once, in order, so that no index is believed.
            with tarfile.open(location, "r|gz") as archive:
                _unpack(archive, location, folder, limits, faults)
        except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
            raise DataError(Fault("damaged tar archive", str(location), ".tar.gz", str(error))) from error
        except OSError as error:
            if error.errno is not None:
                got = error.strerror or str(error)
                raise OutputError(Fault("cannot unpack", str(location), got=got)) from error
            raise DataError(Fault("not a tar archive", str(location), ".tar.gz", str(error))) from error
        yield folder, tuple(faults)


def _unpack(
    archive: tarfile.TarFile, location: Path, folder: Path, limits: Limits, faults: list[Fault]
) -> None:
    most = min(limits.total_bytes, limits.ratio * location.stat().st_size + (1 << 20))
    total = count = 0
    for member in archive:
        where = f"{location}: {member.name[:200]!r}"
        if member.isdir():
            continue
        count += 1
        if count > limits.files:
            raise DataError(Fault("too many files", str(location), f"at most {limits.files}"))
        if fault := _member_fault(where, member, limits):
            faults.append(fault)
            continue
        total += member.size
        if total > most:
            raise DataError(Fault("archive too large", str(location), f"at most {most} bytes unpacked"))
        _refuse_full_disk(folder, member.size)
        target = folder.joinpath(*PurePosixPath(member.name).parts)
        if target.exists():
            faults.append(Fault("name used twice", where))
            continue
        source = archive.extractfile(member)
        if source is None:
            faults.append(Fault("not a file", where, "regular files"))
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as stream:
                shutil.copyfileobj(source, stream, _CHUNK)
        except (FileExistsError, NotADirectoryError):
            faults.append(Fault("a file where a folder is", where, "one name, one file"))


def _member_fault(where: str, member: tarfile.TarInfo, limits: Limits) -> Fault | None:
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or "\0" in member.name or "\\" in member.name:
        return Fault("path leaves the archive", where, "plain names")
    if not member.isreg() or member.issparse():
        return Fault("not a file", where, "regular files", "a link, a device or a sparse file")
    if member.size > limits.file_bytes:
        return Fault("file too large", where, f"at most {limits.file_bytes} bytes", str(member.size))
    return None


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        remedy = "set TMPDIR to a folder with more space"
        raise OutputError(Fault("no space to unpack", str(folder), f"{needed} bytes", f"{free} free", remedy))
