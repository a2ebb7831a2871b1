"""Large motion, occlusion and another slice: landmark tracker, classical matcher, free-form registration.

    pip install opencv-python-headless            (for the classical matcher, left out without it)
    python benchmarks/bench_motion_robustness.py --data ../shared/data/CardiacCine2D --work WORK

Trains one network on the sequences of the other patients with large synthetic motion (or takes it from WORK).
Then the other labelled frame of each sequence of the patient is rotated about the middle of the window, or
shifted, by known amounts, and each method estimates the motion between it and the template. The error is the
mean distance, over the target, between where a pixel is read and where the known motion alone would have it
read, mm: at no motion it is what the method makes of the heart's own motion. A method that gives up counts as
the identity. Occlusion: a black square hides part of the window of each frame; through plane: the frames of
another slice of the same patient take the place of the frames. Both ask how many frames the tracker flags. In
the frames of all patients as they are, the rigid search should find nothing large.
Writes benchmarks/results/motion_robustness.{json,md}.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import Tensor

from cine.flags import flagged, heeded, through_plane
from cine.methods import Method, methods_of
from cine.sequences import patient_of
from common import ROOT, provenance, write_json
from dinoreg.motion.cines.sequences import LabelledCine, read_cine_dataset
from dinoreg.motion.cines.window import sample_frames, window_points
from dinoreg.motion.network.checkpoint import WEIGHTS, load_tracker
from dinoreg.motion.network.sampling import Prepared, prepare
from dinoreg.motion.settings import Search, load_motion_config
from dinoreg.motion.track import track
from dinoreg.motion.train import TrainOptions, train
from dinoreg.runtime import choose_device

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
# The rigid search knows no more of the motion than that it is no half turn.
SEARCHED_DEGREES = 90.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then write and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder CardiacCine2D")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trained network")
    parser.add_argument("--patient", default="Video001", help="is left out of the training")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/motion_robustness")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    found = provenance()
    device = choose_device(options.device)
    sequences = read_cine_dataset(options.data / "CardiacCine2D_dataset.json")
    inside = [s for s in sequences if patient_of(s) == options.patient]
    folder = options.work / options.patient
    if not (folder / WEIGHTS).is_file():
        config = load_motion_config("small", overrides=[*LARGE_MOTION, *options.set])
        others = [s for s in sequences if patient_of(s) != options.patient]
        train(others, config, TrainOptions(folder, device, resume=True))
    net, config, limits = load_tracker(folder, device)
    search = Search(rotation_degrees=SEARCHED_DEGREES)
    pixel_mm = 2 * prepare(inside[0], config).square.half_mm / config.window.pixels
    methods = methods_of(net, config, search, pixel_mm, device)
    rows: list[dict[str, Any]] = []
    prepared = [prepare(sequence, config) for sequence in inside]
    for kind, amounts in (
        ("rotation, degrees", ROTATIONS_DEGREES),
        ("shift, % of the window", SHIFTS_PERCENT),
    ):
        for amount in amounts:
            motion = _rotation(amount) if kind.startswith("rotation") else _shift(amount)
            for name, method in methods.items():
                begin = time.process_time()
                errors = [
                    motion_error_mm(item, sequence, motion, method)
                    for item, sequence in zip(prepared, inside, strict=True)
                ]
                rows.append(
                    {
                        "kind": kind,
                        "amount": amount,
                        "method": name,
                        "error_mm": statistics.fmean(errors),
                        "ms": 1000 * (time.process_time() - begin) / len(inside),
                    }
                )
        logging.info("%s measured", kind)
    flags = [
        {"hidden_percent": hidden, **flagged(inside, hidden, lambda s: track(net, config, limits, s))}
        for hidden in HIDDEN_PERCENT
    ]
    everyone = [prepare(sequence, config) for sequence in sequences]
    unmoved = heeded(everyone, search)
    through = through_plane(inside, lambda s: track(net, config, limits, s))
    content = {
        "provenance": found,
        "settings": [*LARGE_MOTION, *options.set],
        "patient": options.patient,
        "motion": rows,
        "occlusion": flags,
        "through_plane": through,
        "search_of_unmoved_frames": unmoved,
    }
    write_json(options.output.with_suffix(".json"), content)
    text = markdown(rows, flags, through, unmoved)
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


def markdown(
    rows: Sequence[dict[str, Any]],
    flags: Sequence[dict[str, Any]],
    through: dict[str, Any],
    unmoved: dict[str, Any],
) -> str:
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
    lines += ["| method | processor ms per pair of windows, median |", "|---|---|"]
    for name in dict.fromkeys(row["method"] for row in rows):
        lines.append(f"| {name} | {statistics.median(r['ms'] for r in rows if r['method'] == name):.0f} |")
    lines += ["", "| frames | flagged % |", "|---|---|"]
    lines += [
        f"| {row['hidden_percent']} % of the window hidden | {row['flagged_percent']:.0f} |" for row in flags
    ]
    lines.append(f"| of another slice | {through['flagged_percent']:.0f} |")
    lines += [
        "",
        f"The rigid search is heeded in {unmoved['heeded']} of {unmoved['frames']} frames as they are.",
    ]
    return "\n".join(lines) + "\n"


def _rotation(degrees: float) -> Tensor:
    a = math.radians(degrees)
    return torch.tensor([[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0]])


def _shift(percent: float) -> Tensor:
    # along a slanted line, so that a swap of the axes is seen; a share of the side is twice as much here
    return torch.tensor([[1.0, 0.0, 2 * 0.8 * percent / 100], [0.0, 1.0, -2 * 0.6 * percent / 100]])


if __name__ == "__main__":
    main()
