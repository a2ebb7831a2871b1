"""MetaImage files with lying headers, as Grand Challenge's container receives them."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from campaign import commands
from campaign.builders import SHAPE, gzip_zeros, mha
from campaign.case import Case
from campaign.task import JOB

_NUMBERED = np.arange(math.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
_FLOATS = _NUMBERED.astype(np.float32)
_SIZES = {"huge": "1000 1000 1000", "overflow": "99999999999 99999999999 99999999999", "digits": "9" * 4000}

# What it is -> the file, and what has to be said.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a MetaImage"),
    "text": (b"no image\n", "not a MetaImage"),
    "zeros": (bytes(10_000), "not a MetaImage"),
    "one line of a megabyte": (b"ObjectType = " + b"x" * (1 << 20), "not a MetaImage"),
    "a million lines": (b"Comment = x\n" * 1_000_000, "not a MetaImage"),
    "no size": (mha(_NUMBERED, drop=("DimSize",)), "DimSize"),
    "no axes": (mha(_NUMBERED, drop=("NDims",)), "NDims"),
    "no type": (mha(_NUMBERED, drop=("ElementType",)), "ElementType"),
    "no end of the header": (mha(_NUMBERED, drop=("ElementDataFile",)), "not a MetaImage"),
    "two axes": (mha(_NUMBERED, NDims="2"), "NDims"),
    "axes of 4,000 digits": (mha(_NUMBERED, NDims="9" * 4000), "NDims"),
    "axes in words": (mha(_NUMBERED, NDims="three"), "not usable"),
    "four axes": (mha(_NUMBERED, NDims="4"), "MetaImage"),
    "sizes in words": (mha(_NUMBERED, DimSize="a b c"), "not usable"),
    "two sizes": (mha(_NUMBERED, DimSize="12 80"), "one size of 1 or more per axis"),
    "no sizes": (mha(_NUMBERED, DimSize=""), "one size of 1 or more per axis"),
    "size zero": (mha(_NUMBERED, DimSize="12 0 8"), "one size of 1 or more per axis"),
    "size negative": (mha(_NUMBERED, DimSize="12 -10 8"), "one size of 1 or more per axis"),
    "sizes overflow": (mha(_NUMBERED, DimSize=_SIZES["overflow"]), "at most"),
    "size of 4,000 digits": (mha(_NUMBERED, DimSize=_SIZES["digits"] + " 1 1"), ""),
    "asks for 2 GB": (mha(_NUMBERED, DimSize=_SIZES["huge"]), ""),
    "asks for 2 GB, packed": (mha(_NUMBERED, DimSize=_SIZES["huge"], compress=True), ""),
    "unknown type": (mha(_NUMBERED, ElementType="MET_STRING"), "not usable"),
    "two channels": (mha(_NUMBERED, ElementNumberOfChannels="2"), "one channel"),
    "text data": (mha(_NUMBERED, BinaryData="False"), "binary data"),
    "data elsewhere": (mha(_NUMBERED, ElementDataFile="/etc/passwd"), "same file"),
    "data in a list": (mha(_NUMBERED, ElementDataFile="LIST"), "same file"),
    "bytes before the data": (mha(_NUMBERED, HeaderSize="100000"), "without extra bytes"),
    "spacing zero": (mha(_NUMBERED, ElementSpacing="2 0 3"), "affine without volume"),
    "spacing NaN": (mha(_NUMBERED, ElementSpacing="2 nan 3"), "not an affine"),
    "spacing 1e30": (mha(_NUMBERED, ElementSpacing="2 1e30 3"), "impossible voxel size"),
    "spacing 1e-30": (mha(_NUMBERED, ElementSpacing="2 1e-30 3"), "impossible voxel size"),
    "spacing 1e308": (mha(_NUMBERED, ElementSpacing="1e308 1e308 1e308"), ""),
    "spacing of two": (mha(_NUMBERED, ElementSpacing="2 2"), "3 numbers expected"),
    "offset infinite": (mha(_NUMBERED, Offset="0 inf 0"), "not an affine"),
    "offset 1e300": (mha(_NUMBERED, Offset="0 1e300 0"), "impossible origin"),
    "directions flat": (mha(_NUMBERED, TransformMatrix="1 0 0 1 0 0 0 0 1"), "affine without volume"),
    "directions infinite": (mha(_NUMBERED, TransformMatrix="inf 0 0 0 inf 0 0 0 inf"), ""),
    "directions of eight": (mha(_NUMBERED, TransformMatrix="1 0 0 0 1 0 0 0"), "9 numbers expected"),
    "cut": (mha(_NUMBERED)[:-1], "file ends too early"),
    "packed and cut": (mha(_NUMBERED, compress=True)[:-20], "too early"),
    "packed and damaged": (mha(_NUMBERED, compress=True)[:-200] + b"\xff" * 200, ""),
    "says packed, is not": (mha(_NUMBERED, CompressedData="True"), "damaged compressed"),
    "packed bomb": (mha(_NUMBERED, CompressedData="True", data=b"") + gzip_zeros(b"", 64)[10:], ""),
    "constant": (mha(np.full(SHAPE, 3, np.int16)), "constant image"),
    "all NaN": (mha(np.full(SHAPE, np.nan, np.float32)), "not finite"),
}
SOUND: dict[str, bytes] = {
    "some NaN": mha(np.where(_FLOATS % 5 == 0, np.float32(np.nan), _FLOATS)),
    "packed": mha(_NUMBERED, compress=True),
    "names in other case and more bytes": mha(_NUMBERED, Comment="\xff\xfe") + bytes(1000),
}
# Documents of the platform.
LISTS: dict[str, object] = {
    "empty": [],
    "an object": {},
    "one image": JOB[:1],
    "two fixed images": [*JOB, JOB[0]],
    "entries that are none": [1, None, "x"],
    "path out of the folder": [JOB[0], {"socket": {"slug": "moving-mr", "relative_path": "../../etc"}}],
    "absolute path": [JOB[0], {"socket": {"slug": "moving-mr", "relative_path": "/etc"}}],
    "slug of 5,000 characters": [
        JOB[0],
        {"socket": {"slug": "moving-" + "x" * 5000, "relative_path": "images/" + "x" * 5000}},
    ],
    "slug with an escape": [JOB[0], {"socket": {"slug": "moving\x1b[31m", "relative_path": "images/x"}}],
    "folder that is not there": [JOB[0], {"socket": {"slug": "moving-mr", "relative_path": "images/none"}}],
}


def write_job(folder: Path, moving: bytes, entries: object = JOB) -> None:
    """Write a job whose fixed image is sound."""
    for role, content in (("fixed", mha(_NUMBERED)), ("moving", moving)):
        place = folder / f"input/images/{role}-mr"
        place.mkdir(parents=True)
        (place / f"{role}.mha").write_bytes(content)
    (folder / "input/inputs.json").write_text(json.dumps(entries))


def _maker(moving: bytes, entries: object = JOB) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        write_job(folder, moving, entries)
        return commands.job(folder)

    return make


def cases() -> Iterator[Case]:
    for name, (content, says) in FILES.items():
        yield Case(f"metaimage: {name}", "container", _maker(content), says=says)
    for name, content in SOUND.items():
        yield Case(f"metaimage: sound: {name}", "container", _maker(content), frozenset({0}))
    for name, entries in LISTS.items():
        yield Case(f"inputs.json: {name}", "container", _maker(mha(_NUMBERED), entries))
