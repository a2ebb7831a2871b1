"""Large motion, occlusion and another slice: landmark tracker, classical matcher, free-form registration.

    pip install opencv-python-headless            (for the classical matcher alone)
    python benchmarks/bench_motion_robustness.py --data ../shared/data/CardiacCine2D --work WORK

Trains one network on the sequences of the other patients with large synthetic motion (or takes it from WORK).
Then the other labelled frame of each sequence of the patient is rotated about the middle of the window, or
shifted, by known amounts, and each method estimates the motion between it and the template. The error is the
mean distance, over the target, between where a pixel is read and where the known motion alone would have it
read, mm: at no motion it is what the method makes of the heart's own motion. A method that gives up counts as
the identity. Occlusion: a black square hides part of the window of each frame; through plane: the frames of
another slice of the same patient take the place of the frames. Both ask how many frames the tracker flags.
Writes benchmarks/results/motion_robustness.{json,md}.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench_motion import patient_of
from common import ROOT, provenance, write_json
from dinoreg.motion.checkpoint import WEIGHTS, load_tracker
from dinoreg.motion.sampling import Prepared, prepare
from dinoreg.motion.sequences import LabelledCine, read_cine_dataset
from dinoreg.motion.settings import load_motion_config
from dinoreg.motion.track import Track, track
from dinoreg.motion.train import TrainOptions, train
from dinoreg.motion.transforms import solve
from dinoreg.motion.window import sample_frames, window_points
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.load import load_preset
from dinoreg.space.sampling import sample_linear

# Nearly upright images, each brought together with another from afar; a wide first look.
LARGE_MOTION = (
    'landmarks.transform="affine"',
    "landmarks.prior_width=0.15",
    "window.side_mm=200.0",
    "augment.rotation_degrees=20.0",
    "augment.flips=false",
    "augment.misaligned_share=0.7",
    "augment.misaligned_rotation_degrees=60.0",
    "augment.misaligned_translation=0.3",
    "training.steps=1500",
    "training.equivariance_weight=1.0",
    "training.loss_stride=3",
)
ROTATIONS_DEGREES = (0, 15, 30, 45, 60)
SHIFTS_PERCENT = (0, 10, 20, 30)
HIDDEN_PERCENT = (0, 20, 40, 60)

# Two windows (1, 1, S, S), fixed and moving, to where the points (1, P, 2) of fixed lie in moving.
Method = Callable[[Tensor, Tensor, Tensor], Tensor]


def main() -> None:
    """Measure, then write and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder CardiacCine2D")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trained network")
    parser.add_argument("--patient", default="Video001", help="is left out of the training")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/motion_robustness")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    found = provenance()
    device = torch.device("cpu")
    sequences = read_cine_dataset(options.data / "CardiacCine2D_dataset.json")
    inside = [s for s in sequences if patient_of(s) == options.patient]
    folder = options.work / options.patient
    if not (folder / WEIGHTS).is_file():
        config = load_motion_config("small", overrides=[*LARGE_MOTION, *options.set])
        others = [s for s in sequences if patient_of(s) != options.patient]
        train(others, config, TrainOptions(folder, device, resume=True))
    net, config, limits = load_tracker(folder, device)

    def landmarks(kind: str) -> Method:
        def estimate(fixed: Tensor, moving: Tensor, points: Tensor) -> Tensor:
            source, target = net(fixed), net(moving)
            return solve(kind, source, target, smoothing=config.landmarks.smoothing).apply(points)

        return estimate

    methods: dict[str, Method] = {
        "identity": lambda fixed, moving, points: points,
        **{f"landmarks, {kind}": landmarks(kind) for kind in ("rigid", "affine", "tps")},
        "SIFT and RANSAC (OpenCV)": match_classically,
        "ffd-ncc": register_freely(2 * prepare(inside[0], config).square.half_mm / config.window.pixels),
    }
    rows: list[dict[str, Any]] = []
    prepared = [prepare(sequence, config) for sequence in inside]
    for kind, amounts in (
        ("rotation, degrees", ROTATIONS_DEGREES),
        ("shift, % of the window", SHIFTS_PERCENT),
    ):
        for amount in amounts:
            motion = _rotation(amount) if kind.startswith("rotation") else _shift(amount)
            for name, method in methods.items():
                errors = [
                    motion_error_mm(item, sequence, motion, method)
                    for item, sequence in zip(prepared, inside, strict=True)
                ]
                rows.append(
                    {"kind": kind, "amount": amount, "method": name, "error_mm": statistics.fmean(errors)}
                )
        logging.info("%s measured", kind)
    flags = [
        {"hidden_percent": hidden, **flagged(inside, hidden, lambda s: track(net, config, limits, s))}
        for hidden in HIDDEN_PERCENT
    ]
    through = through_plane(inside, lambda s: track(net, config, limits, s))
    content = {
        "provenance": found,
        "settings": [*LARGE_MOTION, *options.set],
        "patient": options.patient,
        "motion": rows,
        "occlusion": flags,
        "through_plane": through,
    }
    write_json(options.output.with_suffix(".json"), content)
    text = markdown(rows, flags, through)
    options.output.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def motion_error_mm(prepared: Prepared, sequence: LabelledCine, motion: Tensor, method: Method) -> float:
    """Return the mean error over the target between the template and another frame, moved.

    Args:
        prepared: the sequence, ready for the network.
        sequence: the same; a frame besides the template is labelled.
        motion: (2, 3), window coordinates of the fixed, moved frame to those of the template.
        method: what estimates it.
    """
    square = prepared.square
    points = window_points(square.pixels)
    template = prepared.frames[prepared.template][None]
    moving = sample_frames(template, square, points[None])
    read = points @ motion[:, :2].T + motion[:, 2]
    number = next(number for number in sequence.labels if number != sequence.template)
    fixed = sample_frames(prepared.frames[number][None], square, read[None])
    target = torch.from_numpy(sequence.labels[number].astype(np.float32))[None, None]
    on_target = sample_frames(target, square, read[None])[0, 0] > 0.5
    with torch.no_grad():
        found = method(fixed, moving, points[on_target][None])
    away = (found[0] - read[on_target]).norm(dim=1)
    return float(away.mean()) * square.half_mm


