"""From how far shifts and rotations of a real volume are recovered, by features alone and by the product.

The fixed image is a prepared volume. The moving image is the same volume resampled once by the motion, its
intensities changed, with noise. Points are random foreground cells of the lattice of the last discrete stage
(8 mm); one counts if its place in the moving image is foreground too. It is recovered if the displacement
found there is wrong by no more than one cell. Two ways of finding it, the same for every encoder:

* search: of all foreground cells of the moving image, the one whose features are closest, by the squared
  distance summed over 5 cells per axis with the weights of the product's cost volume; no regularisation, no
  neighbour, no limit of the range: what the features alone are worth.
* stages: start and discrete stages of the preset, without Adam: the capture range of the product.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from common import ROOT, provenance, write_json
from dinoreg.encoders.ensemble import encode_pair
from dinoreg.encoders.pool import EncoderPool
from dinoreg.pipeline.plan import make_plan
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import PreparedImage, prepare_image
from dinoreg.runtime import choose_device
from dinoreg.settings.config import Config
from dinoreg.space.features import Features
from dinoreg.space.orientation import orientation_of
from encoder_motions import CONTRASTS, Motion, all_motions, make_moving
from encoder_presets import add_common_arguments, find_presets
from regtask.grid import Grid
from regtask.images import read_volume

Row = dict[str, Any]
PRESETS = ("ssd", "mind", "dino3d")
SHIFTS_MM = (10.0, 30.0, 60.0, 90.0, 120.0)
ROTATIONS_DEGREES = (5.0, 10.0, 20.0, 30.0, 40.0)
MEASURES = {"search": "nearest features, everywhere", "stages": "start and discrete stages"}
_UNITS = {"shift": "mm", "rotation": "degrees"}
_LINES = dict(zip(CONTRASTS, ("-", "--", ":"), strict=True))
_POINTS_AT_A_TIME = 50
_PATCH = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)  # two box filters of 3 cells


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this comparison."""
    parser.add_argument("--volume", type=Path, required=True, help="a real scan, NIfTI")
    parser.add_argument("--modality", default="", help="such as CT; by default the values decide")
    add_common_arguments(parser, PRESETS)
    parser.add_argument("--contrasts", nargs="+", choices=CONTRASTS, default=["gamma", "inverted"])
    parser.add_argument("--shifts", nargs="*", type=float, default=SHIFTS_MM, metavar="MM")
    parser.add_argument("--rotations", nargs="*", type=float, default=ROTATIONS_DEGREES, metavar="DEGREES")
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/encoder_capture.json")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs/encoder_capture.png")


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, motion by motion, then draw the curves of this volume."""
    results = {"provenance": provenance(), "about": " ".join((__doc__ or "").split()), "rows": []}
    if options.output.is_file():
        results["rows"] = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
    rows = results["rows"]
    device = choose_device(options.device)
    volume = read_volume(options.volume)
    current = []
    for preset in find_presets(options.presets, options.weights, device):
        image = prepare_image(
            volume.data, preset.config.preprocess, modality=options.modality, mask=None, comes_again=True
        )
        bench = Bench(image, volume.grid, preset.config, EncoderPool(device), device)
        for motion in all_motions(options.shifts, options.rotations):
            for contrast in options.contrasts:
                key = {
                    "volume": options.volume.name,
                    "preset": preset.name,
                    **asdict(motion),
                    "contrast": contrast,
                    "points": options.points,
                }
                known = next((r for r in rows if all(r[k] == v for k, v in key.items())), None)
                if known is None or options.again or known["digest"] != preset.digest:
                    if known is not None:
                        rows.remove(known)
                    known = {**key, "digest": preset.digest, "weights": list(preset.weights)}
                    known |= {"commit": provenance()["commit"]} | bench.measure(
                        motion, contrast, options.points
                    )
                    rows.append(known)
                    write_json(options.output, results)
                    print(_line(known), flush=True)
                current.append(known)
    draw_curves(current, options.figure)
    print(options.figure)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """One volume and one preset.

    Attributes:
        fixed: the volume, prepared.
        grid: of it.
        config: of the preset.
        encoder: of the preset, on the device.
        device: where to compute.
    """

    fixed: PreparedImage
    grid: Grid
    config: Config
    pool: EncoderPool
    device: torch.device

    def measure(self, motion: Motion, contrast: str, points: int) -> Row:
        """Return the recovered share of the points by each measure; None where none has a counterpart."""
        spacing, shape = np.array(self.grid.spacing_mm), self.fixed.values.shape
        moving = make_moving(self.fixed, motion, contrast, self.grid.spacing_mm)
        plan = make_plan(
            self.config, shape, self.grid.spacing_mm, orientation=orientation_of(self.grid.affine)
        )
        assert plan.judged is not None
        lattice = plan.judged.lattice
        sources = self.pool.sources(self.config.features.encoders)
        pair = self.fixed, moving
        settings, frame = self.config.features, plan.frame
        joined = encode_pair(sources, settings, pair, frame, plan.finest, self.device).features.joined
        fixed_features, moving_features = joined.fixed.on(lattice), joined.moving.on(lattice)
        del joined

        inside = (fixed_features.weight[0] >= 0.5).nonzero().cpu().numpy()
        cells = np.random.default_rng(0).permutation(inside)[:points]
        voxels = (cells + 0.5) * lattice.stride - 0.5
        truth_mm = motion.displacement_mm((voxels - (np.array(shape) - 1) / 2) * spacing)
        visible = _read(moving.foreground, voxels + truth_mm / spacing, outside=0.0) > 0.5
        cells, voxels, truth_mm = cells[visible], voxels[visible], truth_mm[visible]
        tolerance_mm = max(lattice.spacing_mm)
        row: Row = {"tolerance_mm": tolerance_mm, "counted": len(cells), **dict.fromkeys(MEASURES)}
        if not len(cells):
            return row
        found = search_everywhere(fixed_features, moving_features, torch.from_numpy(cells).to(self.device))
        displacement_mm = {
            "search": (found.cpu().numpy() - cells) * lattice.spacing_mm,
            "stages": self._by_stages(moving, voxels) * spacing,
        }
        for name, displacement in displacement_mm.items():
            error_mm = np.linalg.norm(displacement - truth_mm, axis=1)
            row[name] = float((error_mm <= tolerance_mm).mean())
        return row

    def _by_stages(self, moving: PreparedImage, voxels: NDArray[Any]) -> NDArray[Any]:
        """Return the displacement at (N, 3) voxels, in voxels, before any Adam."""
        field = register_prepared(
            self.fixed,
            moving,
            self.grid.spacing_mm,
            self.config.model_copy(update={"adam": ()}),
            device=self.device,
            orientation=orientation_of(self.grid.affine),
            pool=self.pool,
        ).displacement
        return np.stack([_read(field[..., axis], voxels) for axis in range(3)], axis=1)


def search_everywhere(fixed: Features, moving: Features, cells: Tensor) -> Tensor:
    """Return the foreground cell of `moving` that each of some cells of `fixed` is closest to.

    Args:
        fixed: on a lattice.
        moving: on the same one.
        cells: (N, 3) of `fixed`.

    Returns:
        (N, 3) of `moving`.
    """
    line = torch.tensor(_PATCH, device=cells.device)
    patch = line[:, None, None] * line[:, None] * line
    half = len(_PATCH) // 2
    padded_fixed, padded = (F.pad(f.values[None], [half] * 6, mode="replicate") for f in (fixed, moving))
    # (f - m)^2 = f^2 - 2 f m + m^2, and f^2 is the same for all candidates.
    square = F.conv3d(padded.square().sum(dim=1, keepdim=True), patch[None, None])[0, 0]
    square = square.masked_fill(moving.weight[0] < 0.5, float("inf"))
    best = []
    for some in torch.split(cells, _POINTS_AT_A_TIME):
        windows = [tuple(slice(start, start + len(_PATCH)) for start in cell) for cell in some.tolist()]
        patches = torch.stack([padded_fixed[(0, slice(None), *window)] for window in windows])
        product = F.conv3d(padded, patches * patch)[0]
        best.append((square - 2 * product).flatten(1).argmin(dim=1))
    return torch.stack(torch.unravel_index(torch.cat(best), square.shape), dim=1)


def draw_curves(rows: Sequence[Row], picture: Path) -> None:
    """Draw the recovered share over the amount of motion, the mean of the three axes."""
    figure, axes = plt.subplots(
        len(MEASURES), 2, figsize=(10, 7), layout="constrained", sharex="col", sharey=True
    )
    presets = list(dict.fromkeys(row["preset"] for row in rows))
    for line, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        for axis, (kind, unit) in zip(line, _UNITS.items(), strict=True):
            for preset in presets:
                for contrast in dict.fromkeys(row["contrast"] for row in rows):
                    amounts, shares = mean_curve(
                        [
                            r
                            for r in rows
                            if (r["preset"], r["contrast"], r["kind"]) == (preset, contrast, kind)
                        ],
                        measure,
                    )
                    axis.plot(
                        amounts,
                        [100 * share for share in shares],
                        _LINES[contrast],
                        color=f"C{presets.index(preset)}",
                        marker=".",
                        label=f"{preset}, {contrast}",
                    )
            axis.set_title(title)
            axis.grid(alpha=0.3)
            axes[-1][list(_UNITS).index(kind)].set_xlabel(f"{kind}, {unit}")
        line[0].set_ylabel("points recovered, %")
    axes[0][1].legend(fontsize=8)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def mean_curve(rows: Sequence[Row], measure: str) -> tuple[list[float], list[float]]:
    """Return the amounts, without signs, and the mean share at each of them."""
    shares: dict[float, list[float]] = {}
    for row in rows:
        if row[measure] is not None:
            shares.setdefault(abs(row["amount"]), []).append(row[measure])
    amounts = sorted(shares)
    return amounts, [statistics.fmean(shares[amount]) for amount in amounts]


def _read(volume: NDArray[Any], voxels: NDArray[Any], *, outside: float | None = None) -> NDArray[Any]:
    """Read (I, J, K) at (N, 3) voxels, linearly; outside it a value, by default the border's."""
    how: dict[str, Any] = {"mode": "nearest"} if outside is None else {"mode": "constant", "cval": outside}
    read: NDArray[Any] = ndimage.map_coordinates(volume.astype(np.float32), voxels.T, order=1, **how)
    return read


def _line(row: Row) -> str:
    shares = ", ".join(f"{name} {'none' if row[name] is None else f'{row[name]:.2f}'}" for name in MEASURES)
    unit = _UNITS[row["kind"]]
    return (
        f"{row['preset']} {row['contrast']} {row['kind']} {row['axis']} {row['amount']:+g} {unit}: {shares}"
    )
