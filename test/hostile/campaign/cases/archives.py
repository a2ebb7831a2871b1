"""Zip archives as submissions."""

import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from campaign import commands
from campaign.builders import SHAPE, flipped, nifti, packed, zipped
from campaign.case import Case, words
from campaign.task import FIELD

_FIELD = packed(nifti(np.zeros((*SHAPE, 3), np.float32)))
_SOUND = zipped((FIELD, _FIELD))


def _entry(name: str, mode: int = 0, flags: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.flag_bits = flags
    return info


def _claimed(size: int) -> bytes:
    """An archive whose directory claims another size of its member."""
    place = _SOUND.rindex(b"PK\x01\x02")
    return _SOUND[: place + 24] + struct.pack("<I", size) + _SOUND[place + 28 :]


def _overlapping() -> bytes:
    """An archive whose members all claim the same bytes, as the bomb of D. Fifield (2019)."""
    place, end = _SOUND.rindex(b"PK\x01\x02"), _SOUND.rindex(b"PK\x05\x06")
    directory = b"".join(
        _SOUND[place:end].replace(FIELD.encode(), f"disp_{n:04}_0000_{n:04}_0001.nii.gz".encode())
        for n in range(1, 1000)
    )
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 999, 999, len(directory), place, 0)
    return _SOUND[:place] + directory + tail


# What it is -> the archive, and what has to be said.
ARCHIVES: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "not a zip"),
    "text": (b"no zip", "not a zip"),
    "no members": (zipped(), "no displacement field"),
    "cut": (_SOUND[:-30], "not a zip"),
    "damaged directory": (flipped(_SOUND, _SOUND.rindex(b"PK\x01\x02") + 2), "not a zip"),
    "damaged member": (flipped(_SOUND, 60), ""),
    "path to the root": (zipped(("/etc/" + FIELD, _FIELD)), "leaves the archive"),
    "path upwards": (zipped(("../" + FIELD, _FIELD)), "leaves the archive"),
    "path of another system": (zipped(("..\\" + FIELD, _FIELD)), "leaves the archive"),
    "drive": (zipped(("C:" + FIELD, _FIELD)), "leaves the archive"),
    "a link": (zipped((_entry(FIELD, stat.S_IFLNK | 0o777), b"/etc/passwd")), "not a file"),
    "a pipe": (zipped((_entry(FIELD, stat.S_IFIFO | 0o666), b"")), "not a file"),
    "encrypted": (flipped(_SOUND, _SOUND.rindex(b"PK\x01\x02") + 8, 1), "encrypted"),
    "bzip2": (zipped((FIELD, _FIELD), method=zipfile.ZIP_BZIP2), "unknown compression"),
    "method 99": (flipped(_SOUND, _SOUND.rindex(b"PK\x01\x02") + 10, 0x6B), "unknown compression"),
    "claims 4 GB": (_claimed((1 << 32) - 2), ""),
    "claims a byte": (_claimed(1), ""),
    "members that overlap": (_overlapping(), "members overlap"),
    "a name of 60,000 characters": (zipped(("x" * 60_000, b"1")), "no displacement field"),
    "a name that is no text": (
        zipped((FIELD, _FIELD)).replace(b"disp_0001_0000", b"\xff\xfe\xfd\xfc_0001_0000"),
        "",
    ),
    "20,000 members": (zipped(*((f"{n}.txt", b"") for n in range(20_000))), "too many files"),
    "folders of fields": (zipped(("a/" + FIELD, _FIELD), ("b/" + FIELD, _FIELD)), "several folders"),
    "a zip in a zip": (zipped(("fields.zip", _SOUND)), "no displacement field"),
}


def _maker(content: bytes, verb: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        path = folder / "fields.zip"
        path.write_bytes(content)
        description = folder / "task/Knee_dataset.json"
        return words(verb, "--predictions", path, "--dataset", description)

    def mounted(folder: Path) -> list[str]:
        (folder / "input").mkdir()
        (folder / "input/fields.zip").write_bytes(content)
        return commands.phase(folder)

    return mounted if verb == "container" else make


def cases() -> Iterator[Case]:
    for name, (content, says) in ARCHIVES.items():
        yield Case(f"archive: {name}: evaluate", "regeval", _maker(content, "evaluate"), says=says)
        yield Case(f"archive: {name}: check", "regeval", _maker(content, "check"), frozenset({1, 3}))
        yield Case(f"archive: {name}: container", "evaluation", _maker(content, "container"))
    for verb, program in (("evaluate", "regeval"), ("check", "regeval")):
        yield Case(f"archive: sound: {verb}", program, _maker(_SOUND, verb), frozenset({0}))
