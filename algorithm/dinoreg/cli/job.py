"""`dinoreg job`: a sample job of Grand Challenge from two scans, to try a submission with."""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dinoreg.errors import ConfigError
from regtask.atomic import atomic_write_text
from regtask.errors import Fault, OutputError

log = logging.getLogger(__name__)

_PARTS = ("fixed", "moving", "fixed-mask", "moving-mask")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_DESCRIPTION = """Write the folder that Grand Challenge mounts at /input: inputs.json, and each image as .mha
in the folder of its socket. Register it with: docker run -v JOB:/input:ro -v OUT:/output IMAGE"""


def add_job_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    parser = verbs.add_parser("job", help="write a sample Grand Challenge job", description=_DESCRIPTION)
    parser.add_argument("--fixed", type=Path, required=True, metavar="SCAN")
    parser.add_argument("--moving", type=Path, required=True, metavar="SCAN")
    for role in ("fixed", "moving"):
        parser.add_argument(f"--{role}-mask", type=Path, metavar="MASK", help="what counts")
    parser.add_argument("--output", type=Path, required=True, metavar="JOB", help="a new or empty folder")
    parser.add_argument(
        "--socket",
        action="append",
        default=[],
        metavar="PART=SLUG",
        help=f"the challenge's name of an image ({', '.join(_PARTS)}; default: fixed-image, fixed-mask, ...)",
    )


def run_job(options: argparse.Namespace) -> None:
    """Run the verb from parsed options.

    Raises:
        ConfigError: a socket that is none.
        DataError: an image cannot be read.
        OutputError: the folder has files already, or cannot be written.
    """
    from dinoreg.desk.images import read_typed, write_any
    from dinoreg.desk.output import in_stored_type

    slugs = _slugs(options.socket)
    images = {part: getattr(options, part.replace("-", "_")) for part in _PARTS}
    read = {part: read_typed(path, what=part) for part, path in images.items() if path is not None}
    folder = options.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(folder), got=str(error))) from error
    if occupied:
        raise OutputError(Fault("output exists already", str(folder), remedy="choose an empty folder"))
    for part, (volume, dtype) in read.items():
        write_any(
            folder / "images" / slugs[part] / f"{part}.mha", in_stored_type(volume.data, dtype), volume.grid
        )
    entries = [_entry(slugs[part], images[part].name) for part in read]
    atomic_write_text(folder / "inputs.json", json.dumps(entries, indent=4) + "\n")
    log.info("%s: %s", folder, ", ".join(slugs[part] for part in read))


def _slugs(words: Sequence[str]) -> dict[str, str]:
    """Join `PART=SLUG` words with the default slugs.

    Raises:
        ConfigError: a word of another form, or one slug for two images.
    """
    slugs = {part: part if part.endswith("mask") else f"{part}-image" for part in _PARTS}
    faults = []
    for word in words:
        part, _, slug = word.partition("=")
        if part in slugs and _SLUG.fullmatch(slug):
            slugs[part] = slug
        else:
            form = f"PART=SLUG, {', '.join(_PARTS)}; a slug has small letters, digits and hyphens"
            faults.append(Fault("not a socket", f"--socket {word}", form))
    if len(set(slugs.values())) < len(slugs):
        faults.append(
            Fault("one slug for two images", "--socket", "all different", ", ".join(slugs.values()))
        )
    if faults:
        raise ConfigError(*faults)
    return slugs


def _entry(slug: str, name: str) -> dict[str, Any]:
    kinds = ("image", "panimg", "dicom_image", "json", "file")
    flags = {f"is_{kind}_kind": kind in ("image", "panimg") for kind in kinds}
    return {
        "socket": {"slug": slug, "relative_path": f"images/{slug}", **flags},
        "file": None,
        "image": {"name": name},
        "value": None,
    }
