"""Grey images as PNG, by the standard library alone: the evaluation's image carries no graphics library."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _BITS = 0, 8


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image of (rows, columns) as a PNG file (W3C, Portable Network Graphics, third edition)."""
    rows, columns = pixels.shape
    lines = b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in pixels)  # 0: no filter
    header = struct.pack(">IIBBBBB", columns, rows, _BITS, _GREY, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def png_address(pixels: NDArray[np.uint8]) -> str:
    """Return the same as an address that holds the image itself."""
    return "data:image/png;base64," + base64.b64encode(grey_png(pixels)).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
