"""The files of a submission, a folder, a zip archive or a .tar.gz, opened without trusting it.

Nothing is written outside temporary folders, and nothing in a file is executed. What is wrong is collected in
`Submission.faults`; whoever needs a sound submission passes them to `regtask.raise_for`.
"""

import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from regeval.inputs.archive import Limits, list_archive, unpacked
from regeval.inputs.tar_archive import is_tar, untarred
from regtask.errors import DataError, Fault
from regtask.fields import Layout, read_field
from regtask.names import field_names
from regtask.nifti import read_nifti_header
from regtask.pair import Pair
from regtask.untrusted.opening import open_regular
from regtask.verify import raise_for

SUFFIXES = (".npz", ".nii.gz", ".nii")
# Written by file managers, never by people.
_LITTER = ("__MACOSX/", ".")


class MemoryShortageError(DataError):
    """The machine lacks the memory for a field; the submission is not to blame."""


@dataclass(frozen=True, slots=True)
class Submission:
    """The files of a submission that may be fields.

    Attributes:
        location: the folder or the archive, for messages.
        files: base name -> path within `location`, of everything that lies where the fields lie.
        sizes: base name -> bytes, unpacked (in a zip archive: as claimed).
        faults: what makes the submission as a whole unacceptable; empty if it is sound.
        folder: where the files lie, of a submission that is a folder or has been unpacked to one; None: each
            is unpacked when it is read.
    """

    location: Path
    files: Mapping[str, str]
    sizes: Mapping[str, int]
    faults: tuple[Fault, ...] = ()
    folder: Path | None = None

    def field_name(self, pair: Pair) -> str | None:
        """Return the base name of the file that holds the field of a pair, or None.

        Both generations of names are known: with modalities, `disp_0001_0000_0001_0001`, and without,
        `disp_0001_0001`, where an official evaluator accepts it; the former is preferred. As in the official
        evaluators `.npz` wins over `.nii.gz`.
        """
        return next((name for name in accepted_names(pair) if name in self.files), None)

    @contextmanager
    def local(self, name: str, limits: Limits | None = None) -> Iterator[Path]:
        """Yield a path under which a file can be read; a file of an archive exists only within the block.

        Args:
            name: a key of `files`.
            limits: what an archive may hold.

        Raises:
            DataError: the archive is damaged or holds more than it claims.
        """
        inner = self.files[name]
        if self.folder is not None:
            yield self.folder / inner
            return
        with unpacked(self.location, inner, name, limits or Limits()) as path:
            yield path

    def read_field(
        self, name: str, shape: tuple[int, ...] | None, layout: Layout = "channel_last"
    ) -> NDArray[np.float32]:
        """Read the field in a file.

        Args:
            name: a key of `files`.
            shape: (I, J, K) of the fixed image; None accepts any.
            layout: order of the axes in the file.

        Returns:
            (I, J, K, 3) float32, voxels of the fixed grid.

        Raises:
            DataError: damaged, wrong shape or type, or not finite; places are given within the submission.
            MemoryShortageError: this machine cannot hold it.
        """
        return self.read_stored(name, shape, layout)[0]

    def read_stored(
        self, name: str, shape: tuple[int, ...] | None, layout: Layout = "channel_last"
    ) -> tuple[NDArray[np.float32], np.dtype[np.generic]]:
        """Read the field in a file as `read_field` does, and the type of its values on disk."""
        where = f"{self.location}: {self.files[name]!r}"
        with self.local(name) as path:
            try:
                if name.endswith(".npz"):
                    raise_for(list_archive(path, Limits())[1])  # it is a zip archive itself
                return read_field(path, shape, layout), _stored_dtype(path)
            except DataError as error:
                moved = (
                    replace(fault, where=fault.where.replace(str(path), where)) for fault in error.faults
                )
                raise DataError(*moved) from error
            except MemoryError as error:
                raise MemoryShortageError(Fault("not enough memory to read it", where)) from error


def accepted_names(pair: Pair) -> tuple[str, ...]:
    """Return every file name under which the field of a pair is accepted, the preferred first."""
    stems = [name.removesuffix(".nii.gz") for name in field_names(pair.fixed_id, pair.moving_id, "both")]
    return tuple(f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES)


@contextmanager
def opened(location: Path, limits: Limits | None = None) -> Iterator[Submission]:
    """List the files of any submission, for the time of the block.

    As `open_submission`, but a .tar.gz counts as well: it has to be unpacked as a whole, and what was
    unpacked goes with the block.

    Args:
        location: folder, zip archive or .tar.gz.
        limits: how much a submission may hold; None takes the defaults.

    Raises:
        DataError: nothing there, no submission, or a damaged or too large .tar.gz.
        OutputError: no space to unpack it.
    """
    if not is_tar(location):
        yield open_submission(location, limits)
        return
    with untarred(location, limits) as (folder, faults):
        found = open_submission(folder, limits)
        ours, theirs = str(folder), str(location)
        inside = (replace(fault, where=fault.where.replace(ours, theirs)) for fault in found.faults)
        yield replace(found, location=location, faults=(*faults, *inside))


