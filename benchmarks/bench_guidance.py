"""The experiments of Koegl et al. 2024 on 2D pairs: encoder features as a guide of B-spline registration.

    python benchmarks/bench_guidance.py table --data ../shared/data/CardiacED2ES
    python benchmarks/bench_guidance.py alpha | upscaling | order --data ...
    python benchmarks/bench_guidance.py boxes | sweep --data ... --figures FOLDER   # of table and alpha
    python benchmarks/bench_guidance.py curves | components | commute --data ... --figures FOLDER
    python benchmarks/bench_guidance.py pairs | jacobian | guided --data ... --figures FOLDER [--pair N]

`--schedule published` takes the paper's iterations, learning rate and weight in place of ours. The figures
other than curves, boxes and sweep show the scans themselves: mind their licence before handing them on.

An encoder whose weights are not found (DINOREG_WEIGHTS) is listed as not measured; another one is added by
`--encoder 'NAME={ name = "dinov2", ... }'`, as in a configuration. Every experiment adds its rows to
benchmarks/results/guidance.json, those of the published schedule to guidance_published.json; the tables are
written to the .md beside it. What that file has of the same settings is not measured again: delete it to
measure anew.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from common import ROOT
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.source import Guide
from dinoreg.errors import WeightsError
from dinoreg.runtime import choose_device
from dinoreg.settings.load import load_preset
from guidance.curves import draw_curves
from guidance.features import draw_commutation, draw_components
from guidance.pairs import Configs, draw_guided, draw_jacobians, draw_pairs
from guidance.plots import draw_boxes, draw_sweep
from guidance.rows import BASE, ENCODERS, GUIDE, digest, known, measure, rows_of, schedule, that_matter
from guidance.tables import format_rows, read_rows, update
from regtask.dataset import Dataset, read_dataset

__all__ = ["format_rows", "main"]

MEASURED = ("table", "alpha", "order", "upscaling")
FEATURES = {"curves": draw_curves, "components": draw_components}
REGISTERED = {"jacobian": draw_jacobians, "guided": draw_guided}
PLOTTED = {"boxes": ("table", draw_boxes), "sweep": ("alpha", draw_sweep)}
GRID = 64  # patches per side, of the pictures of features


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one experiment."""
    options = parse(arguments)
    dataset = read_dataset(options.data / f"{options.data.name}_dataset.json")
    device = choose_device(options.device)
    picture = options.figures / f"guidance_{options.experiment}.png"
    if options.experiment in PLOTTED:
        source, draw = PLOTTED[options.experiment]
        rows = read_rows(options.results, source)
        if not rows:
            sys.exit(f"nothing to plot in {options.results}: run {source} first")
        report(picture, draw(rows, picture))
        return
    encoders = ENCODERS | dict(options.encoder)
    chosen = {name: encoders[name] for name in options.encoders or encoders}
    found, absent = find_encoders(chosen, device)
    common = [*schedule(options.schedule), *options.set]
    if options.experiment == "pairs":
        draw_pairs(dataset, load_preset(BASE, that_matter(common, ())), picture, device)
    elif options.experiment in FEATURES:
        numbers = FEATURES[options.experiment](dataset, found, picture)
        report(picture, numbers)
        update(options.results, options.experiment, [], absent, numbers)
    elif options.experiment == "commute":
        numbers = draw_commutation(
            dataset, found, load_preset(BASE, that_matter(common, ())), picture, device
        )
        report(picture, numbers)
        update(options.results, options.experiment, [], absent, numbers)
    elif options.experiment in REGISTERED:
        configs = configs_of(options.experiment, {name: chosen[name] for name in found}, common)
        numbers = REGISTERED[options.experiment](dataset, configs, options.pair, picture, device)
        report(picture, numbers)
        update(options.results, options.experiment, [], absent, numbers)
    else:
        measure_rows(options, dataset, chosen, absent, device, common)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    experiments = (*MEASURED, *PLOTTED, *FEATURES, "commute", *REGISTERED, "pairs")
    parser.add_argument("experiment", choices=experiments)
    parser.add_argument("--data", type=Path, required=True, help="folder of a task of single slices")
    parser.add_argument(
        "--encoders", nargs="+", metavar="NAME", help=f"of {', '.join(ENCODERS)} and --encoder"
    )
    parser.add_argument("--encoder", action="append", default=[], type=_named, metavar="NAME=TOML")
    parser.add_argument("--schedule", choices=("ours", "published"), default="ours")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pair", type=int, default=0, help="which one is drawn, from 0")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every row")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results/guidance[_published].json")
    parser.add_argument("--figures", type=Path, default=Path(tempfile.gettempdir(), "guidance"))
    options = parser.parse_args(arguments)
    known_names = {*ENCODERS, *(name for name, _ in options.encoder)}
    unknown = [name for name in options.encoders or () if name not in known_names]
    if unknown:
        parser.error(f"no such encoder: {', '.join(unknown)}; there are {', '.join(sorted(known_names))}")
    if options.results is None:
        name = "guidance.json" if options.schedule == "ours" else "guidance_published.json"
        options.results = ROOT / "benchmarks/results" / name
    return options


