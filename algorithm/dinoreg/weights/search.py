"""Where the weights of the encoders lie, and whether they are the ones that were meant. No torch here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dinoreg.errors import WeightsError
from dinoreg.weights.model_folder import enclosing_folder, folder_sha256, is_model_folder, model_folder_in
from dinoreg.weights.official import OfficialFile, known_file
from regtask.digest import file_sha256
from regtask.errors import Fault, nearest

WEIGHTS_VARIABLE = "DINOREG_WEIGHTS"
_MOUNT = Path("/opt/ml/model")  # where Grand Challenge unpacks a model tarball
_IN_IMAGE = Path("/opt/dinoreg/weights")  # where ./build.sh --weights puts them
# Where those lie that come with the project: beside the package in a checkout, else below the prefix.
_WITH_PROJECT = (Path(__file__).parents[2] / "weights", Path(sys.prefix) / "share" / "dinoreg" / "weights")
_THREE_WAYS = (
    "one of: `dinoreg weights fetch {variant} --output DIR` and DINOREG_WEIGHTS=DIR; "
    "`./build.sh --weights DIR` to bake DIR into the image; "
    "or mount the folder that holds {name} at /opt/ml/model"
)
_COMES_ALONG = "it lies in algorithm/weights of the project: DINOREG_WEIGHTS=DIR names that folder"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Weights that were found and whose digest was checked.

    Attributes:
        path: a file, or a Hugging Face folder.
        sha256: of the file, or of the folder (see `folder_sha256`).
        provenance: "official" if the digest is the pinned one, else "custom".
    """

    path: Path
    sha256: str
    provenance: Literal["official", "custom"]


def search_folders() -> tuple[Path, ...]:
    """Return the folders that weights are looked for in, in this order."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return (*([Path(named)] if named else []), _MOUNT, _IN_IMAGE, *_WITH_PROJECT)


def find_weights(
    variant: str,
    explicit: Path | None = None,
    *,
    sha256: str | None = None,
    folders: Sequence[Path] | None = None,
) -> WeightsFile:
    """Find the weights of a DINOv2 variant or of "dino3d" and check their digest.

    A file under the official name must have the pinned digest. Other weights than the official ones are
    "custom": they need either an explicit path or their digest. In a folder the official name comes first,
    then `VARIANT.pth`, `VARIANT.safetensors`, a Hugging Face folder `VARIANT`, and the one that Meta
    publishes (see `model_folder_in`). The first find counts, and if it is wrong that is an error, not a
    reason to go on.

    Args:
        variant: such as "vitl14-reg".
        explicit: a file, a Hugging Face folder, or a folder to look in instead of `folders`.
        sha256: the digest that the file has to have; by default the pinned one of an official file.
        folders: by default `search_folders()`.

    Raises:
        WeightsError: unknown variant, nothing found, wrong digest, or a custom file that nobody vouched for.
    """
    official = known_file(variant)
    explicit = explicit and enclosing_folder(explicit)
    if explicit is not None and (explicit.is_file() or is_model_folder(explicit)):
        return _checked(explicit, official, sha256, vouched=True)
    if explicit is not None:
        if not explicit.exists():
            raise _absent(explicit, official)
        folders = (explicit,)
    elif folders is None:
        folders = search_folders()
    found = locate(official, folders)
    if found is not None:
        return _checked(found, official, sha256, vouched=False)
    raise WeightsError(
        Fault(
            f"no weights for {official.variant}",
            ", ".join(str(folder) for folder in folders),
            expected=official.name,
            remedy=(_THREE_WAYS if official.model else _COMES_ALONG).format(
                variant=official.variant, name=official.name
            ),
        )
    )


def locate(official: OfficialFile, folders: Sequence[Path]) -> Path | None:
    """Return the first candidate for a variant's weights, unchecked."""
    variant = official.variant
    for folder in folders:
        for name in (official.name, f"{variant}.pth", f"{variant}.safetensors", variant):
            if (folder / name).is_file() or is_model_folder(folder / name):
                return folder / name
        published = official.folder and model_folder_in(folder, official.folder.name)
        if published:
            return published
    return None


def in_search_folders(path: Path) -> Path:
    """Return a path as it is, or where it is not there the first place of it in `search_folders()`.

    A name on Hugging Face, such as "facebook/sam-vit-base", stands for its folder (see `model_folder_in`).
    """
    if path.exists():
        return path
    for folder in search_folders():
        place = folder / path if (folder / path).exists() else model_folder_in(folder, path.as_posix())
        if place is not None:
            return place
    return path


def own_weights(path: Path, *, sha256: str | None = None) -> WeightsFile:
    """Check a checkpoint that the user brings along, such as DINOv3; it is always "custom".

    Args:
        path: a file or a Hugging Face folder. A name that ends in 8 hexadecimal digits, as those of DINOv3
            do, states the beginning of the digest.
        sha256: the digest that the file has to have, if it is known.

    Raises:
        WeightsError: it is not there, or the digest is another one.
    """
    path = enclosing_folder(path)
    if not (path.is_file() or is_model_folder(path)):
        raise WeightsError(
            Fault("no weights", str(path), expected="a checkpoint file or a folder with config.json")
        )
    digest = file_digest(path)
    stated = re.search(r"-([0-9a-f]{8})\.\w+$", path.name)
    if sha256 is None and stated and path.is_file():
        sha256 = stated[1]
    if sha256 is not None and not digest.startswith(sha256.lower()):
        raise _mismatch(path, sha256, digest)
    return WeightsFile(path, digest, "custom")


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, or of a Hugging Face folder's tensors.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        return folder_sha256(path) if path.is_dir() else file_sha256(path)
    except OSError as error:
        raise WeightsError(Fault("cannot read the weights", str(path), got=str(error.strerror))) from error


def _checked(path: Path, official: OfficialFile, sha256: str | None, *, vouched: bool) -> WeightsFile:
    digest = file_digest(path)
    expected = sha256 or (official.sha256 if path.name == official.name else None)
    if expected is not None and digest != expected.lower():
        raise _mismatch(path, expected, digest)
    if digest in official.digests:
        return WeightsFile(path, digest, "official")
    if expected is None and not vouched:
        raise WeightsError(
            Fault(
                "weights that are not the official ones",
                str(path),
                expected=f"sha256 {' or '.join(official.digests)}",
                got=f"sha256 {digest}",
                remedy="if they are meant, state this sha256 or the path in the configuration",
            )
        )
    return WeightsFile(path, digest, "custom")


def _absent(path: Path, official: OfficialFile) -> WeightsError:
    try:
        close = nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:  # the folder is not there either, or not readable
        close = None
    remedy = f"did you mean {close}?" if close else ""
    return WeightsError(
        Fault(f"no weights for {official.variant}", str(path), got="no such file or folder", remedy=remedy)
    )


def _mismatch(path: Path, expected: str, digest: str) -> WeightsError:
    return WeightsError(
        Fault(
            "wrong digest of the weights",
            str(path),
            expected=f"sha256 {expected}",
            got=f"sha256 {digest}",
            remedy="the download is damaged or another file: fetch it again; weights of your own need "
            "another name and an explicit path, or their sha256 in the configuration",
        )
    )
