"""What is measured: encoders, schedules, and the rows of every experiment."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dinoreg.settings.load import config_hash, load_preset
from dinoreg.settings.stages import Ffd
from dinoreg.task.run_task import RunOptions, run_task
from regeval.scoring.quick_scores import score_task
from regtask.dataset import Dataset

ENCODERS = {
    "mind": '{ name = "mind" }',
    "dinov2": '{ name = "dinov2", variant = "vitb14-reg" }',
    "sam": '{ name = "sam", weights = "sam_vit_b_01ec64.pth" }',
    "medsam": '{ name = "sam", weights = "medsam_vit_b.pth" }',
}
GUIDE = 0.3  # alpha of the rows "with NCC": the best of the paper's sweep
BASE = "ffd-ncc"
_SCHEDULE = ("levels", "iterations", "learning_rate", "regularity_weight", "control_mm")


def schedule(name: str) -> tuple[str, ...]:
    """Return the overrides of a schedule: "ours", or "published", that of the preset `ffd-published`."""
    if name == "ours":
        return ()
    stage = load_preset("ffd-published").ffd[0]
    assert isinstance(stage, Ffd)
    return tuple(f"ffd.0.{key}={getattr(stage, key)}" for key in _SCHEDULE)


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration to be measured.

    Attributes:
        experiment: which table it belongs to.
        name: of the row.
        encoder: the guide; "" for none, None for no registration at all.
        settings: of the free-form stage that differ from the preset `ffd-ncc`.
    """

    experiment: str
    name: str
    encoder: str | None
    settings: tuple[str, ...] = ()

    def overrides(self, encoders: Mapping[str, str]) -> list[str]:
        """Return the same as `--set` of the command, the encoders being given by name."""
        guided = self.encoder and "alpha=0.0" not in self.settings
        guide = [f"features.encoders=[{encoders[self.encoder]}]"] if self.encoder and guided else []
        return [*guide, *(f"ffd.0.{setting}" for setting in self.settings)]


def that_matter(settings: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the settings for every row without the patches, where no transformer guides."""
    tokens = any("features.encoders" in o and '"mind"' not in o for o in overrides)
    return [s for s in settings if tokens or not s.startswith("ffd.0.feature_grid")]


def rows_of(experiment: str, encoders: Mapping[str, str]) -> Iterator[Row]:
    """List the rows of an experiment."""
    if experiment == "table":
        yield Row("table", "initial", None)
        yield Row("table", "NCC", "")
    for name, settings in encoders.items():
        if experiment == "table":
            for distance in ("l1", "cosine"):
                for alpha, title in ((1.0, ""), (GUIDE, " + NCC")):
                    how = (f'distance="{distance}"', f"alpha={alpha}")
                    yield Row("table", f"{name} {distance}{title}", name, how)
        elif experiment == "alpha":
            for tenth in range(11):
                yield Row("alpha", f"{name} alpha {tenth / 10}", name, (f"alpha={tenth / 10}",))
        elif experiment == "order":
            for order in ("dynamic", "static"):
                for alpha in (GUIDE, 1.0):
                    how = (f'order="{order}"', f"alpha={alpha}")
                    yield Row("order", f"{name} {order} alpha {alpha}", name, how)
        elif experiment == "upscaling" and '"mind"' not in settings:  # it has a vector for every pixel anyway
            native = 128 // (14 if '"dinov2"' in settings else 16)
            for grid in (native, 64):
                how = (f"feature_grid={grid}", "alpha=1.0")
                yield Row("upscaling", f"{name} {grid} x {grid} patches", name, how)


def known(path: Path, digest: str) -> dict[str, Any] | None:
    """Return what was measured before with the same settings, in whatever experiment."""
    rows = json.loads(path.read_text(encoding="utf-8")).get("rows", []) if path.is_file() else []
    same = next((row for row in rows if row["digest"] == digest), None)
    return same and {key: value for key, value in same.items() if key not in Row.__slots__}


def digest(row: Row, dataset: Dataset, overrides: Sequence[str]) -> str:
    """Return what tells measurements apart: the task, and all settings that were resolved."""
    settings = "identity" if row.encoder is None else config_hash(load_preset(BASE, overrides))
    return f"{dataset.name} {settings}"


def measure(dataset: Dataset, row: Row, device: torch.device, overrides: Sequence[str]) -> dict[str, Any]:
    """Register and score all pairs of a task by one configuration."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        if row.encoder is not None:
            output = Path(folder) / "fields"
            manifest = run_task(dataset, load_preset(BASE, overrides), RunOptions(output, device=device))
            seconds = [entry["seconds"] for entry in manifest.pairs.values()]
            scores = score_task(dataset, output)
        else:
            scores = score_task(dataset, None)
    labels = {label for s in scores for label in s.dice_per_label}
    # A label that is in one of the two images only has no Dice.
    per_label = {
        n: {s.case: d for s in scores if (d := s.dice_per_label.get(n, math.nan)) >= 0}
        for n in sorted(labels)
    }
    return {
        "overrides": list(overrides),
        "pairs": len(scores),
        "dice": statistics.fmean(s.dice for s in scores),
        "dice_sd": _deviation([s.dice for s in scores]),
        "dice_per_pair": {s.case: round(s.dice, 4) for s in scores},
        "dice_per_pair_and_label": {
            str(n): {case: round(d, 4) for case, d in cases.items()} for n, cases in per_label.items()
        },
        "dice_per_label": {str(n): statistics.fmean(cases.values()) for n, cases in per_label.items()},
        "pairs_per_label": {str(n): len(cases) for n, cases in per_label.items()},
        "hd95": statistics.fmean(s.hd95_mm for s in scores),
        "hd95_sd": _deviation([s.hd95_mm for s in scores]),
        "sd_log_jacobian": statistics.fmean(s.sd_log_jacobian for s in scores),
        "folding_percent": statistics.fmean(s.folding_percent for s in scores),
        "seconds": statistics.fmean(seconds) if seconds else 0.0,
    }


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
