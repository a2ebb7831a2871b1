"""Displacement fields of a submission: NIfTI, npz, and what people pack by mistake."""

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from campaign import commands
from campaign.builders import SHAPE, flipped, gzip_zeros, nifti, npz, packed, zipped
from campaign.case import Case
from campaign.cases.images import LIES
from campaign.task import FIELD

_FIELD = np.zeros((*SHAPE, 3), np.float32)
_HUGE = (1000, 1000, 1000, 3)


def npy(shape=(*SHAPE, 3), descr="<f4", fortran=False, data=b"", version=(1, 0), magic=b"\x93NUMPY") -> bytes:
    """An npy file with any header."""
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode() + b"\n"
    return magic + bytes(version) + len(text).to_bytes(2, "little") + text + data


def _spoilt(value: float) -> np.ndarray:
    field = _FIELD.copy()
    field[3, 4, 5, 1] = value
    return field


class _Bomb:
    def __reduce__(self):
        return (Path("pwned").touch, ())


def _objects() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", npy((1,), "|O", data=pickle.dumps(_Bomb())))
    return stream.getvalue()


ARRAYS: dict[str, tuple[np.ndarray, str]] = {
    "NaN": (_spoilt(math.nan), "not finite"),
    "infinite": (_spoilt(-math.inf), "not finite"),
    "one component": (_FIELD[..., 0], "wrong rank"),
    "two components": (_FIELD[..., :2], "without three components"),
    "five axes": (_FIELD[:, :, :, None], "wrong rank"),
    "channel first": (np.moveaxis(_FIELD, -1, 0), "channel-first"),
    "half resolution": (_FIELD[::2, ::2, ::2], "half resolution"),
    "other shape": (_FIELD[1:], "wrong shape"),
}
NPZ: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a zip"),
    "no zip": (b"PK" + bytes(100), "not a zip"),
    "cut": (npz(a=_FIELD)[:800], "not a zip"),
    "wrong checksum": (flipped(npz(a=_FIELD), 900), "damaged npz"),
    "no array": (npz(), "exactly one array"),
    "two arrays": (npz(a=_FIELD, b=_FIELD), "exactly one array"),
    "objects": (_objects(), "real numbers"),
    "text": (npz(a=np.full((*SHAPE, 3), "x")), "real numbers"),
    "complex": (npz(a=_FIELD + 1j), "real numbers"),
    "truth values": (npz(a=_FIELD > 0), "real numbers"),
    "dates": (npz(a=np.zeros((*SHAPE, 3), "M8[s]")), "real numbers"),
    "a record": (zipped(("a.npy", npy(descr=[("x", "<f4"), ("y", "<f4")]))), ""),
    "asks for 12 GB": (zipped(("a.npy", npy(_HUGE))), ""),
    "asks for 12 GB, packed": (zipped(("a.npy", npy(_HUGE) + bytes(1 << 24))), ""),
    "sizes overflow": (zipped(("a.npy", npy((1 << 62, 1 << 62, 1 << 62, 3)))), "too large"),
    "size negative": (zipped(("a.npy", npy((-12, 10, 8, 3)))), "impossible size"),
    "size zero": (zipped(("a.npy", npy((0, 10, 8, 3)))), "impossible size"),
    "size of 5,000 digits": (
        zipped(("a.npy", npy((1, 1, 1, 3)).replace(b"(1, 1", b"(" + b"9" * 5000 + b", 1"))),
        "",
    ),
    "sizes in words": (zipped(("a.npy", npy(("a", 1, 1, 3)))), "numpy array"),
    "a program as its header": (zipped(("a.npy", npy().replace(b"False", b"exit()"))), "numpy array"),
    "header nested a thousand times": (
        zipped(("a.npy", npy(descr="x").replace(b"'x'", b"(" * 9000 + b")" * 9000))),
        "",
    ),
    "version 9": (zipped(("a.npy", npy(version=(9, 0)))), "numpy array"),
    "no magic": (zipped(("a.npy", npy(magic=b"\x94NUMPY"))), "numpy array"),
    "no array inside": (zipped(("a.npy", b"no array")), "numpy array"),
    "cut inside": (zipped(("a.npy", npy(data=bytes(100)))), "too early"),
    "bzip2": (zipped(("a.npy", bytes(1 << 20)), method=zipfile.ZIP_BZIP2), "unknown compression"),
    "lzma": (zipped(("a.npy", bytes(1 << 20)), method=zipfile.ZIP_LZMA), "unknown compression"),
}


def _maker(suffix: str, content: bytes, command: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        path = folder / "task/fields" / FIELD
        path.unlink()
        made = (
            gzip_zeros(nifti(np.zeros(SHAPE, np.uint8), data=b"", dim=(4, 700, 700, 700, 3, 1, 1, 1)), 982)
            if content == b"bomb"
            else content
        )
        path.with_name(FIELD.removesuffix(".nii.gz") + suffix).write_bytes(made)
        return command(folder)

    return make


def cases() -> Iterator[Case]:
    both = (("evaluate", commands.evaluate, 3), ("check", commands.check, 1))
    for name, (array, says) in ARRAYS.items():
        for verb, command, code in both:
            said = says if verb == "evaluate" else ""
            make = _maker(".nii.gz", packed(nifti(array)), command)
            yield Case(f"field: {name}: {verb}", "regeval", make, frozenset({code}), said)
            make = _maker(".npz", npz(a=array), command)
            yield Case(f"field npz: {name}: {verb}", "regeval", make, frozenset({code}), said)
    for name, (content, says) in NPZ.items():
        for verb, command, code in both:
            said = says if verb == "evaluate" else ""
            yield Case(
                f"npz: {name}: {verb}", "regeval", _maker(".npz", content, command), frozenset({code}), said
            )
    for name, (lie, _) in LIES.items():
        lie = {key: value for key, value in lie.items() if key != "dim"} or {"bitpix": 7}
        make = _maker(".nii.gz", packed(nifti(_FIELD, **lie)), commands.check)
        # Where a field lies in the scanner is not asked: it is in voxels.
        placed = {"srow", "quaternion"} & set(lie)
        yield Case(f"field header: {name}", "regeval", make, frozenset({0, 1} if placed else {1}))
    make = _maker(".nii.gz", b"bomb", commands.evaluate)
    yield Case("field: bomb of 1 GB", "regeval", make, says="shape", heavy=True)
