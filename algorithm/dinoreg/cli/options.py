"""What several verbs share: options of a task and of a configuration, and how they are taken up."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dinoreg.settings.config import Config

# As `dinoreg.desk.exchange.read` names them, which takes a second to load.
FORM_NAMES = ("itk", "image", "learn2reg", "elastix")


def add_task_arguments(parser: argparse.ArgumentParser, *, preset: str, override_help: str) -> None:
    """Add the options that say which pairs, which configuration and which device.

    Args:
        parser: of a verb.
        preset: the default one.
        override_help: of `--set`.
    """
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the JSON's paths begin")
    parser.add_argument("--split", choices=("auto", "test", "val", "train"), default="auto")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", default=preset, help=f"see: dinoreg presets (default: {preset})")
    source.add_argument("--config", type=Path, metavar="FILE.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=override_help)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")


def add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be said of the two scans of a desk, beside their paths."""
    for role in ("fixed", "moving"):
        parser.add_argument(f"--{role}-mask", type=Path, metavar="MASK", help="what counts")
        parser.add_argument(f"--{role}-modality", default="", metavar="CT|MR", help="where it is known")
        parser.add_argument(
            f"--{role}-series", default="", metavar="UID", help="of a DICOM folder with several"
        )


def chosen_config(options: argparse.Namespace) -> Config:
    """Return the configuration that the options name, overrides included.

    Raises:
        ConfigError: it holds faults.
    """
    from dinoreg.settings.load import load_config, load_preset

    if options.config:
        return load_config(options.config, options.set)
    return load_preset(options.preset, options.set)


def let_threads_sleep() -> None:
    """Have waiting threads sleep; it is read when torch is loaded, so call it before.

    On shared cores, threads that spin while they wait cost many times the work.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
