"""Landmark tracking on cine MRI, leave one patient out, beside free-form registration and no registration.

    python benchmarks/bench_motion.py --data ../shared/data/CardiacCine2D --work WORK

For each patient every candidate is trained on the sequences of the other patients. Among the candidates, and
the transforms that are tried with each, the one is taken whose mean Dice on the labelled frames of the
training patients is highest; only that one meets the patient under test. Labels take no part in the loss, but
the outline of the target in the template places the window, as in radiotherapy. Finished trainings in WORK
are not run again, and stopped ones go on. Writes benchmarks/results/motion.{json,md}.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from common import ROOT, provenance, write_json
from dinoreg.motion.checkpoint import WEIGHTS, load_tracker
from dinoreg.motion.evaluate import hausdorff_mm, score_frames, score_sequence
from dinoreg.motion.sequences import LabelledCine, read_cine_dataset
from dinoreg.motion.settings import load_motion_config, with_landmarks
from dinoreg.motion.track import Track, track
from dinoreg.motion.train import TrainOptions, train
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.runtime import choose_device
from dinoreg.settings.load import load_preset
from dinoreg.space.transform import Transform
from dinoreg.warp.apply import moving_positions, warp_labels
from regeval.metrics.jacobian_folds import folding_fraction
from regeval.metrics.overlap import dice
from regtask.grid import Grid

log = logging.getLogger("bench_motion")

# What is trained, by name: settings that differ from the preset "small".
CANDIDATES: dict[str, tuple[str, ...]] = {
    "64 landmarks": (),
    "32 landmarks": ("landmarks.count=32",),
    "128 landmarks": ("landmarks.count=128",),
}
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


@dataclass(frozen=True, slots=True)
class Result:
    """One labelled frame by one method."""

    method: str
    patient: str
    sequence: str
    frame: int
    dice: float
    hausdorff_mm: float
    folds_percent: float
    ms: float
    landmarks_nearest_mm: float | None = None
    on_target_percent: float | None = None


def main() -> None:
    """Measure, then write and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder CardiacCine2D")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trained networks")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="in all candidates")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--patients", nargs="+", help="train these folds only, and write no table")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/motion")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    found = provenance()
    device = choose_device(options.device)
    sequences = read_cine_dataset(options.data / "CardiacCine2D_dataset.json")
    patients = sorted({patient_of(sequence) for sequence in sequences})
    results: list[Result] = []
    variants: list[Result] = []
    choices: dict[str, Any] = {}
    for patient in options.patients or patients:
        inside = [sequence for sequence in sequences if patient_of(sequence) == patient]
        others = [sequence for sequence in sequences if patient_of(sequence) != patient]
        seconds = {
            name: train_candidate(name, options, others, options.work / patient / name, device)
            for name in options.candidates
        }
        if options.patients:
            continue
        few = [labelled_only(sequence) for sequence in others]
        chosen, table = choose_on(few, options.candidates, options.work / patient, device)
        choices[patient] = {"chosen": str(chosen), "dice_of_training_patients": table, "seconds": seconds}
        results += tracked_results(inside, options.work / patient, chosen, device)
        for transform, smoothing in TRANSFORMS:
            for name in options.candidates:
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
        "choices": choices,
        "results": [asdict(result) for result in results],
        "variants": [asdict(result) for result in variants],
    }
    write_json(options.output.with_suffix(".json"), content)
    table_text = markdown(results, variants, patients, choices)
    options.output.with_suffix(".md").write_text(table_text, encoding="utf-8")
    print(table_text)


def patient_of(sequence: LabelledCine) -> str:
    """Return the patient: the name without the letter of the slice."""
    return sequence.id[:-1]


def labelled_only(sequence: LabelledCine) -> LabelledCine:
    """Return a sequence of its labelled frames alone; frames are tracked one by one, so nothing changes."""
    numbers = sorted({sequence.template, *sequence.labels})
    return replace(
        sequence,
        cine=replace(sequence.cine, frames=sequence.cine.frames[numbers]),
        template=numbers.index(sequence.template),
        labels={numbers.index(number): labels for number, labels in sequence.labels.items()},
    )


def train_candidate(
    name: str,
    options: argparse.Namespace,
    sequences: Sequence[LabelledCine],
    folder: Path,
    device: torch.device,
) -> float:
    """Train a candidate unless it is there; returns the seconds of this training, 0 where it was there."""
    if (folder / WEIGHTS).is_file():
        return 0.0
    begin = time.perf_counter()
    config = load_motion_config("small", overrides=[*CANDIDATES[name], *options.set])
    train(sequences, config, TrainOptions(folder, device, resume=True))
    return time.perf_counter() - begin


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
    net, config, limits = load_tracker(folder / choice.candidate, device)
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


def markdown(
    results: Sequence[Result],
    variants: Sequence[Result],
    patients: Sequence[str],
    choices: dict[str, Any],
) -> str:
    """Return the table of means, what was chosen, and all variants, which nothing was chosen by."""
    lines = [means_table("method", results, patients), ""]
    lines += ["| patient under test | chosen on the others | their mean Dice |", "|---|---|---|"]
    for patient, choice in choices.items():
        mean = choice["dice_of_training_patients"][choice["chosen"]]
        lines.append(f"| {patient} | {choice['chosen']} | {mean:.3f} |")
    lines += ["", means_table("variant, on the patients under test", variants, patients)]
    return "\n".join(lines) + "\n"


def means_table(title: str, results: Sequence[Result], patients: Sequence[str]) -> str:
    """Return a Markdown table: a line per method, a column per patient, and the means over all frames."""
    lines = [
        f"| {title} | {' | '.join(patients)} | Dice, all | HD mm | folds % | ms / frame |",
        "|---" * (len(patients) + 5) + "|",
    ]
    for method in dict.fromkeys(result.method for result in results):
        own = [result for result in results if result.method == method]
        cells = [
            f"{statistics.fmean(r.dice for r in own if r.patient == patient):.3f}" for patient in patients
        ]
        lines.append(
            f"| {method} | {' | '.join(cells)} | {statistics.fmean(r.dice for r in own):.3f} |"
            f" {statistics.fmean(r.hausdorff_mm for r in own):.1f} |"
            f" {statistics.fmean(r.folds_percent for r in own):.3f} |"
            f" {statistics.median(r.ms for r in own):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
