"""`dinoreg pretrain`: train the 3D encoder on synthetic anatomy or on one's own scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dinoreg.cli.options import let_threads_sleep

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def add_pretrain_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "pretrain",
        help="train the 3D encoder dino3d",
        description="Self-supervised training of the 3D encoder: see docs/encoder.md.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE.toml")
    source.add_argument("--preset", default="unet", help="unet (ours; default) or vit, a 3D transformer")
    parser.add_argument("--output", type=Path, required=True, metavar="RUN", help="folder of the training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in RUN, without --config by its settings",
    )
    parser.add_argument("--until", type=int, metavar="STEP", help="stop there for now, with a checkpoint")
    parser.add_argument(
        "--real", type=Path, metavar="SCAN.nii.gz", help="picture its features too; it is not trained on"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")


def run_pretrain(options: argparse.Namespace) -> None:
    """Run the verb from parsed options."""
    let_threads_sleep()
    from dinoreg.pretrain.settings import load_pretrain_config
    from dinoreg.pretrain.train import CONFIG, TrainOptions, pretrain
    from dinoreg.runtime import choose_device

    begun = options.output / CONFIG
    kept = begun if options.resume and options.config is None and begun.is_file() else None
    pretrain(
        load_pretrain_config(options.config or kept, options.set, preset=options.preset),
        TrainOptions(
            options.output,
            choose_device(options.device),
            resume=options.resume,
            real=options.real,
            stop_at=options.until,
        ),
    )
