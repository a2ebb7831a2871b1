"""What fits into this machine: an array is announced by a header and refused before it is read."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from regtask.errors import DataError, Fault

# Sets the free memory by hand, for a machine that does not tell it: bytes, or with K, M, G or T.
VARIABLE = "REGTASK_MEMORY"
# One file may take this share of what is free: two images of a pair, and the work on them, come beside it.
_SHARE = 0.25
# Beside the stored values: float32, the scaled float64 where there is a scale, and a truth value.
_COPIES = np.dtype(np.float32).itemsize + 1
_SCALED = np.dtype(np.float64).itemsize
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 62


def array_fault(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[np.number], *, scaled: bool = False
) -> Fault | None:
    """Return a fault where an array cannot be read within the memory there is, or None.

    Args:
        path: the file, for the message.
        shape: as its header announces it.
        dtype: as stored.
        scaled: whether a scale has to be applied.

    Raises:
        DataError: the variable REGTASK_MEMORY is not an amount.
    """
    needed = math.prod(shape) * (dtype.itemsize + _COPIES + (_SCALED if scaled else 0))
    if needed < 1 << 24:  # not worth the question
        return None
    allowed = int(_SHARE * free_bytes())
    if needed <= allowed:
        return None
    return Fault(
        "too large for this machine",
        str(path),
        f"a file that takes {in_words(allowed)} or less, a quarter of the free memory",
        f"shape {shape} of {dtype}, which takes {in_words(needed)}",
        f"give the container more memory, or set {VARIABLE} if what is free is not seen rightly",
    )


def free_bytes() -> int:
    """Return the memory that this process can still take, bytes.

    The least of: what the machine has available, what is left below the limits of the control groups that it
    is in (versions 1 and 2), and what is left of its address space. REGTASK_MEMORY takes the place of all.

    Raises:
        DataError: REGTASK_MEMORY is not an amount.
    """
    if text := os.environ.get(VARIABLE):
        return _amount(text)
    return max(0, min(psutil.virtual_memory().available, *_control_groups(), _address_space()))


def in_words(count: int) -> str:
    """Return a number of bytes with its unit."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"


def _amount(text: str) -> int:
    number, unit = text.strip(), ""
    if number[-1:].upper() in _UNITS:
        number, unit = number[:-1], number[-1:].upper()
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        raise DataError(Fault("not an amount of memory", VARIABLE, "such as 8G", text))
    return int(number) * _UNITS[unit]


def _control_groups() -> Iterator[int]:
    """Yield what is left below each limit from the group of this process up to the root."""
    yield _UNLIMITED
    try:
        lines = (_PROC / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        version_2 = not controllers
        top = _CGROUP if version_2 else _CGROUP / "memory"
        names = (
            ("memory.max", "memory.current")
            if version_2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        )
        group = Path(name.lstrip("/"))
        # Within a container the group's path is that of the host, and only the root is there to be seen.
        for folder in (top / group, *(top / parent for parent in group.parents), top):
            if (left := _left(folder, *names)) is not None:
                yield left


def _left(folder: Path, limit_name: str, used_name: str) -> int | None:
    try:
        limit = int((folder / limit_name).read_text(encoding="ascii"))
        used = int((folder / used_name).read_text(encoding="ascii"))
    except (OSError, ValueError):  # absent, or "max"
        return None
    return limit - used + min(_reclaimable(folder), used)


def _reclaimable(folder: Path) -> int:
    """Return the bytes of cached files that count as used, and that the system gives up for an array."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, StopIteration):
        return 0


def _address_space() -> int:
    if sys.platform != "linux":
        return _UNLIMITED
    process = psutil.Process()
    limit = process.rlimit(psutil.RLIMIT_AS)[0]
    return _UNLIMITED if limit == psutil.RLIM_INFINITY else limit - process.memory_info().vms
