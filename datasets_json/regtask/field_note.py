"""The note in a field file: where the moving image lay when it was registered.

A field in voxels joins the voxels of two images. The fixed one's place is the header's affine; the moving
one's is written here, as JSON in a comment (NIfTI extension of code 6), which other software skips:

    {"displacement": {"unit": "voxel", "direction": "pull",
                      "moving": {"shape": [I, J, K], "affine": [[..], [..], [..], [..]]}}}

The affine maps indices to RAS mm.
"""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from regtask.errors import Fault, SpaceError
from regtask.grid import Grid

_KEY = "displacement"
_FORM = {"unit": "voxel", "direction": "pull"}


def note_of_moving(moving: Grid) -> str:
    """Return the note for a field that joins a fixed image to a moving one on this grid."""
    grid = {"shape": list(moving.shape), "affine": moving.affine.tolist()}
    return json.dumps({_KEY: {**_FORM, "moving": grid}}, allow_nan=False)


def read_note(comments: Iterable[bytes]) -> Grid | None:
    """Return the moving grid of the first note among a file's comments, or None; other comments are skipped.

    Raises:
        SpaceError: a note is there but describes no grid.
    """
    for comment in comments:
        note = _note(comment)
        if note is None:
            continue
        try:
            if {key: note[key] for key in _FORM} != _FORM:
                raise ValueError(f"not {_FORM}")
            moving = note["moving"]
            return Grid(tuple(int(n) for n in moving["shape"]), np.array(moving["affine"], np.float64))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            got = f"{type(error).__name__}: {error}"
            raise SpaceError(
                Fault("note of the moving grid not usable", "comment", "shape and affine", got)
            ) from error
    return None


def _note(comment: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(comment)
    except (ValueError, RecursionError):  # also what is not UTF-8: another program's comment
        return None
    note = content.get(_KEY) if isinstance(content, dict) else None
    return note if isinstance(note, dict) else None
