"""Landmark tracking on cine MRI, leave one patient out, beside free-form registration and no registration.

    python benchmarks/bench_motion.py --data ../shared/data/CardiacCine2D --work WORK
    python benchmarks/bench_motion.py ... --candidates dinomotion "dinomotion without LoRA" --device cuda:0

For each patient every candidate is trained on the sequences of the other patients. Among the candidates, and
the transforms that are tried with each, the one is taken whose mean Dice on the labelled frames of the
training patients is highest; only that one meets the patient under test. Labels take no part in the loss, but
the outline of the target in the template places the window of `small`, as in radiotherapy. Finished trainings
in WORK are not run again, and stopped ones go on. A candidate whose weights are not in DINOREG_WEIGHTS is
listed as not measured. Writes benchmarks/results/motion.{json,md}.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from cine.candidates import CANDIDATES, train_candidate, without_weights
from cine.sequences import labelled_only, patient_of
from cine.tables import Result, markdown, means_table
from common import ROOT, provenance, write_json
from dinoreg.motion.cines.sequences import LabelledCine, read_cine_dataset
from dinoreg.motion.cines.thresholds import Thresholds
from dinoreg.motion.evaluate import hausdorff_mm, score_frames, score_sequence
from dinoreg.motion.network.checkpoint import load_tracker
from dinoreg.motion.network.model import LandmarkNet
from dinoreg.motion.settings import MotionConfig, with_landmarks
from dinoreg.motion.track import Track, track
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.runtime import choose_device
from dinoreg.settings.load import load_preset
from dinoreg.space.transform import Transform
from dinoreg.warp.apply import moving_positions, warp_labels
from regeval.metrics.jacobian_folds import folding_fraction
from regeval.metrics.overlap import dice
from regtask.grid import Grid

__all__ = ["Result", "main", "means_table"]

log = logging.getLogger("bench_motion")

SMALL = [name for name, candidate in CANDIDATES.items() if candidate.preset == "small"]
# Kind and lambda, tried with every trained network; needs no training.
TRANSFORMS = (("rigid", 0.0), ("affine", 0.0), ("tps", 0.0), ("tps", 0.01), ("tps", 0.1), ("tps", 1.0))


@dataclass(frozen=True, slots=True)
class Choice:
    """A trained candidate and the transform that it is used with."""

    candidate: str
    transform: str
    smoothing: float

    def __str__(self) -> str:
        return f"{self.candidate}, {self.transform}" + (
            f", lambda {self.smoothing}" if self.transform == "tps" else ""
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then write and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder CardiacCine2D")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trained networks")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="in all candidates")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=SMALL)
    parser.add_argument("--patients", nargs="+", help="train these folds only, and write no table")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/motion")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    found = provenance()
    device = choose_device(options.device)
    sequences = read_cine_dataset(options.data / "CardiacCine2D_dataset.json")
    patients = sorted({patient_of(sequence) for sequence in sequences})
    absent = without_weights(options.candidates, options.set)
    for name, reason in absent.items():
        print(f"{name}: not measured, {reason}")
    candidates = [name for name in options.candidates if name not in absent]
    if not candidates:
        sys.exit("nothing to measure: no candidate has its weights")
    results: list[Result] = []
    variants: list[Result] = []
    choices: dict[str, Any] = {}
    for patient in options.patients or patients:
        inside = [sequence for sequence in sequences if patient_of(sequence) == patient]
        others = [sequence for sequence in sequences if patient_of(sequence) != patient]
        seconds = {
            name: train_candidate(name, options.set, others, options.work / patient / name, device)
            for name in candidates
        }
        if options.patients:
            continue
        few = [labelled_only(sequence) for sequence in others]
        chosen, table = choose_on(few, candidates, options.work / patient, device)
        choices[patient] = {"chosen": str(chosen), "dice_of_training_patients": table, "seconds": seconds}
        results += tracked_results(inside, options.work / patient, chosen, device)
        for name in candidates:
            for transform, smoothing in TRANSFORMS:
                every = Choice(name, transform, smoothing)
                few = [labelled_only(sequence) for sequence in inside]
                variants += tracked_results(few, options.work / patient, every, device, str(every))
        for sequence in inside:
            results += baselines(sequence, device)
        log.info("%s: %s", patient, chosen)
    if options.patients:
        return
    content = {
        "provenance": found,
        "settings": options.set,
        "not_measured": absent,
        "choices": choices,
        "results": [asdict(result) for result in results],
        "variants": [asdict(result) for result in variants],
    }
    write_json(options.output.with_suffix(".json"), content)
    table_text = markdown(results, variants, patients, choices, absent)
    options.output.with_suffix(".md").write_text(table_text, encoding="utf-8")
    print(table_text)


def choose_on(
    sequences: Sequence[LabelledCine], names: Sequence[str], folder: Path, device: torch.device
) -> tuple[Choice, dict[str, float]]:
    """Return the choice of the best mean Dice on these sequences, and the means of all."""
    means = {
        choice: statistics.fmean(result.dice for result in tracked_results(sequences, folder, choice, device))
        for choice in (Choice(name, *transform) for name in names for transform in TRANSFORMS)
    }
    best = max(means, key=lambda choice: means[choice])
    return best, {str(choice): mean for choice, mean in means.items()}


def tracked_results(
    sequences: Sequence[LabelledCine],
    folder: Path,
    choice: Choice,
    device: torch.device,
    method: str = "landmarks",
) -> list[Result]:
    """Track sequences with a trained network and score their labelled frames."""
    net, config, limits = _tracker(folder / choice.candidate, device)
    config = with_landmarks(config, transform=choice.transform, smoothing=choice.smoothing)
    results = []
    for sequence in sequences:
        tracked: Track = track(net, config, limits, sequence)
        whole = score_sequence(sequence, tracked)
        results += [
            Result(
                method,
                patient_of(sequence),
                sequence.id,
                score.frame,
                score.dice,
                score.hausdorff_mm,
                score.folds_percent,
                whole.milliseconds,
                whole.nearest_mm,
                whole.on_target_percent,
            )
            for score in score_frames(sequence, tracked)
        ]
    return results


@lru_cache(maxsize=1)  # a large network is used for all transforms before the next one
def _tracker(folder: Path, device: torch.device) -> tuple[LandmarkNet, MotionConfig, Thresholds]:
    return load_tracker(folder, device)


def baselines(sequence: LabelledCine, device: torch.device) -> list[Result]:
    """Score the identity and the preset ffd-ncc on the labelled frames."""
    config = load_preset("ffd-ncc")
    spacing_mm = (*sequence.cine.spacing_mm, 1.0)
    template = sequence.labels[sequence.template][..., None]
    results = []
    for number, truth in sorted(sequence.labels.items()):
        if number == sequence.template:
            continue
        begin = time.perf_counter()
        fixed, moving = (
            prepare_image(sequence.cine.frames[n][..., None], config.preprocess, modality="MR", mask=None)
            for n in (number, sequence.template)
        )
        field = register_prepared(fixed, moving, spacing_mm, config, device=device).displacement
        ms = 1000 * (time.perf_counter() - begin)
        grid = Grid(template.shape, np.diag([*spacing_mm, 1.0]))
        transform = Transform(field, grid, grid, "voxel_to_voxel")
        warped = warp_labels(template, moving_positions(transform, grid))
        for method, carried, folds, cost in (
            ("ffd-ncc", warped, 100 * folding_fraction(field), ms),
            ("identity", template, 0.0, 0.0),
        ):
            results.append(
                Result(
                    method,
                    patient_of(sequence),
                    sequence.id,
                    number,
                    dice(truth, carried[..., 0], [1])[1],
                    hausdorff_mm(truth == 1, carried[..., 0] == 1, sequence.cine.spacing_mm),
                    folds,
                    cost,
                )
            )
    return results


if __name__ == "__main__":
    main()
