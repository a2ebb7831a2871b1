"""NIfTI files with lying headers, damaged content and values without meaning."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from campaign import commands
from campaign.builders import SHAPE, flipped, gzip_zeros, nifti, packed
from campaign.case import Case

NAN, INF = math.nan, math.inf
_NUMBERED = np.arange(math.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
_FLOATS = _NUMBERED.astype(np.float32)
_CUBE = (3, 1000, 1000, 1000, 1, 1, 1, 1)
_PLAIN = {"scl_slope": 0.0}

# What it is -> the fields of the header, and what has to be said.
LIES: dict[str, tuple[dict, str]] = {
    "dim zero": ({"dim": (3, 12, 0, 8, 1, 1, 1, 1)}, "impossible dimensions"),
    "dim negative": ({"dim": (3, 12, -10, 8, 1, 1, 1, 1)}, "impossible dimensions"),
    "no axes": ({"dim": (0, 12, 10, 8, 1, 1, 1, 1)}, "impossible dimensions"),
    "nine axes": ({"dim": (9, 12, 10, 8, 1, 1, 1, 1)}, "impossible dimensions"),
    "axes of a big-endian file": ({"dim": (768, 12, 10, 8, 1, 1, 1, 1)}, ""),
    "asks for 18 GB": ({"dim": (3, 2080, 2080, 2080, 1, 1, 1, 1)}, "file ends too early"),
    "overflows 64 bits": ({"dim": (7, *[32767] * 7)}, "file ends too early"),
    "time points": ({"dim": (4, 12, 10, 4, 2, 1, 1, 1)}, "not a single volume"),
    "spacing NaN": ({"pixdim": (1, 2, NAN, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing infinite": ({"pixdim": (1, INF, 3, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing zero": ({"pixdim": (1, 2, 3, 0, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing negative": ({"pixdim": (1, 2, -3, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing 1e-30": ({"pixdim": (1, 2, 1e-30, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing 1e30": ({"pixdim": (1, 2, 3, 1e30, 0, 0, 0, 0)}, "impossible voxel size"),
    "slope NaN": ({"scl_slope": NAN}, "impossible intensity scale"),
    "slope infinite": ({"scl_slope": -INF}, "impossible intensity scale"),
    "intercept NaN": ({"scl_inter": NAN}, "impossible intensity scale"),
    "rgb": ({"datatype": 128, "bitpix": 24}, "unusable voxel type"),
    "complex": ({"datatype": 32, "bitpix": 64}, "unusable voxel type"),
    "long double": ({"datatype": 1536, "bitpix": 128}, "unusable voxel type"),
    "bits": ({"datatype": 1, "bitpix": 1}, "unusable voxel type"),
    "type zero": ({"datatype": 0}, "unusable voxel type"),
    "type negative": ({"datatype": -1}, "unusable voxel type"),
    "bitpix": ({"bitpix": 8}, "header contradicts itself"),
    "offset in the header": ({"vox_offset": 100}, "impossible vox_offset"),
    "offset NaN": ({"vox_offset": NAN}, "impossible vox_offset"),
    "offset infinite": ({"vox_offset": INF}, "impossible vox_offset"),
    "offset negative": ({"vox_offset": -352}, "impossible vox_offset"),
    "offset of gigabytes": ({"vox_offset": 2e9}, "impossible vox_offset"),
    "offset beyond the file": ({"vox_offset": 1e6}, "file ends too early"),
    "flat sform": ({"srow": (2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0)}, "affine without volume"),
    "parallel axes": ({"srow": (2, 2, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0)}, "affine without volume"),
    "sform NaN": ({"srow": (NAN, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0)}, "not an affine"),
    "sform 1e30": ({"srow": (1e30, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0)}, "impossible voxel size"),
    "sform 1e-30": ({"srow": (1e-30, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0)}, "impossible voxel size"),
    "origin 1e30": ({"srow": (2, 0, 0, 1e30, 0, 3, 0, 0, 0, 0, 1, 0)}, "impossible origin"),
    "bad quaternion": (
        {"sform_code": 0, "qform_code": 1, "quaternion": (3, 0, 0, 0, 0, 0)},
        "impossible qform",
    ),
    "quaternion NaN": ({"sform_code": 0, "qform_code": 1, "quaternion": (NAN, 0, 0, 0, 0, 0)}, ""),
    "quaternion 1e38": ({"sform_code": 0, "qform_code": 1, "quaternion": (1e38,) * 6}, "impossible qform"),
    "handedness 7": (
        {"sform_code": 0, "qform_code": 1, "pixdim": (7, 2, 2, 3, 0, 0, 0, 0)},
        "impossible qform",
    ),
    "pair of files": ({"magic": b"ni1\0"}, "not a NIfTI"),
    "no magic": ({"magic": b"\0\0\0\0"}, "not a NIfTI"),
}
_WHOLE = nifti(_NUMBERED)
_PACKED = packed(_WHOLE)

# What it is -> suffix, content, and what has to be said.
DAMAGE: dict[str, tuple[str, bytes, str]] = {
    "empty": (".nii.gz", b"", "empty file"),
    "one byte": (".nii.gz", b"\x1f", "suffix does not fit"),
    "gzip magic only": (".nii.gz", b"\x1f\x8b", "too early"),
    "text": (".nii.gz", b"no image\n", "suffix does not fit"),
    "not packed": (".nii.gz", _WHOLE, "suffix does not fit"),
    "gzip of nothing": (".nii.gz", packed(b""), "not a NIfTI"),
    "gzip of text": (".nii.gz", packed(b"no image" * 100), "not a NIfTI"),
    "gzip of gzip": (".nii.gz", packed(_PACKED), "not a NIfTI"),
    "cut in half": (".nii.gz", _PACKED[: len(_PACKED) // 2], "too early"),
    "cut by a byte": (".nii.gz", _PACKED[:-1], "too early"),
    "cut in the header": (".nii.gz", packed(_WHOLE[:300]), "not a NIfTI"),
    "cut in the voxels": (".nii.gz", packed(_WHOLE[:-1]), "too early"),
    "wrong checksum": (".nii.gz", flipped(_PACKED, -6), "damaged gzip"),
    "damaged middle": (".nii.gz", flipped(_PACKED, len(_PACKED) // 2), ""),
    "reserved deflate block": (".nii.gz", _PACKED[:10] + b"\x07" + _PACKED[11:], ""),
    "bomb of 1 GB": (".nii.gz", b"bomb", "too large for this machine"),
    "bomb behind an offset": (".nii.gz", b"far", "impossible vox_offset"),
    "bomb behind a sound image": (".nii.gz", b"behind", ""),
    "a hundred thousand empty members": (".nii.gz", _PACKED + packed(b"") * 100_000, ""),
}
# Values without meaning: as image they are left out, elsewhere they are faults.
VALUES: dict[str, tuple[np.ndarray, dict]] = {
    "one NaN": (np.where(_FLOATS == 5, np.float32(NAN), _FLOATS), {}),
    "half infinite": (np.where(_FLOATS % 2 == 0, np.float32(INF), _FLOATS), {}),
    "all NaN": (np.full(SHAPE, NAN, np.float32), {}),
    "overflow by the scale": (_NUMBERED, {"scl_slope": 3e38}),
    "constant": (np.full(SHAPE, 7, np.int16), {}),
    "fractions": (_FLOATS + 0.5, {}),
    "beyond 32 bits": (_FLOATS.astype(np.float64) * 1e12, {}),
}


def _content(key: bytes) -> bytes:
    """Make the bombs where they are needed: a gigabyte of zeros takes seconds to pack."""
    if key == b"bomb":
        return gzip_zeros(nifti(np.zeros(SHAPE, np.uint8), data=b"", dim=_CUBE), 954)
    if key == b"far":
        return gzip_zeros(nifti(vox_offset=2e9), 64)
    if key == b"behind":
        return gzip_zeros(_WHOLE, 256)
    return key


def _writer(
    part: str, suffix: str, content: bytes, command: Callable[[Path], list[str]]
) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        path = folder / f"task/{part}Tr/Knee_0001_0000.nii.gz"
        path.unlink()
        path.with_name("Knee_0001_0000" + suffix).write_bytes(_content(content))
        if suffix != ".nii.gz":
            description = folder / "task/Knee_dataset.json"
            description.write_text(description.read_text().replace("0000.nii.gz", f"0000{suffix}"))
        return command(folder)

    return make


_READERS = (("images", "dinoreg", commands.run), ("labels", "regeval", commands.evaluate))


def cases() -> Iterator[Case]:
    for name, (lie, says) in LIES.items():
        for part, program, command in _READERS:
            make = _writer(part, ".nii.gz", packed(nifti(_NUMBERED, **lie)), command)
            yield Case(f"nifti header: {name}: {part}", program, make, says=says)
        make = _writer("images", ".nii", nifti(_NUMBERED, **lie), commands.run)
        yield Case(f"nifti header: {name}: not packed", "dinoreg", make, says=says)
    for name, (suffix, content, says) in DAMAGE.items():
        heavy = content in (b"bomb", b"far")
        sound = name in ("bomb behind a sound image", "a hundred thousand empty members")
        for part, program, command in (*_READERS, ("masks", "regeval", commands.evaluate)):
            codes = frozenset({0, 3} if sound else {3})
            make = _writer(part, suffix, content, command)
            yield Case(f"nifti file: {name}: {part}", program, make, codes, says, heavy=heavy)
    for name, (array, fields) in VALUES.items():
        for part, program, command in (*_READERS, ("masks", "regeval", commands.evaluate)):
            fine = part == "images" and name in ("one NaN", "half infinite", "fractions", "beyond 32 bits")
            fine |= part == "labels" and name == "constant"
            make = _writer(part, ".nii.gz", packed(nifti(array, **fields)), command)
            yield Case(f"nifti values: {name}: {part}", program, make, frozenset({0 if fine else 3}))
    swapped = packed(nifti(_NUMBERED, order=">"))
    yield Case(
        "nifti header: big-endian",
        "dinoreg",
        _writer("images", ".nii.gz", swapped, commands.run),
        frozenset({0}),
    )
    extended = packed(nifti(_NUMBERED, extra=b"\x01\0\0\0" + b"\xff\xff\xff\x7f" * 3, vox_offset=368))
    yield Case(
        "nifti header: extension of 2 GB",
        "regeval",
        _writer("images", ".nii.gz", extended, commands.evaluate),
        frozenset({0}),
    )
