"""What verdicts say of right pairs, and of the same pairs made wrong on purpose.

    python benchmarks/bench_verdict.py --data ../shared/data [--output FILE]

Wrong: the moving image is mirrored along its last or its middle axis while nothing says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import ROOT, provenance, write_json
from dinoreg.pipeline.prepare import PreparedImage, prepare_image
from dinoreg.pipeline.presets import load_preset
from dinoreg.pipeline.register import register_pair
from regeval.scoring.quick_scores import score_case
from regtask.dataset import Dataset, read_dataset
from regtask.images import read_mask, read_volume
from regtask.pair import Pair

PAIRS = {
    "AbdomenMRCT": (0, 3),
    "AbdomenMRMR": (0, 2, 4),
    "HippocampusMR": (0, 5),
    "LungMR": (0, 1),
    "BrainMulti": (0,),
    "ThoraxCBCT": (0,),
    "BrainT1": (0,),
}
MIRRORED = (None, 2, 1)
RESULTS = ROOT / "benchmarks" / "results" / "verdict.json"


def verdicts(dataset: Dataset, pair: Pair) -> Iterator[dict[str, Any]]:
    """Yield the verdict on a pair as it is and mirrored."""
    config, masks = load_preset("auto"), pair.masks()
    fixed, moving = read_volume(pair.fixed), read_volume(pair.moving)

    def prepare(path: Path, values: np.ndarray, mask: Path | None, axis: int | None) -> PreparedImage:
        inside = read_mask(mask) if mask is not None else None
        if axis is not None:
            values = np.flip(values, axis).copy()
            inside = None if inside is None else np.flip(inside, axis).copy()
        return prepare_image(values, config.preprocess, modality=dataset.modality_of(path), mask=inside)

    for axis in MIRRORED:
        result = register_pair(
            prepare(pair.fixed, fixed.data, masks.fixed, None),
            prepare(pair.moving, moving.data, masks.moving, axis),
            fixed.grid.spacing_mm,
            config,
            device=torch.device("cpu"),
            affine=fixed.grid.affine,
        )
        assert result.verdict is not None
        row = {"task": dataset.name, "case": pair.case_key, "mirrored_axis": axis}
        if axis is None:
            scores = score_case(pair, result.displacement)
            row |= {"dice": scores.dice, "tre_mm": scores.tre_mm}
        yield row | result.verdict.as_dict()


def main() -> None:
    """Judge all pairs and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = []
    for task, numbers in PAIRS.items():
        dataset = read_dataset(arguments.data / task / f"{task}_dataset.json")
        pairs = dataset.pairs("val")
        for number in numbers:
            for row in verdicts(dataset, pairs[number]):
                rows.append(row)
                print({key: value for key, value in row.items() if key != "verdict_reasons"}, flush=True)
                write_json(arguments.output, {"provenance": provenance(), "rows": rows})


if __name__ == "__main__":
    main()
