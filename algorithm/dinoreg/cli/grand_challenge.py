"""Grand Challenge's exec mode: two images in, one displacement field and a report out.

The pair becomes a task of one pair on the fixed image's grid and is registered like any other. The field
returns to scanner space, so that ITK's DisplacementFieldTransform made from it warps the moving image, on its
own grid, onto the fixed one.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.cli.main import run
from dinoreg.errors import ConfigError
from regtask.atomic import atomic_write_text
from regtask.documents import read_json
from regtask.errors import DataError, Fault, OutputError, nearest
from regtask.fields import read_field
from regtask.grid import Grid
from regtask.images import Volume, write_volume
from regtask.metaimage import read_volume_mha, write_field_mha
from regtask.physical import voxels_to_lps
from regtask.sockets import Role, Slot, find_slot, image_slots

log = logging.getLogger(__name__)

_INPUTS = "inputs.json"
_MASKS: tuple[Role, ...] = ("fixed-mask", "moving-mask")
_ROLES: tuple[Role, ...] = ("fixed", "moving", *_MASKS)
_OUTPUTS = {"field": "images/displacement-field", "report": "registration-report.json"}
_ROUNDING = 1e-3  # of an interpolated weight
_CASES = ("0001_0000", "0001_0001")  # fixed, moving


@dataclass(frozen=True, slots=True)
class _Input:
    """An image of the job and the slot it came in."""

    slot: Slot
    volume: Volume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only this platform needs."""
    parser.add_argument(
        "--socket",
        action="append",
        default=[],
        metavar="PART=NAME",
        help=f"Grand Challenge: slug of an input ({', '.join(_ROLES)}; default: found by the slugs' words) "
        f"or path of an output (default: {', '.join('='.join(item) for item in _OUTPUTS.items())})",
    )


def is_job(folder: Path) -> bool:
    """Tell whether an input folder is a job of this platform and no Learn2Reg task."""
    return (folder / _INPUTS).is_file() and not any(folder.glob("*_dataset.json"))


def run_job(options: argparse.Namespace) -> None:
    """Register the pair of a job.

    Args:
        options: those of a run, `input`, `output` and `socket`.

    Raises:
        ConfigError: unknown parts in `socket`.
        DataError: the list of inputs or an image cannot be used.
        OutputError: a result cannot be written.
    """
    names = _socket_names(options.socket)
    images = _read_inputs(options.input, names)
    fixed = images["fixed"].volume.grid
    with TemporaryDirectory(prefix="dinoreg-") as temporary:
        fields = Path(temporary) / "fields"
        task, working = _write_task(Path(temporary), images)
        changes = {"dataset": task, "data_dir": None, "output": fields, "split": "test"}
        run(argparse.Namespace(**(vars(options) | changes | {"resume": False, "pictures": False})))
        vectors = read_field(next(fields.glob("disp_*.nii.gz")), fixed.shape)
        manifest = json.loads((fields / "manifest.json").read_text(encoding="utf-8"))

    field_path = _made(options.output / names["field"]) / "displacement-field.mha"
    write_field_mha(field_path, voxels_to_lps(vectors, fixed, working), fixed)
    manifest["grand_challenge"] = {
        "sockets": {role: image.slot.slug for role, image in images.items()},
        "field": "millimetres, LPS, on the grid of the fixed image",
        "moved_before_mm": (working.affine[:3, 3] - fixed.affine[:3, 3]).tolist(),
    }
    report = options.output / names["report"]
    _made(report.parent)
    atomic_write_text(report, json.dumps(manifest, indent=1, allow_nan=False) + "\n")


def _socket_names(words: Sequence[str]) -> dict[str, str]:
    """Join `PART=NAME` words with the default outputs."""
    known = (*_ROLES, *_OUTPUTS)
    names, faults = dict(_OUTPUTS), []
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


def _read_inputs(folder: Path, names: Mapping[str, str]) -> dict[Role, _Input]:
    """Read the images of a job; masks only where the job has them."""
    path = folder / _INPUTS
    slots = image_slots(read_json(path), str(path))
    chosen = {role: find_slot(slots, role, names, str(path)) for role in _ROLES}
    missing = [role for role in _ROLES if chosen[role] is None and role not in _MASKS]
    if missing:
        got = ", ".join(slot.slug for slot in slots) or "no images"
        remedy = "name them: " + " ".join(f"--socket {role}=SLUG" for role in missing)
        raise DataError(Fault(f"no socket for {' and '.join(missing)}", str(path), got=got, remedy=remedy))
    images = {
        role: _Input(slot, read_volume_mha(_only_image(folder / slot.relative_path)))
        for role, slot in chosen.items()
        if slot is not None
    }
    for role in _MASKS:
        if role in images and (text := images[role].volume.invalid_text()):
            raise DataError(Fault("mask with voxels without a value", role, "numbers", text))
    return images


def _only_image(folder: Path) -> Path:
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if len(files) == 1 and files[0].suffix == ".mha":
        return files[0]
    got = ", ".join(path.name for path in files[:5]) or "none"
    raise DataError(Fault("one image is needed", str(folder), "one .mha file", got))


def _write_task(folder: Path, images: Mapping[Role, _Input]) -> tuple[Path, Grid]:
    """Write the pair as a Learn2Reg task; returns its description and the grid that moving is read on."""
    from dinoreg.space.regrid import regrid, working_grid  # scipy.ndimage only where it is wanted

    fixed, moving = images["fixed"].volume, images["moving"].volume
    working = working_grid(fixed.grid, moving.grid)
    if working is not fixed.grid:
        log.warning("fixed and moving hardly overlap in the scanner: brought centre on centre")

    def write(
        kind: str, case: str, data: NDArray[np.float32], invalid: NDArray[np.bool_] | None = None
    ) -> str:
        path = folder / f"{kind}Ts" / f"Case_{case}.nii"
        path.parent.mkdir(exist_ok=True)
        write_volume(path, data, fixed.grid, invalid=invalid)
        return f"./{kind}Ts/{path.name}"

    lowest = float(moving.data.min())
    moved = regrid(moving.data, moving.grid, working, order=1, outside=lowest)
    lacking = None
    if moving.invalid is not None:  # what is interpolated with a voxel without a value has none
        share = regrid(moving.invalid.astype(np.float32), moving.grid, working, order=1, outside=0.0)
        lacking = share > _ROUNDING
    paths = {
        "fixed": write("images", _CASES[0], fixed.data, fixed.invalid),
        "moving": write("images", _CASES[1], moved, lacking),
    }
    for role, case, grid in zip(_MASKS, _CASES, (fixed.grid, working), strict=True):
        if role in images:
            mask = images[role].volume
            inside = (mask.data > 0).astype(np.float32)
            write("masks", case, regrid(inside, mask.grid, grid, order=0, outside=0.0))
    content: dict[str, Any] = {
        "name": "Case",
        # The words of a slug name the modality where anything does.
        "modality": {"0": images["fixed"].slot.slug, "1": images["moving"].slot.slug},
        "registration_test": [paths],
    }
    path = folder / "Case_dataset.json"
    atomic_write_text(path, json.dumps(content))
    return path, working


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(folder), got=str(error))) from error
    return folder
