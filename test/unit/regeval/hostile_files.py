"""Files that a hostile or unlucky participant may hand in, written byte by byte. Grid of all: (6, 5, 4)."""

import gzip
import io
import math
import os
import pickle
import struct
import zipfile

import numpy as np

SHAPE = (6, 5, 4)
SOUND = (np.arange(math.prod(SHAPE) * 3, dtype=np.float32).reshape(*SHAPE, 3) % 7) / 10


def nifti(array=SOUND, *, offset=352, dim=None, datatype=16, bitpix=32, data=None, slope=1.0) -> bytes:
    """A NIfTI-1 file with any lie in its header."""
    header = bytearray(352)
    dim = dim or (array.ndim, *array.shape, *[1] * (7 - array.ndim))
    for place, form, values in (
        (0, "i", (348,)),
        (40, "8h", dim),
        (70, "2h", (datatype, bitpix)),
        (76, "8f", (1, 1, 1, 1, 1, 1, 1, 1)),
        (108, "f", (offset,)),
        (112, "f", (slope,)),
    ):
        struct.pack_into(f"<{form}", header, place, *values)
    header[344:348] = b"n+1\0"
    return bytes(header) + (array.astype("<f4").tobytes(order="F") if data is None else data)


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def zipped(name, content, method=zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def pickled_npz(path) -> bytes:
    """An npz whose array of objects runs code when it is loaded with allow_pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("arr_0.npy", "w") as member:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|O", "fortran_order": False, "shape": (*SHAPE, 3)}
        )
        member.write(header.getvalue() + pickle.dumps(Bomb(path)))
    return stream.getvalue()


def spoilt(value, count=1) -> np.ndarray:
    field = SOUND.copy()
    field.reshape(-1)[:count] = value
    return field


def _flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0xFF
    return bytes(changed)


PACKED = gzip.compress(nifti(), mtime=0)
HUGE = (4, 2080, 2080, 2080, 3, 1, 1, 1)

# What it is -> suffix of the file, its content, and what the message has to say.
BAD_FIELDS = {
    "empty": (".nii.gz", b"", "empty file"),
    "text": (".nii.gz", b"no field\n", "suffix does not fit"),
    "gzip of text": (".nii.gz", gzip.compress(b"no field" * 100), "not a NIfTI"),
    "cut off": (".nii.gz", PACKED[: len(PACKED) // 2], "too early"),
    "cut off in the header": (".nii.gz", gzip.compress(nifti()[:300]), "not a NIfTI"),
    "cut off in the voxels": (".nii.gz", gzip.compress(nifti()[:900]), "too early"),
    "wrong checksum": (".nii.gz", _flipped(PACKED, -6), "damaged gzip"),
    "not packed": (".nii.gz", nifti(), "suffix does not fit"),
    "asks for 108 GB": (".nii.gz", gzip.compress(nifti(dim=HUGE)), "too early"),
    "asks for 108 GB, not packed": (".nii", nifti(dim=HUGE), "too early"),
    "overflows": (".nii", nifti(dim=(7, *[32767] * 7)), "too early"),
    "negative size": (".nii", nifti(dim=(4, 6, -5, 4, 3, 1, 1, 1)), "impossible dimensions"),
    "no axes": (".nii", nifti(dim=(0, 6, 5, 4, 3, 1, 1, 1)), "impossible dimensions"),
    "voxels far away": (".nii.gz", gzip.compress(nifti(offset=5e6, data=bytes(6_000_000))), "vox_offset"),
    "voxels nowhere": (".nii", nifti(offset=math.nan), "vox_offset"),
    "complex": (".nii", nifti(datatype=32, bitpix=64), "unusable voxel type"),
    "scale NaN": (".nii", nifti(slope=math.nan), "impossible intensity scale"),
    "NaN": (".nii.gz", gzip.compress(nifti(spoilt(math.nan))), "not finite.*1 of 360"),
    "infinite": (".nii", nifti(spoilt(-math.inf, 2)), "not finite.*2 of 360"),
    "scaled to infinity": (".nii", nifti(SOUND + 10, slope=3e38), "not finite"),
    "one component": (".nii", nifti(SOUND[..., 0]), "wrong rank"),
    "five axes": (".nii", nifti(SOUND[:, :, :, None]), r"wrong rank.*ITK"),
    "two components": (".nii", nifti(SOUND[..., :2]), "without three components"),
    "channel first": (".nii", nifti(np.moveaxis(SOUND, -1, 0)), "channel-first"),
    "half resolution": (".nii", nifti(SOUND[::2, ::2, ::2]), "half resolution"),
    "other shape": (".nii", nifti(SOUND[:5]), "wrong shape"),
    "npz of objects": (".npz", pickled_npz("never-made"), "real numbers.*object"),
    "npz with two arrays": (".npz", npz(a=SOUND, b=SOUND), "exactly one array"),
    "npz without arrays": (".npz", npz(), "exactly one array"),
    "npz of text": (".npz", npz(a=np.full((*SHAPE, 3), "x")), "real numbers"),
    "npz of complex": (".npz", npz(a=SOUND + 1j), "real numbers"),
    "npz with NaN": (".npz", npz(a=spoilt(math.nan)), "not finite"),
    "npz of other shape": (".npz", npz(a=SOUND[1:]), "wrong shape"),
    "npz bomb": (".npz", zipped("a.npy", bytes(3_000_000), zipfile.ZIP_BZIP2), "unknown compression"),
    "npz bomb, lzma": (".npz", zipped("a.npy", bytes(3_000_000), zipfile.ZIP_LZMA), "unknown compression"),
    "npz that is no zip": (".npz", b"PK" + bytes(100), "not a zip archive"),
    "npz cut off": (".npz", npz(a=SOUND)[:800], "not a zip archive"),
    "npz with a wrong checksum": (".npz", _flipped(npz(a=SOUND), 900), "damaged npz"),
    "npz holding something else": (".npz", zipped("a.npy", b"no array" * 50), "numpy array"),
}
