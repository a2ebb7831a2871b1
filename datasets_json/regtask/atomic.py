"""Files that are there whole or not at all, whatever interrupts the writing."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from regtask.errors import Fault, OutputError

_REMEDIES = MappingProxyType(
    {
        errno.ENOSPC: "free space on this disk or choose another output folder",
        errno.EDQUOT: "free space within the quota or choose another output folder",
        errno.EROFS: "the file system is read-only: choose another output folder or mount it writable",
        errno.EACCES: "give this user write permission on the folder (in a container: --user, or chmod)",
        errno.EPERM: "give this user write permission on the folder (in a container: --user, or chmod)",
        errno.ENOENT: "create the folder first",
        errno.ENOTDIR: "a file stands where a folder is needed: choose another output folder",
        errno.EISDIR: "a folder of this name is in the way: remove it or choose another name",
        errno.ENAMETOOLONG: "choose a shorter file name",
    }
)
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\..")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends well, and vanishes when it does not.

    The temporary file lies in the same folder, since a rename is atomic within one file system only, and ends
    in the same suffixes, since writers choose the compression by them. A file of an earlier run is replaced.

    Raises:
        OutputError: disk full, read-only, no permission, no file name, or the folder does not exist.
    """
    if not path.name:
        raise OutputError(Fault("cannot write", str(path), "the name of a file", "a folder"))
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")  # as _TEMPORARY says
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(_fault(path, error)) from error
    finally:
        with suppress(OSError):  # it never came to exist, or its folder is what is wrong
            temporary.unlink()
    with suppress(OSError):  # some network file systems cannot sync a folder; the file itself is safe
        _flush_to_disk(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in a folder nobody else writes to now."""
    for path in folder.glob(".*"):
        if _TEMPORARY.match(path.name):
            with suppress(OSError):  # in the way of nothing
                path.unlink()


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        OutputError: disk full, read-only, no permission, or the folder does not exist.
    """
    with atomic_path(path) as temporary:
        # Escaped: the bytes of file names that are no Unicode.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _flush_to_disk(path: Path) -> None:
    # Without it a power cut after the rename can leave an empty file under the final name.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fault(path: Path, error: OSError) -> Fault:
    return Fault(
        "cannot write",
        str(path),
        got=error.strerror or str(error),
        remedy=_REMEDIES.get(error.errno or 0, "check the disk, or choose another output folder"),
    )
