"""How far features depend on the contrast: places of one head in four MR contrasts that are in register.

For random foreground cells of one contrast, features are compared with those of all foreground cells of the
other contrast, by their distance, one cell at a time. A row has: the median distance from the cell to its
best match, mm; the share of best matches within `WITHIN_MM`; and the AUC, the probability that the same cell
is closer than another one. Each is the mean of both directions. Features are those of the preset (joint PCA
and scale of the pair), on cells of 4 mm whatever the size of the image, so that the voxels that `dino3d` sees
are those it was trained on.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import ROOT, provenance, write_json
from dinoreg.encoders.ensemble import encode_pair
from dinoreg.encoders.pool import EncoderPool
from dinoreg.pipeline.plan import make_plan
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.runtime import choose_device
from dinoreg.space.features import Features
from dinoreg.space.orientation import orientation_of
from encoder_presets import Chosen, add_common_arguments, find_presets
from regtask.images import Volume, read_volume

Row = dict[str, Any]
PRESETS = ("ssd", "mind", "dino3d", "dino3d+mind")
CONTRASTS = ("T1pre", "T1post", "T2", "FLAIR")
WITHIN_MM = 10.0
COLUMNS = ("median_mm", "within", "auc")
_QUERIES_AT_A_TIME = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this comparison."""
    parser.add_argument("--data", type=Path, required=True, help="folder with native/brain_T1pre.nii.gz ...")
    add_common_arguments(parser, PRESETS)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/encoder_contrast")


def run(options: argparse.Namespace) -> None:
    """Measure every pair of contrasts with every preset, then write and print the table."""
    found = provenance()
    device = choose_device(options.device)
    volumes = {name: read_volume(options.data / "native" / f"brain_{name}.nii.gz") for name in CONTRASTS}
    rows: list[Row] = []
    for preset in find_presets(options.presets, options.weights, device):
        rows += measure(volumes, preset, device, points=options.points)
    table = format_table(rows)
    content = {"provenance": found, "within_mm": WITHIN_MM, "points": options.points, "rows": rows}
    write_json(options.output.with_suffix(".json"), content)
    options.output.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    print(table)


def measure(volumes: Mapping[str, Volume], preset: Chosen, device: torch.device, *, points: int) -> list[Row]:
    """Return one row per pair of contrasts; the volumes are on one grid."""
    features = preset.config.features.model_copy(update={"max_cells": None, "cell_mm": 4.0})
    config = preset.config.model_copy(update={"features": features})
    sources = EncoderPool(device).sources(config.features.encoders)
    grid = next(iter(volumes.values())).grid
    plan = make_plan(config, grid.shape, grid.spacing_mm, orientation=orientation_of(grid.affine))
    images = {
        name: prepare_image(volume.data, config.preprocess, modality="MR", mask=None, comes_again=True)
        for name, volume in volumes.items()
    }
    rows = []
    for names in itertools.combinations(images, 2):
        pair = images[names[0]], images[names[1]]
        found = encode_pair(sources, config.features, pair, plan.frame, plan.finest, device)
        block = found.features.joined
        both = [retrieve(a, b, points) for a, b in ((block.fixed, block.moving), (block.moving, block.fixed))]
        means = {key: statistics.fmean(found[key] for found in both) for key in COLUMNS}
        row = {"preset": preset.name, "contrasts": list(names), **means, "each_way": both}
        rows.append(row | {"digest": preset.digest, "weights": list(preset.weights)})
        print(preset.name, *names, {key: round(value, 3) for key, value in means.items()}, flush=True)
    return rows


def retrieve(queries: Features, others: Features, points: int) -> dict[str, float]:
    """Look for random foreground cells of one volume among those of another that is in register.

    Args:
        queries: features of the first.
        others: of the second, on the same lattice.
        points: how many cells to look for; of fewer, all.
    """
    inside = (queries.weight[0] >= 0.5) & (others.weight[0] >= 0.5)
    cells = inside.nonzero()
    candidates = others.values[:, inside].T.contiguous()
    asked = torch.from_numpy(np.random.default_rng(0).permutation(len(cells))[:points]).to(cells.device)
    wanted = queries.values[:, inside].T[asked]
    spacing = torch.tensor(queries.lattice.spacing_mm, device=cells.device)
    off_mm, closer = [], []
    for rows, features in zip(
        torch.split(asked, _QUERIES_AT_A_TIME), torch.split(wanted, _QUERIES_AT_A_TIME), strict=True
    ):
        distances = torch.cdist(features, candidates, compute_mode="donot_use_mm_for_euclid_dist")
        off_mm.append(_length((cells[distances.argmin(dim=1)] - cells[rows]) * spacing))
        closer.append(_share_beyond(distances, rows))
    errors = torch.cat(off_mm)
    return {
        "median_mm": float(errors.median()),
        "within": float((errors <= WITHIN_MM).double().mean()),
        "auc": float(torch.cat(closer).mean()),
    }


def format_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table: a line per preset and pair of contrasts, and one of their means."""
    lines = [
        f"| preset | contrasts | median distance of the best match, mm | within {WITHIN_MM:g} mm, % | AUC |",
        "|---|---|---|---|---|",
    ]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        of_preset = [row for row in rows if row["preset"] == preset]
        mean = {key: statistics.fmean(row[key] for row in of_preset) for key in COLUMNS}
        for row in [*of_preset, {"contrasts": ["mean"], **mean}]:
            lines.append(
                f"| {preset} | {', '.join(row['contrasts'])} | {row['median_mm']:.1f} |"
                f" {100 * row['within']:.1f} | {row['auc']:.3f} |"
            )
    return "\n".join(lines)


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=1).sqrt()


def _share_beyond(distances: Tensor, same: Tensor) -> Tensor:
    """Return the share of the other candidates that are farther than the same cell; ties count half, (N,)."""
    own = distances.gather(1, same[:, None])
    farther = (distances > own).sum(dim=1) + 0.5 * ((distances == own).sum(dim=1) - 1)
    return farther.double() / (distances.shape[1] - 1)
