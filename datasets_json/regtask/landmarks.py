"""Corresponding points of two images, as csv files in voxels.

Convention: (N, 3), columns i, j, k: voxel coordinates of the image that the file is named after, the centre
of the first voxel being 0, 0, 0. Row n of the fixed image corresponds to row n of the moving image.
"""

import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regtask.atomic import atomic_write_text
from regtask.documents import read_text
from regtask.errors import DataError, Fault
from regtask.pair import Pair

# A file of another format has a fault in every line; the first few tell the story.
_MAX_FAULTS = 10
# Half a million points.
_MAX_BYTES = 16 << 20


class LandmarkPair(NamedTuple):
    """Corresponding points: both (N, 3) float64, in voxels of the fixed and of the moving image."""

    fixed: NDArray[np.float64]
    moving: NDArray[np.float64]


def read_landmarks(path: Path) -> NDArray[np.float64]:
    """Read points from a csv file.

    The first line is taken as a header, and skipped, if none of its columns is a number. Empty lines are
    skipped.

    Returns:
        (N, 3) voxels, N of 1 or more.

    Raises:
        DataError: no file, no points, or lines that are not three finite numbers (with their line numbers).
    """
    lines = read_text(path, _MAX_BYTES, "csv").splitlines()
    rows = [(number, line.split(",")) for number, line in enumerate(lines, 1) if line.strip()]
    if rows and not any(_is_number(column) for column in rows[0][1]):
        del rows[0]
    faults = [fault for number, columns in rows if (fault := _row_fault(path, number, columns))]
    if faults:
        raise DataError(*faults[:_MAX_FAULTS])
    if not rows:
        raise DataError(Fault("no landmarks", str(path), "lines such as 12.000,80.500,31.250"))
    return np.array([[float(column) for column in columns] for _, columns in rows])


def write_landmarks(path: Path, points: ArrayLike) -> None:
    """Write points as the official tools do: no header, comma separated, in voxels.

    Args:
        path: csv file, in an existing folder.
        points: (N, 3) voxels, written to a millionth.

    Raises:
        DataError: not (N, 3), or not finite.
        OutputError: disk full, read-only, no permission, or the folder does not exist.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise DataError(Fault("not landmarks", str(path), "(N, 3) finite numbers", f"shape {array.shape}"))
    atomic_write_text(path, "".join(f"{i:.6f},{j:.6f},{k:.6f}\n" for i, j, k in array.tolist()))


def read_landmark_pair(
    pair: Pair, kind: Literal["landmarks", "keypoints"] = "landmarks"
) -> LandmarkPair | None:
    """Read the corresponding points of a pair.

    Args:
        pair: the pair of images.
        kind: "landmarks" (set by people) or "keypoints" (found by an algorithm).

    Returns:
        The points, or None if one of the two files does not exist.

    Raises:
        DataError: a file cannot be used, or their numbers of points differ.
    """
    files = pair.landmarks() if kind == "landmarks" else pair.keypoints()
    if files.fixed is None or files.moving is None:
        return None
    points = LandmarkPair(read_landmarks(files.fixed), read_landmarks(files.moving))
    if len(points.fixed) != len(points.moving):
        raise DataError(
            Fault(
                f"{kind} do not correspond",
                pair.case_key,
                "as many points in both images",
                f"{len(points.fixed)} in {files.fixed}, {len(points.moving)} in {files.moving}",
            )
        )
    return points


def _row_fault(path: Path, number: int, columns: list[str]) -> Fault | None:
    if len(columns) == 3 and all(_is_number(column) and math.isfinite(float(column)) for column in columns):
        return None
    return Fault("not a landmark", f"{path}, line {number}", "three finite numbers i,j,k", ",".join(columns))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
