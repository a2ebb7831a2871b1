"""`dinoreg motion`: train, track and evaluate landmark trackers for 2D cine MRI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dinoreg.cli.options import let_threads_sleep

if TYPE_CHECKING:
    from dinoreg.motion.settings import MotionConfig

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def add_motion_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "motion",
        help="track a target through a 2D cine sequence by landmarks",
        description="Landmark tracking in 2D cine MRI: see docs/motion.md.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    train = actions.add_parser("train", help="train a tracker on the sequences of a CINE.json")
    train.add_argument("--dataset", type=Path, required=True, metavar="CINE.json")
    train.add_argument("--output", type=Path, required=True, metavar="RUN", help="folder of the weights")
    source = train.add_mutually_exclusive_group()
    source.add_argument("--preset", default="small", help="small (no weights needed; default) or dinomotion")
    source.add_argument("--config", type=Path, metavar="FILE.toml")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    train.add_argument("--only", nargs="+", metavar="ID", help="sequences to train on (default: all)")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in RUN")

    track = actions.add_parser("track", help="track one sequence")
    track.add_argument("--weights", type=Path, required=True, metavar="RUN")
    track.add_argument("--frames", type=Path, required=True, metavar="SEQ.nii.gz|.mha")
    track.add_argument("--template", type=int, required=True, metavar="N", help="template frame, from 0")
    track.add_argument("--labels", type=Path, metavar="FILE", help="labels of the template frame, or of all")
    track.add_argument("--output", type=Path, required=True, metavar="DIR")
    track.add_argument("--frame-axis", type=int, choices=(0, 1, 2), default=2, help="default: 2")

    evaluate = actions.add_parser("evaluate", help="track every sequence of a CINE.json, and score it")
    evaluate.add_argument("--dataset", type=Path, required=True, metavar="CINE.json")
    evaluate.add_argument("--weights", type=Path, required=True, metavar="RUN")
    evaluate.add_argument("--output", type=Path, required=True, metavar="DIR")
    evaluate.add_argument("--only", nargs="+", metavar="ID", help="sequences to score (default: all)")

    for action in (track, evaluate):
        action.add_argument("--transform", choices=("rigid", "affine", "tps"), help="default: as trained")
        action.add_argument("--smoothing", type=float, metavar="LAMBDA", help="of the spline")
        action.add_argument(
            "--search",
            type=float,
            metavar="DEGREES",
            help="first turn and shift each frame onto the template, by at most so much; 0: do not",
        )
    for action in (train, track, evaluate):
        action.add_argument("--device", default="auto", help="auto, cpu or cuda:N")


def run_motion(options: argparse.Namespace) -> None:
    """Run the verb from parsed options."""
    let_threads_sleep()
    {"train": _train, "track": _track, "evaluate": _evaluate}[options.action](options)


def _train(options: argparse.Namespace) -> None:
    from dinoreg.motion.cines.sequences import choose, read_cine_dataset
    from dinoreg.motion.settings import load_motion_config
    from dinoreg.motion.train import TrainOptions, train
    from dinoreg.runtime import choose_device

    config = load_motion_config(options.preset, options.config, options.set)
    train(
        choose(read_cine_dataset(options.dataset), options.only),
        config,
        TrainOptions(options.output, choose_device(options.device), resume=options.resume),
    )


def _track(options: argparse.Namespace) -> None:
    from dinoreg.motion.cines.sequences import read_single
    from dinoreg.motion.network.checkpoint import load_tracker
    from dinoreg.motion.output import write_track
    from dinoreg.motion.track import track
    from dinoreg.runtime import choose_device

    sequence = read_single(options.frames, options.template, options.labels, frame_axis=options.frame_axis)
    net, config, limits = load_tracker(options.weights, choose_device(options.device))
    config = _chosen(config, options)
    write_track(options.output, sequence, track(net, config, limits, sequence), config)


def _evaluate(options: argparse.Namespace) -> None:
    from dinoreg.motion.cines.sequences import choose, read_cine_dataset
    from dinoreg.motion.evaluate import score_frames, score_sequence, write_scores
    from dinoreg.motion.network.checkpoint import load_tracker
    from dinoreg.motion.track import track
    from dinoreg.runtime import choose_device

    sequences = choose(read_cine_dataset(options.dataset), options.only)
    net, config, limits = load_tracker(options.weights, choose_device(options.device))
    config = _chosen(config, options)
    frames, wholes = [], []
    for sequence in sequences:
        tracked = track(net, config, limits, sequence)
        frames += score_frames(sequence, tracked)
        wholes.append(score_sequence(sequence, tracked))
    summary = write_scores(options.output, frames, wholes)
    for key, value in summary.items():
        sys.stdout.write(f"{key:22} {value:.4g}\n")


def _chosen(config: MotionConfig, options: argparse.Namespace) -> MotionConfig:
    """Return the configuration of a trained tracker with what is asked for in place of its own."""
    from dinoreg.motion.settings import with_landmarks

    return with_landmarks(
        config,
        transform=options.transform,
        smoothing=options.smoothing,
        search_degrees=options.search,
    )
