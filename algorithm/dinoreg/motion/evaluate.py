"""Figures of a tracker on labelled frames."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.output import write_csv
from dinoreg.motion.track import Track, TrackedFrame, pull_positions
from dinoreg.space.jacobian import jacobian_determinant
from regeval.metrics.overlap import dice
from regtask.atomic import atomic_write_text

# A landmark within this distance of the target lies on it.
_NEAR_MM = 10.0


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One label of one labelled frame.

    Attributes:
        sequence: its name.
        frame: number.
        label: value.
        dice: of the carried label and the frame's own; 0 to 1.
        identity_dice: of the template's label as it is.
        hausdorff_mm: largest distance between the outlines of the two; inf where the carried one is empty.
        identity_hausdorff_mm: of the template's label as it is.
        folds_percent: of the window's pixels whose Jacobian determinant is not positive.
        residual_mm: of an affine fit of the landmarks.
        flag: what is beyond its limit.
    """

    sequence: str
    frame: int
    label: int
    dice: float
    identity_dice: float
    hausdorff_mm: float
    identity_hausdorff_mm: float
    folds_percent: float
    residual_mm: float
    flag: str


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """What concerns a whole sequence.

    Attributes:
        sequence: its name.
        milliseconds: median per frame.
        nearest_mm: median over the template's landmarks of the distance to the nearest other one; an even
            grid of N on the window would have side / sqrt(N).
        spread: area of the landmarks' bounding box, share of the window.
        at_border_percent: of landmarks in the outer tenth of the window, on either side.
        on_target_percent: of landmarks on the target or within 10 mm.
        flagged: number of frames.
        frames: number of frames.
    """

    sequence: str
    milliseconds: float
    nearest_mm: float
    spread: float
    at_border_percent: float
    on_target_percent: float
    flagged: int
    frames: int


def score_frames(sequence: LabelledCine, tracked: Track) -> list[FrameScore]:
    """Compare the carried labels with those of each labelled frame but the template."""
    template = sequence.labels.get(sequence.template)
    if template is None:
        return []
    scores = []
    for number, truth in sorted(sequence.labels.items()):
        frame = tracked.frames[number]
        if number == sequence.template or frame.labels is None:
            continue
        for label in np.intersect1d(template, truth):
            if label <= 0:
                continue
            scores.append(_score(sequence, tracked, frame, int(label), template == label, truth == label))
    return scores


def score_sequence(sequence: LabelledCine, tracked: Track) -> SequenceScore:
    """Judge the landmarks of the template, the speed and the flags."""
    square = tracked.square
    points = tracked.frames[tracked.template].landmarks_mm.double().numpy()
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    centre_mm = np.array(square.centre) * square.spacing_mm
    inside = np.abs(points - centre_mm) / square.half_mm
    target = sequence.target
    near = 0.0
    if target is not None:
        distance_mm = ndimage.distance_transform_edt(~target, sampling=square.spacing_mm)
        index = np.rint(points / square.spacing_mm).astype(int).clip(0, np.array(target.shape) - 1)
        near = float((distance_mm[tuple(index.T)] <= _NEAR_MM).mean())
    return SequenceScore(
        sequence=sequence.id,
        milliseconds=statistics.median(frame.milliseconds for frame in tracked.frames),
        nearest_mm=float(np.median(apart.min(axis=1))),
        spread=float(np.ptp(points, axis=0).prod() / (2 * square.half_mm) ** 2),
        at_border_percent=100 * float((inside.max(axis=1) > 0.8).mean()),
        on_target_percent=100 * near,
        flagged=sum(bool(frame.flag) for frame in tracked.frames),
        frames=len(tracked.frames),
    )


def hausdorff_mm(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Return the Hausdorff distance of two objects' outlines, pixel centre to pixel centre, mm.

    Infinite where one of them is empty.
    """
    if not (a.any() and b.any()):
        return float("inf")
    outlines = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    return max(
        float(ndimage.distance_transform_edt(~goal, sampling=tuple(spacing_mm))[start].max())
        for start, goal in (outlines, outlines[::-1])
    )


def folds_percent(tracked: Track, frame: TrackedFrame, shape: tuple[int, ...]) -> float:
    """Return the share of the window's pixels at which the transform of a frame folds, %."""
    square = tracked.square
    positions = pull_positions(frame.transform, shape, square)
    pixels = torch.stack(
        torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    )
    determinant = jacobian_determinant(positions - pixels)
    inside = (square.from_voxels(pixels.movedim(0, -1)).abs() <= 1).all(dim=-1)
    return 100 * float((determinant[inside] <= 0).float().mean())


def write_scores(
    folder: Path, frames: Sequence[FrameScore], sequences: Sequence[SequenceScore]
) -> dict[str, Any]:
    """Write `frames.csv`, `sequences.csv` and `summary.json`; returns the summary.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "frames.csv", [asdict(score) for score in frames])
    write_csv(folder / "sequences.csv", [asdict(score) for score in sequences])
    summary: dict[str, Any] = {"sequences": len(sequences), "labelled_frames": len(frames)}
    for key in ("dice", "identity_dice", "hausdorff_mm", "identity_hausdorff_mm", "folds_percent"):
        if frames:
            summary[key] = statistics.fmean(getattr(score, key) for score in frames)
    summary["ms_per_frame"] = statistics.median(score.milliseconds for score in sequences)
    for key in ("nearest_mm", "spread", "at_border_percent", "on_target_percent"):
        summary[key] = statistics.fmean(getattr(score, key) for score in sequences)
    summary["flagged_frames"] = sum(score.flagged for score in sequences)
    summary["frames"] = sum(score.frames for score in sequences)
    atomic_write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _score(
    sequence: LabelledCine,
    tracked: Track,
    frame: TrackedFrame,
    label: int,
    template: NDArray[np.bool_],
    truth: NDArray[np.bool_],
) -> FrameScore:
    carried: NDArray[np.bool_] = np.asarray(frame.labels) == label
    spacing_mm = sequence.cine.spacing_mm
    return FrameScore(
        sequence=sequence.id,
        frame=frame.number,
        label=label,
        dice=_dice(truth, carried),
        identity_dice=_dice(truth, template),
        hausdorff_mm=hausdorff_mm(truth, carried, spacing_mm),
        identity_hausdorff_mm=hausdorff_mm(truth, template, spacing_mm),
        folds_percent=folds_percent(tracked, frame, truth.shape),
        residual_mm=frame.residual_mm,
        flag=frame.flag,
    )


def _dice(fixed: NDArray[np.bool_], warped: NDArray[np.bool_]) -> float:
    return float(dice(fixed.astype(np.uint8), warped.astype(np.uint8), [1])[1])
