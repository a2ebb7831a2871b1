"""The experiments of Koegl et al. 2024 on 2D pairs: encoder features as a guide of B-spline registration.

    python benchmarks/bench_guidance.py table --data ../shared/data/CardiacED2ES
    python benchmarks/bench_guidance.py alpha | upscaling | order --data ...
    python benchmarks/bench_guidance.py curves | components | commute | pairs --data ... --figures FOLDER

The figures other than the curves show the scans themselves: mind their licence before handing them on.

An encoder whose weights are not found (DINOREG_WEIGHTS) is listed as not measured. Every experiment adds its
rows to benchmarks/results/guidance.json; the tables are written to guidance.md beside it. What that file has
of the same settings is not measured again: delete it to measure anew.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import guidance_figures
from common import ROOT, provenance, write_json
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.source import Guide
from dinoreg.errors import WeightsError
from dinoreg.runtime import choose_device
from dinoreg.settings.load import config_hash, load_preset
from dinoreg.task.run_task import RunOptions, run_task
from regeval.scoring.quick_scores import score_task
from regtask.dataset import Dataset, read_dataset

ENCODERS = {
    "mind": '{ name = "mind" }',
    "dinov2": '{ name = "dinov2", variant = "vitb14-reg" }',
    "sam": '{ name = "sam", weights = "sam_vit_b_01ec64.pth" }',
    "medsam": '{ name = "sam", weights = "medsam_vit_b.pth" }',
}
GUIDE = 0.3  # alpha of the rows "with NCC": the best of the paper's sweep
FIGURES = {
    "curves": guidance_figures.draw_curves,
    "components": guidance_figures.draw_components,
    "commute": guidance_figures.draw_commutation,
}


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

    @property
    def overrides(self) -> list[str]:
        """The same as `--set` of the command."""
        guide = [f"features.encoders=[{ENCODERS[self.encoder]}]"] if self.encoder else []
        return [*guide, *(f"ffd.0.{setting}" for setting in self.settings)]


def rows_of(experiment: str, encoders: Sequence[str]) -> Iterator[Row]:
    """List the rows of an experiment."""
    if experiment == "table":
        yield Row("table", "initial", None)
        yield Row("table", "NCC", "")
    for name in encoders:
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
        elif experiment == "upscaling" and name != "mind":  # MIND has a vector for every pixel anyway
            native = 128 // (14 if name == "dinov2" else 16)
            for grid in (native, 64):
                how = (f"feature_grid={grid}", "alpha=1.0")
                yield Row("upscaling", f"{name} {grid} x {grid} patches", name, how)


def main() -> None:
    """Run one experiment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=("table", "alpha", "order", "upscaling", "pairs", *FIGURES))
    parser.add_argument("--data", type=Path, required=True, help="folder of a task of single slices")
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every row")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/guidance.json")
    parser.add_argument("--figures", type=Path, default=Path(tempfile.gettempdir(), "guidance"))
    options = parser.parse_args()
    dataset = read_dataset(options.data / f"{options.data.name}_dataset.json")
    device = choose_device(options.device)
    found, absent = find_encoders(options.encoders, device)
    if options.experiment in FIGURES:
        picture = options.figures / f"guidance_{options.experiment}.png"
        numbers = FIGURES[options.experiment](dataset, found, picture)
        print(picture, json.dumps(numbers, indent=1), sep="\n")
        update(options.results, options.experiment, [], absent, numbers)
        return
    if options.experiment == "pairs":
        guidance_figures.draw_pairs(dataset, options.figures / "guidance_pairs.png", device)
        return
    for row in rows_of(options.experiment, options.encoders):
        if row.encoder in absent:
            print(f"{row.name}: not measured, {absent[row.encoder]}")
            continue
        digest = _digest(row, dataset, options.set)
        result = asdict(row) | (known(options.results, digest) or measure(dataset, row, device, options.set))
        result["digest"] = digest
        print(f"{row.name}: Dice {result['dice']:.4f}, {result['seconds']:.1f} s per pair", flush=True)
        update(options.results, options.experiment, [result], absent, None)


def find_encoders(names: Sequence[str], device: torch.device) -> tuple[dict[str, Guide], dict[str, str]]:
    """Load the encoders whose weights are at hand, as functions of slices on the CPU; name the others."""
    pool = EncoderPool(device)
    found: dict[str, Guide] = {}
    absent = {}

    def on_cpu(guide: Guide) -> Guide:
        return lambda image: guide(image.to(device)).cpu()

    for name in names:
        settings = load_preset("ffd-ncc", [f"features.encoders=[{ENCODERS[name]}]"]).features.encoders
        try:
            found[name] = on_cpu(pool.sources(settings)[0].guide(2, guidance_figures.GRID))
        except WeightsError as error:
            absent[name] = str(error.faults[0].what)
    return found, absent


