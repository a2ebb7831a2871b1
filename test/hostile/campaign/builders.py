"""Files written byte by byte, with any lie in them."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np

SHAPE = (12, 10, 8)
_OFFSETS = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "h"),
    "intent_code": (68, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quaternion": (256, "f"),
    "srow": (280, "f"),
    "magic": (344, "4s"),
}


def nifti(array=None, *, order="<", data=None, extra=b"", **fields) -> bytes:
    """A NIfTI-1 file; any field of its header may be set to anything."""
    array = np.zeros(SHAPE, np.int16) if array is None else array
    codes = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64}
    sound = {
        "sizeof_hdr": 348,
        "dim": (array.ndim, *array.shape, *[1] * (7 - array.ndim)),
        "datatype": codes[array.dtype.name],
        "bitpix": array.dtype.itemsize * 8,
        "pixdim": (1, 2, 2, 3, 1, 1, 1, 1),
        "vox_offset": 352,
        "scl_slope": 1,
        "sform_code": 1,
        "srow": (2, 0, 0, -10, 0, 2, 0, -8, 0, 0, 3, 4),
        "magic": b"n+1\0",
    }
    header = bytearray(352)
    for key, value in (sound | fields).items():
        offset, form = _OFFSETS[key]
        values = value if isinstance(value, tuple) else (value,)
        struct.pack_into(order + len(values) * form, header, offset, *values)
    voxels = array.astype(array.dtype.newbyteorder(order)).tobytes(order="F") if data is None else data
    return bytes(header) + extra + voxels


def packed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1, mtime=0)


def gzip_zeros(head: bytes, mebibytes: int) -> bytes:
    """A gzip stream of a head and as many MiB of zeros, a thousandth of its size."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as target:
        target.write(head)
        for _ in range(mebibytes):
            target.write(bytes(1 << 20))
    return stream.getvalue()


def mha(array=None, *, data=None, drop=(), head=None, compress=False, **keys) -> bytes:
    """A MetaImage file; keys may be set to anything, or dropped."""
    array = np.zeros(SHAPE, np.int16) if array is None else array
    types = {"uint8": "MET_UCHAR", "int16": "MET_SHORT", "float32": "MET_FLOAT"}
    voxels = array.tobytes(order="F") if data is None else data
    lines = {
        "ObjectType": "Image",
        "NDims": str(array.ndim),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compress),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "2 2 3",
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": types[array.dtype.name],
        **keys,
        "ElementDataFile": keys.get("ElementDataFile", "LOCAL"),
    }
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if key not in drop)
    return (text.encode("latin-1") if head is None else head) + (
        zlib.compress(voxels) if compress else voxels
    )


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def zipped(*members, method=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of (name or ZipInfo, content)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def flipped(content: bytes, place: int, bits: int = 0xFF) -> bytes:
    changed = bytearray(content)
    changed[place] ^= bits
    return bytes(changed)
