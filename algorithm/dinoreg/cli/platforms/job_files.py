"""The files of a Grand Challenge job: which sockets play which part, and the images in them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dinoreg.errors import ConfigError
from regtask.documents import read_json
from regtask.errors import DataError, Fault, nearest
from regtask.images import Volume
from regtask.metaimage import read_volume_mha
from regtask.sockets import Role, Slot, find_slot, image_slots

if TYPE_CHECKING:
    from dinoreg.preprocess.pair import Scan

log = logging.getLogger(__name__)

INPUTS = "inputs.json"
MASKS: tuple[Role, ...] = ("fixed-mask", "moving-mask")
ROLES: tuple[Role, ...] = ("fixed", "moving", *MASKS)
OUTPUTS: Mapping[str, str] = {"field": "images/displacement-field", "report": "registration-report.json"}
_MASK_OF: Mapping[Role, Role] = {"fixed": "fixed-mask", "moving": "moving-mask"}
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Input:
    """An image of the job and the slot it came in."""

    slot: Slot
    volume: Volume


def is_job(folder: Path) -> bool:
    """Tell whether an input folder is a job of this platform and no Learn2Reg task."""
    return (folder / INPUTS).is_file() and not any(folder.glob("*_dataset.json"))


def socket_names(words: Sequence[str]) -> dict[str, str]:
    """Join `PART=NAME` words with the default outputs.

    Raises:
        ConfigError: a word that names no part, or a name that leaves the output folder.
    """
    known = (*ROLES, *OUTPUTS)
    names, faults = dict(OUTPUTS), []
    for word in words:
        part, separator, name = word.partition("=")
        if part in known and separator and name and not name.startswith("/") and ".." not in name.split("/"):
            names[part] = name
            continue
        close = nearest(part, known)
        remedy = f"did you mean {close}?" if close and close != part else ""
        faults.append(Fault("not a socket", f"--socket {word}", f"PART=NAME, {', '.join(known)}", "", remedy))
    if faults:
        raise ConfigError(*faults)
    return names


def read_inputs(folder: Path, names: Mapping[str, str]) -> dict[Role, Input]:
    """Read the images of a job; masks only where the job has them.

    Args:
        folder: `/input`.
        names: of `socket_names`.

    Raises:
        DataError: the list of inputs or an image cannot be used.
    """
    path = folder / INPUTS
    slots = image_slots(read_json(path), str(path))
    chosen = {role: find_slot(slots, role, names, str(path)) for role in ROLES}
    missing = [role for role in ROLES if chosen[role] is None and role not in MASKS]
    if missing:
        got = ", ".join(slot.slug for slot in slots) or "no images"
        remedy = "name them: " + " ".join(f"--socket {role}=SLUG" for role in missing)
        raise DataError(Fault(f"no socket for {' and '.join(missing)}", str(path), got=got, remedy=remedy))
    images = {
        role: Input(slot, _read(_only_image(folder / slot.relative_path)))
        for role, slot in chosen.items()
        if slot is not None
    }
    for role in MASKS:
        if role in images and (text := images[role].volume.invalid_text()):
            raise DataError(Fault("mask with voxels without a value", role, "numbers", text))
    for role, image in images.items():
        if text := image.volume.invalid_text():
            log.warning("%s: %s", role, text)
    return images


def scan_of(images: Mapping[Role, Input], role: Role) -> Scan:
    """Return an image of the job with its mask; the words of its slug name the modality where any do."""
    from dinoreg.preprocess.pair import Scan
    from dinoreg.space.regrid import regrid  # scipy.ndimage only where it is wanted

    image, mask = images[role], images.get(_MASK_OF[role])
    inside = None
    if mask is not None:
        stored = (mask.volume.data > 0).astype(np.float32)
        inside = regrid(stored, mask.volume.grid, image.volume.grid, order=0, outside=0.0) > 0
    volume = image.volume
    return Scan(volume.data, volume.grid, image.slot.slug, inside, volume.invalid, name=role)


def _only_image(folder: Path) -> Path:
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if len(files) == 1 and files[0].suffix in (".mha", *_TIFF):
        return files[0]
    got = ", ".join(path.name for path in files[:5]) or "none"
    raise DataError(Fault("one image is needed", str(folder), "one .mha, .tif or .tiff file", got))


def _read(path: Path) -> Volume:
    if path.suffix not in _TIFF:
        return read_volume_mha(path)
    from dinoreg.desk.images import read_any  # ITK only where it is wanted

    volume = read_any(path)
    log.warning(
        "%s: a TIFF says neither where it lies nor how far its pages are apart: %s mm voxels at the origin",
        path,
        " x ".join(f"{mm:g}" for mm in volume.grid.spacing_mm),
    )
    return volume