def open_submission(location: Path, limits: Limits | None = None) -> Submission:
    """List the files of a submission; none is read.

    The fields lie directly in `location`, or all in one folder below it, as people pack them.

    Args:
        location: folder or zip archive; see `opened` for a .tar.gz.
        limits: how much a submission may hold; None takes the defaults.

    Raises:
        DataError: there is nothing at `location`, or it is neither a folder nor a zip archive.
    """
    limits = limits or Limits()
    if location.is_dir():
        entries, faults = _list_folder(location, limits)
    elif location.is_file():
        entries, faults = list_archive(location, limits)
    else:
        raise DataError(Fault("no submission", str(location), "a folder, .zip or .tar.gz", "nothing there"))
    entries = {name: size for name, size in entries.items() if not _is_litter(name)}
    folder, lost = _field_folder(entries, location)
    inside = {name: size for name, size in entries.items() if PurePosixPath(name).parent == folder}
    return Submission(
        location=location,
        files={PurePosixPath(name).name: name for name in inside},
        sizes={PurePosixPath(name).name: size for name, size in inside.items()},
        faults=(*faults, *lost),
        folder=location if location.is_dir() else None,
    )


def missing_fields(pairs: Iterable[Pair], submission: Submission) -> list[Fault]:
    """Return one fault per pair that has no field in the submission."""
    return [missing_field(pair, submission.location) for pair in pairs if submission.field_name(pair) is None]


def missing_field(pair: Pair, location: Path) -> Fault:
    """Return the fault of a pair that has no field."""
    expected = " or ".join(field_names(pair.fixed_id, pair.moving_id, "both"))
    return Fault("no displacement field", f"{pair.case_key} in {location}", expected)


def _stored_dtype(path: Path) -> np.dtype[np.generic]:
    """Return the type on disk of a file that has been read without a fault."""
    if not path.name.endswith(".npz"):
        return read_nifti_header(path).dtype
    with (
        open_regular(path) as file,
        zipfile.ZipFile(file) as archive,
        archive.open(archive.infolist()[0]) as stream,
    ):
        version = npy_format.read_magic(stream)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        return np.dtype(read(stream)[2])


def _list_folder(location: Path, limits: Limits) -> tuple[dict[str, int], list[Fault]]:
    """List the regular files of a folder and of the folders in it: path within it -> bytes."""
    entries: dict[str, int] = {}
    faults: list[Fault] = []
    home = location.resolve()
    for path in _walk(location):
        if len(entries) >= limits.files:
            faults.append(Fault("too many files", str(location), f"at most {limits.files}"))
            break
        name = path.relative_to(location).as_posix()
        try:
            status = path.stat()
        except OSError as error:
            faults.append(Fault("cannot read", str(path), got=error.strerror or str(error)))
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            faults.append(Fault("link out of the submission", str(path), "a file", "a link"))
            continue
        if not stat.S_ISREG(status.st_mode):
            faults.append(Fault("not a file", str(path), "regular files", stat.filemode(status.st_mode)))
        elif status.st_size > limits.file_bytes:
            expected = f"at most {limits.file_bytes} bytes"
            faults.append(Fault("file too large", str(path), expected, str(status.st_size)))
        else:
            entries[name] = status.st_size
    return entries, faults


def _walk(location: Path) -> Iterator[Path]:
    """Yield what lies in a folder and in the folders directly below it; folders are not followed by links."""
    for entry in sorted(os.scandir(location), key=lambda entry: entry.name):
        if not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
            continue
        for inner in sorted(os.scandir(entry.path), key=lambda entry: entry.name):
            if not inner.is_dir(follow_symlinks=False):
                yield Path(inner.path)


def _is_litter(name: str) -> bool:
    return name.startswith(_LITTER[0]) or PurePosixPath(name).name.startswith(_LITTER[1])


def _field_folder(entries: Iterable[str], location: Path) -> tuple[PurePosixPath, list[Fault]]:
    """Return the folder within the submission that holds the fields."""
    folders = {
        path.parent
        for path in map(PurePosixPath, entries)
        if path.name.startswith("disp_") and _is_field(path)
    }
    top = PurePosixPath()
    if top in folders or not folders:
        return top, []
    if len(folders) == 1:
        return folders.pop(), []
    names = ", ".join(sorted(repr(str(folder)) for folder in folders)[:5])
    fault = Fault("fields in several folders", str(location), "all fields in one folder", names)
    return sorted(folders)[0], [fault]


def _is_field(path: PurePosixPath) -> bool:
    return path.name.endswith(SUFFIXES)
