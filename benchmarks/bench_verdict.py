"""What verdicts say of right pairs, and of the same pairs made wrong on purpose.

    python benchmarks/bench_verdict.py --data ../shared/data [--output FILE]

Wrong: the moving image is mirrored along its last or its middle axis while nothing says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import ROOT, provenance, write_json
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import Scan
from dinoreg.settings.load import load_preset
from image_pairs import read_image_pair
from regeval.scoring.quick_scores import score_case
from regtask.dataset import Dataset, read_dataset
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
    config, images = load_preset("auto"), read_image_pair(dataset, pair)
    for axis in MIRRORED:
        moving = images.moving if axis is None else mirrored(images.moving, axis)
        result = register(replace(images, moving=moving), config, device=torch.device("cpu"))
        assert result.verdict is not None
        row = {"task": dataset.name, "case": pair.case_key, "mirrored_axis": axis}
        if axis is None:
            scores = score_case(pair, result.displacement)
            row |= {"dice": scores.dice, "tre_mm": scores.tre_mm}
        yield row | result.verdict.as_dict()


def mirrored(scan: Scan, axis: int) -> Scan:
    """Flip an image and its mask along an array axis, and leave its header as it is."""
    mask = None if scan.mask is None else np.flip(scan.mask, axis).copy()
    return replace(scan, values=np.flip(scan.values, axis).copy(), mask=mask)


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
