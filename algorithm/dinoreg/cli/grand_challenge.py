"""Grand Challenge's exec mode: two images in, one displacement field and a report out.

Moving is brought to the fixed image's grid and the pair is registered like any other. The field returns to
scanner space, so that ITK's DisplacementFieldTransform made from it warps the moving image, on its own grid,
onto the fixed one.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dinoreg.cli.options import chosen_config, let_threads_sleep
from dinoreg.errors import ConfigError, VerdictError
from regtask.atomic import atomic_write_text
from regtask.documents import read_json
from regtask.errors import DataError, Fault, OutputError, nearest
from regtask.images import Volume
from regtask.metaimage import read_volume_mha, write_field_mha
from regtask.physical import voxels_to_lps
from regtask.sockets import Role, Slot, find_slot, image_slots

if TYPE_CHECKING:
    from dinoreg.preprocess.pair import Scan

log = logging.getLogger(__name__)

_INPUTS = "inputs.json"
_MASKS: tuple[Role, ...] = ("fixed-mask", "moving-mask")
_ROLES: tuple[Role, ...] = ("fixed", "moving", *_MASKS)
_OUTPUTS = {"field": "images/displacement-field", "report": "registration-report.json"}
_MASK_OF: Mapping[Role, Role] = {"fixed": "fixed-mask", "moving": "moving-mask"}


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
    let_threads_sleep()
    from dinoreg.encoders.pool import EncoderPool
    from dinoreg.preprocess.together import bring_together
    from dinoreg.runtime import choose_device
    from dinoreg.settings.load import config_hash
    from dinoreg.task.entry import attempt, registration_facts, say_verdicts
    from dinoreg.task.manifest import run_header

    names = _socket_names(options.socket)
    images = _read_inputs(options.input, names)
    fixed = images["fixed"].volume.grid
    config = chosen_config(options)
    pool = EncoderPool(choose_device(options.device))
    digests = {n: source.digests for n, source in enumerate(pool.sources(config.features.encoders))}
    header = run_header(config, pool, config_hash(config, digests))
    together = bring_together(_scan(images, "fixed"), _scan(images, "moving"))
    begin = time.perf_counter()
    found = attempt("job", lambda: together.pair, config, pool=pool, on_failure=options.on_failure)
    vectors, fallback = found.safe_field(together.pair.fixed.grid.shape)

    field_path = _made(options.output / names["field"]) / "displacement-field.mha"
    write_field_mha(field_path, voxels_to_lps(together.crop(vectors), fixed, together.read_on), fixed)
    entry: dict[str, Any] = {"status": "ok", "seconds": round(time.perf_counter() - begin, 3)}
    if found.registration is not None:
        entry |= registration_facts(found.registration)
    else:
        entry |= {"status": "fallback", "error": found.error, "fallback": fallback}
    content = header | {
        "pairs": {"job": entry},
        "grand_challenge": {
            "sockets": {role: image.slot.slug for role, image in images.items()},
            "field": "millimetres, LPS, on the grid of the fixed image",
            "moved_before_mm": (together.read_on.affine[:3, 3] - fixed.affine[:3, 3]).tolist(),
        },
    }
    report = options.output / names["report"]
    _made(report.parent)
    atomic_write_text(report, json.dumps(content, indent=1, allow_nan=False) + "\n")
    unbelieved = say_verdicts({"job": entry})
    if options.strict and unbelieved:
        raise VerdictError(*unbelieved)


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
    for role, image in images.items():
        if text := image.volume.invalid_text():
            log.warning("%s: %s", role, text)
    return images


def _only_image(folder: Path) -> Path:
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if len(files) == 1 and files[0].suffix == ".mha":
        return files[0]
    got = ", ".join(path.name for path in files[:5]) or "none"
    raise DataError(Fault("one image is needed", str(folder), "one .mha file", got))


def _scan(images: Mapping[Role, _Input], role: Role) -> Scan:
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


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(folder), got=str(error))) from error
    return folder
