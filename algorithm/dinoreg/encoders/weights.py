"""Where the weights of the encoders come from, and whether they are the ones that were meant. No torch here.

Meta publishes no digests of its files. The ones below were compared, on 2026-11-21, with those that other
public projects state for the same file names; `OfficialFile.seen_in` says in how many such files.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from dinoreg.errors import WeightsError
from regtask.errors import Fault, nearest

_BASE_URL = "https://dl.fbaipublicfiles.com/dinov2"
WEIGHTS_VARIABLE = "DINOREG_WEIGHTS"
_MOUNT = Path("/opt/ml/model")  # where Grand Challenge unpacks a model tarball
_IN_IMAGE = Path("/opt/dinoreg/weights")  # where ./build.sh --weights puts them
# Where those lie that come with the project: beside the package in a checkout, else below the prefix.
_WITH_PROJECT = (Path(__file__).parents[2] / "weights", Path(sys.prefix) / "share" / "dinoreg" / "weights")
MODEL_FILE = "model.safetensors"  # of a Hugging Face folder
_THREE_WAYS = (
    "one of: `dinoreg weights fetch {variant} --output DIR` and DINOREG_WEIGHTS=DIR; "
    "`./build.sh --weights DIR` to bake DIR into the image; "
    "or mount the folder that holds {name} at /opt/ml/model"
)
_COMES_ALONG = "it lies in algorithm/weights of the project: DINOREG_WEIGHTS=DIR names that folder"


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """A checkpoint as Meta publishes it (Apache-2.0), or one that comes with this project.

    Attributes:
        variant: our name of it.
        model: folder of it at the publisher's; empty where it comes along.
        name: of the file.
        sha256: of the file.
        size: bytes, None where no source states it.
        seen_in: number of independent public files found that state this digest; 10 means at least 10.
    """

    variant: str
    model: str
    name: str
    sha256: str
    size: int | None
    seen_in: int

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"{_BASE_URL}/{self.model}/{self.name}"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Weights that were found and whose digest was checked.

    Attributes:
        path: a file, or a Hugging Face folder.
        sha256: of the file, or of the folder's `model.safetensors`.
        provenance: "official" if the digest is the pinned one, else "custom".
    """

    path: Path
    sha256: str
    provenance: Literal["official", "custom"]


# Letter of the size, registers, sha256, bytes, seen in.
_PINNED = (
    ("s", "", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", 88_283_115, 10),
    ("s", "reg", "f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb", None, 10),
    ("b", "", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73", 346_378_731, 10),
    ("b", "reg", "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71", 346_393_545, 10),
    ("l", "", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", 1_217_586_395, 10),
    ("l", "reg", "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51", 1_217_607_321, 10),
    ("g", "", "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3", 4_546_108_579, 8),
    ("g", "reg", "746ecb8c6301c645c5c855be91687d274587d6e48fdaec4a729753160b34a283", 4_546_140_349, 6),
)
_FILES = (
    OfficialFile(
        variant=f"vit{letter}14-reg" if registers else f"vit{letter}14",
        model=f"dinov2_vit{letter}14",  # the same folder with and without registers
        name=f"dinov2_vit{letter}14_{'reg4_' if registers else ''}pretrain.pth",
        sha256=sha256,
        size=size,
        seen_in=seen_in,
    )
    for letter, registers, sha256, size, seen_in in _PINNED
)
OFFICIAL = MappingProxyType({file.variant: file for file in _FILES})
SHIPPED = OfficialFile(
    "dino3d",
    "",
    "dino3d.safetensors",
    "d8687fba9adc8458bda03ab6850a7c2f1bf8733a02f8162220039ef1574875a0",
    13290200,
    1,
)


def official_file(variant: str) -> OfficialFile:
    """Return the official file of a variant, which may also be given by its file name.

    Raises:
        WeightsError: there is no such variant.
    """
    for file in OFFICIAL.values():
        if variant in (file.variant, file.name):
            return file
    close = nearest(variant, OFFICIAL)
    remedy = f"did you mean {close}?" if close else ""
    raise WeightsError(
        Fault("unknown variant of DINOv2", variant, expected=", ".join(OFFICIAL), remedy=remedy)
    )


def known_file(variant: str) -> OfficialFile:
    """Return the file that comes along or, as `official_file`, one of DINOv2."""
    return SHIPPED if variant in (SHIPPED.variant, SHIPPED.name) else official_file(variant)


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

    A file under the official name must have the pinned digest. Any other file is "custom": it needs either
    an explicit path or its digest. In a folder the official name comes first, then `VARIANT.pth`,
    `VARIANT.safetensors` and a Hugging Face folder `VARIANT`. The first find counts, and if it is wrong that
    is an error, not a reason to go on.

    Args:
        variant: such as "vitl14-reg".
        explicit: a file, a Hugging Face folder, or a folder to look in instead of `folders`.
        sha256: the digest that the file has to have; by default the pinned one of an official file.
        folders: by default `search_folders()`.

    Raises:
        WeightsError: unknown variant, nothing found, wrong digest, or a custom file that nobody vouched for.
    """
    official = known_file(variant)
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
    return None


def in_search_folders(path: Path) -> Path:
    """Return a path as it is, or where it is not there the first place of it in `search_folders()`."""
    candidates = [path, *(folder / path for folder in search_folders())]
    return next((place for place in candidates if place.exists()), path)


def own_weights(path: Path, *, sha256: str | None = None) -> WeightsFile:
    """Check a checkpoint that the user brings along, such as DINOv3; it is always "custom".

    Args:
        path: a file or a Hugging Face folder. A name that ends in 8 hexadecimal digits, as those of DINOv3
            do, states the beginning of the digest.
        sha256: the digest that the file has to have, if it is known.

    Raises:
        WeightsError: it is not there, or the digest is another one.
    """
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


def is_model_folder(path: Path) -> bool:
    """Tell whether a path is a Hugging Face folder."""
    return (path / "config.json").is_file()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, or of a Hugging Face folder's tensors.

    Raises:
        WeightsError: it cannot be read.
    """
    file = path / MODEL_FILE if path.is_dir() else path
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(Fault("cannot read the weights", str(file), got=str(error.strerror))) from error


def _checked(path: Path, official: OfficialFile, sha256: str | None, *, vouched: bool) -> WeightsFile:
    digest = file_digest(path)
    expected = sha256 or (official.sha256 if path.name == official.name else None)
    if expected is not None and digest != expected.lower():
        raise _mismatch(path, expected, digest)
    if digest == official.sha256:
        return WeightsFile(path, digest, "official")
    if expected is None and not vouched:
        raise WeightsError(
            Fault(
                "weights that are not the official ones",
                str(path),
                expected=f"sha256 {official.sha256}",
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
