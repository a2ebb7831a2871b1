"""What `dinoreg motion track` writes: tables, transforms, warped labels and frames, an animated picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.motion.animation import draw_animation
from dinoreg.motion.cines.cine import Cine
from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.settings import MotionConfig
from dinoreg.motion.track import Track, TrackedFrame, warp_to_template
from regtask.atomic import atomic_write_text
from regtask.images import write_volume


def write_track(folder: Path, sequence: LabelledCine, tracked: Track, config: MotionConfig) -> None:
    """Write all files of a tracked sequence.

    `frames.csv`, `landmarks.csv` and `transforms.json` in mm from the centre of pixel (0, 0);
    `labels.nii.gz`, the template's labels on every frame; `warped.nii.gz`, every frame on the template; both
    on the grid of the sequence; and `landmarks.gif`.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "frame": frame.number,
            "residual_mm": frame.residual_mm,
            "difference": frame.difference,
            "flag": frame.flag,
            "turned_degrees": frame.turned_degrees,
            "ms": frame.milliseconds,
        }
        for frame in tracked.frames
    ]
    write_csv(folder / "frames.csv", rows)
    points = [
        {"frame": frame.number, "landmark": number, "x_mm": x, "y_mm": y}
        for frame in tracked.frames
        for number, (x, y) in enumerate(frame.landmarks_mm.tolist())
    ]
    write_csv(folder / "landmarks.csv", points)
    atomic_write_text(folder / "transforms.json", json.dumps(_transforms(tracked, config), indent=1) + "\n")
    cine = sequence.cine
    labels = [frame.labels for frame in tracked.frames if frame.labels is not None]
    if labels:
        _write_frames(folder / "labels.nii.gz", np.stack(labels), cine, np.int16)
    smoothing = config.landmarks.smoothing
    warped = [
        warp_to_template(tracked, frame, cine.frames[frame.number], smoothing) for frame in tracked.frames
    ]
    _write_frames(folder / "warped.nii.gz", np.stack(warped), cine, np.float32)
    draw_animation(folder / "landmarks.gif", cine, tracked)


def _transforms(tracked: Track, config: MotionConfig) -> dict[str, Any]:
    return {
        "kind": tracked.transform,
        "convention": "frame -> template, mm from the centre of pixel (0, 0); y = matrix (x, 1)"
        " + sum_n weights_n r_n^2 log r_n, r_n = |x - centres_n|",
        "smoothing_mm2": config.landmarks.smoothing * tracked.square.half_mm**2,
        "template": tracked.template,
        "window": {
            "centre_mm": [
                c * size for c, size in zip(tracked.square.centre, tracked.square.spacing_mm, strict=True)
            ],
            "side_mm": 2 * tracked.square.half_mm,
        },
        "frames": [_transform(frame) for frame in tracked.frames],
    }


def _transform(frame: TrackedFrame) -> dict[str, Any]:
    found: dict[str, Any] = {"frame": frame.number, "matrix": frame.transform.matrix[0].tolist()}
    if frame.transform.centres.shape[1]:
        found["centres"] = frame.transform.centres[0].tolist()
        found["weights"] = frame.transform.weights[0].tolist()
    return found


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of one set of keys, whole or not at all; numbers with six digits."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    atomic_write_text(path, stream.getvalue())


def _write_frames(path: Path, frames: NDArray[np.number], cine: Cine, dtype: type[np.generic]) -> None:
    write_volume(path, np.moveaxis(frames, 0, cine.axis), cine.grid, dtype)