def match_classically(fixed: Tensor, moving: Tensor, points: Tensor) -> Tensor:
    """Estimate a similarity by SIFT, the ratio test (Lowe 2004) and RANSAC; the identity where it fails."""
    import cv2

    detector = cv2.SIFT_create()
    images = [np.ascontiguousarray((255 * image[0, 0]).byte().numpy()) for image in (fixed, moving)]
    (keys_a, words_a), (keys_b, words_b) = (detector.detectAndCompute(image, None) for image in images)
    if words_a is None or words_b is None or len(keys_b) < 2:
        return points
    matches = cv2.BFMatcher().knnMatch(words_a, words_b, k=2)
    good = [pair[0] for pair in matches if len(pair) == 2 and pair[0].distance < 0.8 * pair[1].distance]
    if len(good) < 3:
        return points
    # OpenCV's points are (column, row): the last array axis first
    a, b = (
        np.array([keys[getattr(match, index)].pt for match in good])[:, ::-1]
        for keys, index in ((keys_a, "queryIdx"), (keys_b, "trainIdx"))
    )
    matrix, _ = cv2.estimateAffinePartial2D(a, b, method=cv2.RANSAC, ransacReprojThreshold=3.0)
    if matrix is None:
        return points
    side = fixed.shape[-1]
    pixels = (points[0].numpy() + 1) * side / 2 - 0.5
    mapped = pixels @ matrix[:, :2].T + matrix[:, 2]
    return torch.from_numpy((mapped + 0.5) * 2 / side - 1).float()[None]


def register_freely(pixel_mm: float) -> Method:
    """Return the preset ffd-ncc on windows with pixels of this size."""
    config = load_preset("ffd-ncc")

    def estimate(fixed: Tensor, moving: Tensor, points: Tensor) -> Tensor:
        images = [
            prepare_image(image[0, 0].numpy()[..., None], config.preprocess, modality="MR", mask=None)
            for image in (fixed, moving)
        ]
        with torch.enable_grad():
            field = register_prepared(*images, (pixel_mm, pixel_mm, 1.0), config, device=torch.device("cpu"))
        side = fixed.shape[-1]
        pixels = (points[0].T + 1) * side / 2 - 0.5
        vectors = torch.from_numpy(field.displacement[:, :, 0, :2].transpose(2, 0, 1).copy())
        moved = pixels + sample_linear(vectors, pixels)
        return ((moved.T + 0.5) * 2 / side - 1)[None]

    return estimate


def flagged(
    sequences: Sequence[LabelledCine], hidden_percent: int, follow: Callable[[LabelledCine], Track]
) -> dict[str, Any]:
    """Return how many frames are flagged when a black square hides a share of the window."""
    hidden = [_with_frames(sequence, _hide(sequence, hidden_percent)) for sequence in sequences]
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
        changed.append(_with_frames(sequence, frames))
    return _count(changed, follow)


def markdown(rows: Sequence[dict[str, Any]], flags: Sequence[dict[str, Any]], through: dict[str, Any]) -> str:
    """Return the tables."""
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        amounts = list(dict.fromkeys(row["amount"] for row in own))
        lines += [
            f"| error mm at {kind} | {' | '.join(str(a) for a in amounts)} |",
            "|---" * (len(amounts) + 1) + "|",
        ]
        for name in dict.fromkeys(row["method"] for row in own):
            values = [f"{row['error_mm']:.1f}" for row in own if row["method"] == name]
            lines.append(f"| {name} | {' | '.join(values)} |")
        lines.append("")
    lines += ["| frames | flagged % |", "|---|---|"]
    lines += [
        f"| {row['hidden_percent']} % of the window hidden | {row['flagged_percent']:.0f} |" for row in flags
    ]
    lines.append(f"| of another slice | {through['flagged_percent']:.0f} |")
    return "\n".join(lines) + "\n"


def _count(sequences: Sequence[LabelledCine], follow: Callable[[LabelledCine], Track]) -> dict[str, Any]:
    flags = [
        bool(frame.flag)
        for sequence in sequences
        for frame in follow(sequence).frames
        if frame.number != sequence.template
    ]
    return {"flagged_percent": 100 * statistics.fmean(flags), "frames": len(flags)}


def _with_frames(sequence: LabelledCine, frames: NDArray[np.float32]) -> LabelledCine:
    return replace(sequence, cine=replace(sequence.cine, frames=frames))


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


def _rotation(degrees: float) -> Tensor:
    a = math.radians(degrees)
    return torch.tensor([[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0]])


def _shift(percent: float) -> Tensor:
    # along a slanted line, so that a swap of the axes is seen; a share of the side is twice as much here
    return torch.tensor([[1.0, 0.0, 2 * 0.8 * percent / 100], [0.0, 1.0, -2 * 0.6 * percent / 100]])


if __name__ == "__main__":
    main()
