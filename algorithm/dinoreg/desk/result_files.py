"""The files of a result: their names, what may be replaced, and what is noted of its inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from regtask.digest import file_sha256
from regtask.documents import read_json_object
from regtask.errors import DataError, Fault, OutputError
from regtask.untrusted.opening import reading_fault

TRANSFORM, INVERSE, WARPED = "transform.h5", "inverse.h5", "warped.nii.gz"
FACTS, REPORT, PICTURE = "register.json", "report.html", "picture.png"
_ALONG = ("labels_", "image_", "points_")
_OWN = (FACTS, TRANSFORM, INVERSE, WARPED, REPORT, PICTURE)


def open_folder(folder: Path, named: Collection[str] = (), *, overwrite: bool) -> None:
    """Make the folder, and refuse one that holds an earlier result.

    Args:
        folder: to be written to.
        named: names of what will be written beside `register`'s own files.
        overwrite: whether files of an earlier result may be replaced.

    Raises:
        OutputError: it cannot be made, or holds a result, or a file of a name, that may not be overwritten.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(folder), got=str(error))) from error
    present = [name for name in (*_OWN, *named) if (folder / name).exists()]
    if present and not overwrite:
        remedy = "choose another folder, or say --overwrite"
        raise OutputError(Fault("output exists already", str(folder), got=", ".join(present), remedy=remedy))


def remove_earlier(folder: Path, inputs: Iterable[Path]) -> None:
    """Remove what an earlier registration left in a folder, as far as its facts name it.

    Args:
        folder: that exists.
        inputs: of this registration, which stay, wherever they lie.

    Raises:
        OutputError: a file cannot be removed.
    """
    kept = {path.resolve() for path in inputs}
    # The facts first: whatever stops the program from here on, what is left is not taken for a result.
    names = dict.fromkeys((FACTS, *_noted_files(folder), *_OWN))
    try:
        present = {path.name for path in folder.iterdir()}
        for name in names:
            path = folder / name
            if name in present and not path.is_dir() and path.resolve() not in kept:
                path.unlink()
    except OSError as error:
        raise OutputError(Fault("earlier result not removable", str(folder), got=str(error))) from error


def _noted_files(folder: Path) -> list[str]:
    """Names of what an earlier registration wrote of the files that came along."""
    try:
        files = read_json_object(folder / FACTS, "what register wrote").get("files")
    except DataError:
        return []
    named = files if isinstance(files, list) else []
    return [name for name in named if isinstance(name, str) and name.startswith(_ALONG)]


def note_inputs(inputs: Mapping[str, Path], series: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return what the facts say of inputs. To be asked before anything is written, perhaps over one of them.

    Args:
        inputs: role -> file or folder.
        series: role -> UID of the series that is meant, of a folder with several.

    Raises:
        DataError: a file cannot be read.
    """
    noted = {}
    for role, path in inputs.items():
        try:
            digest = file_sha256(path) if path.is_file() else ""
        except OSError as error:
            raise DataError(reading_fault(path, error)) from error
        noted[role] = {"path": str(path), "sha256": digest, "series": series.get(role, "")}
    return noted
