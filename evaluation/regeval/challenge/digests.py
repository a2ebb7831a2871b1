"""Has anything changed? Digests of a submission, of a task, and of the evaluator itself."""

import hashlib
import os
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from regtask.dataset import Dataset, Split
from regtask.digest import file_sha256

# The parts of the program that scores depend on, and those that only pictures do; how submissions are ranked
# and shown is done anew each time.
_JUDGING = ("metrics", "inputs", "scoring", "checking")
_DRAWING = ("pictures",)


def digest_of(*texts: str) -> str:
    """Return the digest of texts."""
    hasher = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()


def digest_submission(location: Path) -> str:
    """Return the digest of a submission: of an archive's bytes, or of all names and files of a folder.

    Links are not followed, and what is no file counts by its name only: the digest must not hang on a pipe.
    """
    if not location.is_dir():
        return _file(location)
    parts = []
    for folder, folders, files in os.walk(location):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            content = "a link" if path.is_symlink() else _file(path)
            parts += [path.relative_to(location).as_posix(), content]
    return digest_of("folder", *parts)


def digest_task(dataset: Dataset, split: Split, description: Path) -> str:
    """Return the digest of a task: its description, and the content of every file that scores depend on."""
    files: dict[Path, None] = {}
    for pair in dataset.pairs(split):
        for both in (
            (pair.fixed, pair.moving),
            pair.labels(),
            pair.masks(),
            pair.landmarks(),
            pair.keypoints(),
        ):
            files |= dict.fromkeys(path for path in both if path is not None and path.is_file())
    parts = [part for path in files for part in (os.path.relpath(path, dataset.root), _file(path))]
    return digest_of(_file(description), *parts)


def digest_evaluator() -> str:
    """Return the digest of the program's own files: numbers on one board come from one evaluator."""
    return _digest_folders(
        *(resources.files("regeval") / name for name in _JUDGING), resources.files("regtask")
    )


def digest_drawing() -> str:
    """Return the digest of what pictures depend on beyond that."""
    return _digest_folders(*(resources.files("regeval") / name for name in _DRAWING))


def _digest_folders(*folders: Traversable) -> str:
    parts = []
    for folder in folders:
        for path in sorted(_sources(Path(str(folder)))):
            parts += [path.name, _file(path)]
    return digest_of(*parts)


def _sources(folder: Path) -> Iterable[Path]:
    return (path for ending in ("py", "jinja") for path in folder.rglob(f"*.{ending}"))


def _file(path: Path) -> str:
    if not path.is_file():  # a pipe would never end
        return "no file"
    try:
        return file_sha256(path)
    except OSError as error:  # whoever opens it will say so
        return f"unreadable: {error.strerror}"