def known(path: Path, digest: str) -> dict[str, Any] | None:
    """Return what was measured before with the same settings, in whatever experiment."""
    rows = json.loads(path.read_text(encoding="utf-8")).get("rows", []) if path.is_file() else []
    same = next((row for row in rows if row["digest"] == digest), None)
    return same and {key: value for key, value in same.items() if key not in Row.__slots__}


def _digest(row: Row, dataset: Dataset, common: Sequence[str]) -> str:
    settings = (
        "identity" if row.encoder is None else config_hash(load_preset("ffd-ncc", [*row.overrides, *common]))
    )
    return f"{dataset.name} {settings}"


def measure(dataset: Dataset, row: Row, device: torch.device, common: Sequence[str]) -> dict[str, Any]:
    """Register and score all pairs of a task by one configuration."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        if row.encoder is not None:
            config = load_preset("ffd-ncc", [*row.overrides, *common])
            output = Path(folder) / "fields"
            manifest = run_task(dataset, config, RunOptions(output, device=device))
            seconds = [entry["seconds"] for entry in manifest.pairs.values()]
            scores = score_task(dataset, output)
        else:
            scores = score_task(dataset, None)
    labels = {label for s in scores for label in s.dice_per_label}
    # A label that is in one of the two images only has no Dice.
    per_label = {n: [d for s in scores if (d := s.dice_per_label.get(n, math.nan)) >= 0] for n in labels}
    return {
        "overrides": [*row.overrides, *common],
        "pairs": len(scores),
        "dice": statistics.fmean(s.dice for s in scores),
        "dice_sd": statistics.stdev(s.dice for s in scores),
        "dice_per_pair": {s.case: round(s.dice, 4) for s in scores},
        "dice_per_label": {str(n): statistics.fmean(per_label[n]) for n in sorted(labels)},
        "pairs_per_label": {str(n): len(per_label[n]) for n in sorted(labels)},
        "hd95": statistics.fmean(s.hd95_mm for s in scores),
        "hd95_sd": statistics.stdev(s.hd95_mm for s in scores),
        "sd_log_jacobian": statistics.fmean(s.sd_log_jacobian for s in scores),
        "folding_percent": statistics.fmean(s.folding_percent for s in scores),
        "seconds": statistics.fmean(seconds) if seconds else 0.0,
    }


def update(
    path: Path, experiment: str, rows: Sequence[dict[str, Any]], absent: dict[str, str], numbers: Any
) -> None:
    """Put rows in the place of those of the same name, and write the tables again."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content.setdefault("provenance", {})[experiment] = provenance()
    content["not_measured"] = absent
    if numbers is not None:
        content.setdefault("figures", {})[experiment] = numbers
    table = {(r["experiment"], r["name"]): r for r in [*content.get("rows", []), *rows]}
    content["rows"] = list(table.values())
    write_json(path, content)
    path.with_suffix(".md").write_text(format_tables(content), encoding="utf-8")


def format_tables(content: dict[str, Any]) -> str:
    """Return the Markdown tables of all experiments."""
    lines = []
    for experiment in dict.fromkeys(row["experiment"] for row in content["rows"]):
        rows = [row for row in content["rows"] if row["experiment"] == experiment]
        command = content["provenance"][experiment]["command"]
        lines += [f"## {experiment}", "", f"`{command}`", "", format_rows(rows), ""]
    if content["not_measured"]:
        lines += ["## Not measured", ""]
        lines += [f"* {name}: {reason}" for name, reason in content["not_measured"].items()] + [""]
    return "\n".join(lines)


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of one experiment."""
    labels = list(rows[0]["dice_per_label"])
    titles = " | ".join(f"label {n} ({rows[0]['pairs_per_label'][n]} pairs)" for n in labels)
    lines = [f"| | Dice | {titles} | HD95 | sdLogJ | folds % | s |", "|---" * (6 + len(labels)) + "|"]
    for row in rows:
        each = " | ".join(f"{row['dice_per_label'][label]:.3f}" for label in labels)
        lines.append(
            f"| {row['name']} | {row['dice']:.3f} ± {row['dice_sd']:.3f} | {each} |"
            f" {row['hd95']:.2f} ± {row['hd95_sd']:.2f} | {row['sd_log_jacobian']:.3f} |"
            f" {row['folding_percent']:.3f} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
