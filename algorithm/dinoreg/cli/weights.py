"""`dinoreg weights list | verify | fetch`: the weights of the encoders. No torch here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dinoreg.errors import WeightsError
from dinoreg.weights.model_folder import is_model_folder
from dinoreg.weights.official import OFFICIAL, SHIPPED, OfficialFile, known_file, official_file
from dinoreg.weights.search import WeightsFile, find_weights, locate, search_folders
from regtask.errors import Fault


def add_weights_parser(verbs: Any) -> None:
    """Add the verb `weights` to the subparsers of the command."""
    parser = verbs.add_parser("weights", help="list, verify or fetch the weights of the encoders")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every variant: found or not, where, and whether it is the official file")
    verify = actions.add_parser("verify", help="check digests; fails unless all are the official ones")
    verify.add_argument("names", nargs="*", metavar="NAME", help="variants; default: all that are found")
    verify.add_argument("--path", type=Path, help="file or folder, instead of the usual folders")
    fetch = actions.add_parser("fetch", help="download an official file and check its digest")
    fetch.add_argument("name", metavar="NAME", help=", ".join(OFFICIAL))
    fetch.add_argument("--output", type=Path, required=True, metavar="DIR")
    fetch.add_argument("--mirror", metavar="URL", help="folder that serves the files under their own names")


def run_weights(options: argparse.Namespace) -> None:
    """Run the verb from parsed options."""
    if options.action == "list":
        _list()
    elif options.action == "verify":
        _verify([known_file(name) for name in options.names], options.path)
    else:
        from dinoreg.weights.fetch import fetch_weights

        file = official_file(options.name)
        url = f"{options.mirror.rstrip('/')}/{file.name}" if options.mirror else None
        sys.stdout.write(f"{fetch_weights(file, options.output, url=url)}: official\n")


def _known() -> list[OfficialFile]:
    return [*OFFICIAL.values(), SHIPPED]


def _list() -> None:
    folders = search_folders()
    sys.stdout.write(f"looked for in: {', '.join(map(str, folders))}\n")
    for file in _known():
        path = locate(file, folders)
        state = "absent" if path is None else _state(file, path)
        size = f"{file.size / 1e6:.0f} MB" if file.size else ""
        sys.stdout.write(f"{file.variant:<12}{file.name:<34}{size:>8}  {state}\n")


def _state(file: OfficialFile, path: Path) -> str:
    try:
        found = find_weights(file.variant, path)
    except WeightsError as error:
        return f"WRONG  {error}"
    return f"{found.provenance}  {found.path}"


def _verify(files: list[OfficialFile], path: Path | None) -> None:
    if not files and path is not None and (path.is_file() or is_model_folder(path)):
        files = [file for file in _known() if path.name in _names(file)]
        if not files:
            raise WeightsError(
                Fault("which variant is it?", str(path), remedy="name it: dinoreg weights verify NAME --path")
            )
    folders = search_folders() if path is None else (path,)
    if not files:
        files = [file for file in _known() if locate(file, folders)]
    if not files:
        where = ", ".join(map(str, folders))
        raise WeightsError(
            Fault("no weights found", where, remedy="dinoreg weights fetch NAME --output DIR, or --path")
        )
    faults: list[Fault] = []
    for file in files:
        try:
            found = find_weights(file.variant, path)
        except WeightsError as error:
            faults += error.faults
            continue
        sys.stdout.write(f"{file.variant}: {found.provenance}, sha256 {found.sha256}, {found.path}\n")
        if found.provenance != "official":
            faults.append(_not_official(file, found))
    if faults:
        raise WeightsError(faults[0], *faults[1:])


def _not_official(file: OfficialFile, found: WeightsFile) -> Fault:
    expected = f"sha256 {' or '.join(file.digests)}"
    return Fault("not the official file", str(found.path), expected, f"sha256 {found.sha256}")


def _names(file: OfficialFile) -> tuple[str, ...]:
    """The names of a file, and of the folder of the same model on Hugging Face."""
    return (file.name, Path(file.folder.name).name) if file.folder else (file.name,)
