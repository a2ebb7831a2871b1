"""Which objective teaches the most in the same number of steps, or in the same time.

Every candidate trains the same small network on the same views from the same seed. Judged on patients that
no training saw: the distance between a place and where it is found in another modality, and how often an
organ is found in another patient.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from common import ROOT, provenance, write_json
from dinoreg.pretrain.settings import PretrainConfig, load_pretrain_config
from dinoreg.pretrain.train import TrainOptions, pretrain
from dinoreg.runtime import choose_device

_SMALL = (
    "views.size=48",
    "views.voxel_mm=[3.0, 6.0]",
    "network.widths=[16, 32, 64, 96]",
    "training.batch=4",
    "training.warmup_steps=50",
    "training.average=0.98",
)
_SELF_DISTILLED = ("contrastive.weight=0", "dino.weight=1")
CANDIDATES: dict[str, tuple[str, ...]] = {
    "contrastive": (),
    "contrastive, no coarse heads": ("contrastive.coarse_weight=0",),
    "DINO, Sinkhorn": _SELF_DISTILLED,
    "DINO, mean centring": (*_SELF_DISTILLED, 'dino.centring="mean"'),
    "DINO without KoLeo": (*_SELF_DISTILLED, "dino.koleo_weight=0"),
    "contrastive + DINO": ("dino.weight=0.5",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of all candidates")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/encoder_objectives.json")


def run(options: argparse.Namespace) -> None:
    """Train every candidate and write the scores as they went."""
    results: dict[str, Any] = {"provenance": provenance(), "steps": options.steps, "rows": []}
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        anatomies = Path(folder) / "anatomies"
        for name in options.candidates:
            config = _config(name, options.steps, options.set)
            own = Path(folder) / name
            own.mkdir()
            if anatomies.is_dir():  # those of the first candidate: the same seed draws the same
                (own / "anatomies").symlink_to(anatomies)
            progress = pretrain(config, TrainOptions(own, device))
            if not anatomies.is_dir():
                (own / "anatomies").rename(anatomies)
            results["rows"] += [
                {"objective": name, "seconds": progress.seconds * row["step"] / progress.step, **row}
                for row in progress.scores
            ]
            write_json(options.output, results)
    text = table(results["rows"])
    options.output.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the last score of every objective as Markdown."""
    lines = [
        "| objective | steps | seconds | place found, median mm | within 12 mm | organ in another patient |",
        "|---|---|---|---|---|---|",
    ]
    for row in {row["objective"]: row for row in rows}.values():
        lines.append(
            f"| {row['objective']} | {row['step']:.0f} | {row['seconds']:.0f} | {row['median_mm']:.1f} | "
            f"{row['near']:.2f} | {row['organ']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _config(name: str, steps: int, overrides: list[str]) -> PretrainConfig:
    settings = [*_SMALL, f"training.steps={steps}", f"training.picture_steps={max(1, steps // 4)}"]
    return load_pretrain_config(None, [*settings, *CANDIDATES[name], *overrides])