def measure_rows(
    options: argparse.Namespace,
    dataset: Dataset,
    encoders: Mapping[str, str],
    absent: Mapping[str, str],
    device: torch.device,
    common: Sequence[str],
) -> None:
    """Measure what is not known yet, row by row."""
    for row in rows_of(options.experiment, encoders):
        if row.encoder in absent:
            print(f"{row.name}: not measured, {absent[row.encoder]}")
            continue
        own = row.overrides(encoders)
        overrides = [*own, *that_matter(common, own)]
        key = digest(row, dataset, overrides)
        result = asdict(row) | (known(options.results, key) or measure(dataset, row, device, overrides))
        result["digest"] = key
        print(f"{row.name}: Dice {result['dice']:.4f}, {result['seconds']:.1f} s per pair", flush=True)
        update(options.results, options.experiment, [result], absent, None)


def find_encoders(
    encoders: Mapping[str, str], device: torch.device
) -> tuple[dict[str, Guide], dict[str, str]]:
    """Load the encoders whose weights are at hand, as functions of slices on the CPU; name the others."""
    pool = EncoderPool(device)
    found: dict[str, Guide] = {}
    absent = {}

    def on_cpu(guide: Guide) -> Guide:
        return lambda image: guide(image.to(device)).cpu()

    for name, toml in encoders.items():
        settings = load_preset(BASE, [f"features.encoders=[{toml}]"]).features.encoders
        try:
            found[name] = on_cpu(pool.sources(settings)[0].guide(2, GRID))
        except WeightsError as error:
            absent[name] = str(error.faults[0].what)
    return found, absent


def configs_of(experiment: str, encoders: Mapping[str, str], common: Sequence[str]) -> Configs:
    """Return the configurations that are drawn: correlation, and each encoder, alone or as a guide."""
    alpha = 1.0 if experiment == "jacobian" else GUIDE
    title = "{} alone" if experiment == "jacobian" else f"{{}}, alpha {alpha}"
    configs = {"NCC": load_preset(BASE, that_matter(common, ()))}
    for name, toml in encoders.items():
        own = [f"features.encoders=[{toml}]", f"ffd.0.alpha={alpha}"]
        configs[title.format(name)] = load_preset(BASE, [*own, *that_matter(common, own)])
    return configs


def report(picture: Path, numbers: dict[str, Any]) -> None:
    """Say where a figure is and what it shows."""
    print(picture, json.dumps(numbers, indent=1), sep="\n")


def _named(text: str) -> tuple[str, str]:
    name, _, toml = text.partition("=")
    if not name or not toml.strip():
        raise argparse.ArgumentTypeError(f"expected NAME=TOML, got {text}")
    return name, toml.strip()


if __name__ == "__main__":
    main()
