"""Open files that are files: no pipe that waits for ever, no device, no folder, no impossible path."""

import errno
import os
import stat
from pathlib import Path
from types import MappingProxyType
from typing import IO

from regtask.errors import DataError, Fault

_KINDS = MappingProxyType(
    {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
)
_REMEDY = "check the path"
# Without O_NONBLOCK the opening of a pipe waits until somebody writes to it. Windows has the last one alone.
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading, links resolved; to be used in a `with` statement.

    Raises:
        DataError: no file, not allowed, not a regular file, or a path that no file can have.
    """
    try:
        # First the kind: opening some devices does something.
        if fault := _kind_fault(path, path.stat().st_mode):
            raise DataError(fault)
        descriptor = os.open(path, _FLAGS)
        try:
            if fault := _kind_fault(path, os.fstat(descriptor).st_mode):  # it was exchanged meanwhile
                raise DataError(fault)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise DataError(reading_fault(path, error)) from error
    except ValueError as error:
        raise DataError(_impossible(path, error)) from error


def reading_fault(path: Path, error: OSError) -> Fault:
    """Return the fault of a file that the system does not open or read."""
    got = error.strerror or str(error)
    if error.errno == errno.ENOENT and path.is_symlink():
        got = "a link to something that does not exist"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Fault("cannot read", str(path), got=got, remedy="allow more open files (ulimit -n)")
    return Fault("cannot read", str(path), got=got, remedy=_REMEDY)


def lies_there(path: Path) -> bool:
    """Tell whether anything has this name: a file, a folder, a pipe, a link to nothing, or what is hidden.

    Only what is certainly absent does not lie there, so that what cannot be read is reported by whoever reads
    it, and not taken for absent.
    """
    try:
        path.lstat()
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR)
    except ValueError:
        return False
    return True


def is_regular(path: Path) -> bool:
    """Tell whether a path leads to a regular file; False for paths that no file can have."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def path_fault(path: Path) -> Fault | None:
    """Return what makes a path unusable before anything is looked up: NUL, lone surrogates, its length."""
    try:
        path.lstat()
    except ValueError as error:
        return _impossible(path, error)
    except OSError as error:
        return reading_fault(path, error) if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) else None
    return None


def _kind_fault(path: Path, mode: int) -> Fault | None:
    if stat.S_ISREG(mode):
        return None
    got = _KINDS.get(stat.S_IFMT(mode), "another kind of file")
    return Fault("cannot read", str(path), "a regular file", got, _REMEDY)


def _impossible(path: Path, error: ValueError) -> Fault:
    got = "a lone surrogate" if isinstance(error, UnicodeError) else str(error)
    return Fault("impossible path", str(path), "text that a file can be called by", got, "correct the path")
