"""How many frames a tracker flags when something is wrong with them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cine.sequences import with_frames
from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.network.sampling import Prepared
from dinoreg.motion.rigid_search import RigidSearch
from dinoreg.motion.settings import Search
from dinoreg.motion.track import Track


def flagged(
    sequences: Sequence[LabelledCine], hidden_percent: int, follow: Callable[[LabelledCine], Track]
) -> dict[str, Any]:
    """Return how many frames are flagged when a black square hides a share of the window."""
    hidden = [with_frames(sequence, _hide(sequence, hidden_percent)) for sequence in sequences]
    return _count(hidden, follow)


def through_plane(
    sequences: Sequence[LabelledCine], follow: Callable[[LabelledCine], Track]
) -> dict[str, Any]:
    """Return how many frames are flagged when all but the template are those of another slice."""
    changed = []
    for number, sequence in enumerate(sequences):
        other = sequences[(number + 1) % len(sequences)]
        count = min(len(sequence.cine.frames), len(other.cine.frames))
        frames = sequence.cine.frames.copy()
        frames[:count] = other.cine.frames[:count]
        frames[sequence.template] = sequence.cine.frames[sequence.template]
        changed.append(with_frames(sequence, frames))
    return _count(changed, follow)


def heeded(prepared: Sequence[Prepared], search: Search) -> dict[str, Any]:
    """Return in how many frames as they are the rigid search finds motion that it takes for large."""
    found = []
    for item in prepared:
        look = RigidSearch(item.frames[item.template][None], item.square, search)
        found += [look(frame[None]).degrees != 0 for frame in item.frames]
    return {"heeded": sum(found), "frames": len(found)}


def _count(sequences: Sequence[LabelledCine], follow: Callable[[LabelledCine], Track]) -> dict[str, Any]:
    flags = [
        bool(frame.flag)
        for sequence in sequences
        for frame in follow(sequence).frames
        if frame.number != sequence.template
    ]
    return {"flagged_percent": 100 * statistics.fmean(flags), "frames": len(flags)}


def _hide(sequence: LabelledCine, percent: int) -> NDArray[np.float32]:
    """Blacken a square around a corner of the target's box, in all frames but the template."""
    frames = sequence.cine.frames.copy()
    if percent:
        corner = np.argwhere(sequence.target).min(axis=0)
        half = 64.0 * math.sqrt(percent / 100)
        x, y = (
            slice(max(0, int(c - half / size)), int(c + half / size))
            for c, size in zip(corner, sequence.cine.spacing_mm, strict=True)
        )
        hidden = np.arange(len(frames)) != sequence.template
        frames[hidden, x, y] = frames.min()
    return frames
