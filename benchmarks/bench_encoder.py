"""What the volume encoder `dino3d` is worth beside MIND and plain intensities, on real scans.

    python benchmarks/bench_encoder.py table --data ../shared/data
    python benchmarks/bench_encoder.py capture --volume ../shared/data/AbdomenMRCT/imagesTr/....nii.gz
    python benchmarks/bench_encoder.py contrast --data ../shared/data
    python benchmarks/bench_encoder.py inference
    python benchmarks/bench_encoder.py objectives
    python benchmarks/bench_encoder.py cost

table: Dice, HD95, folds, time and memory of presets on four tasks, one process per pair; capture: the share
of points whose known motion is recovered; contrast: places of one head found again in another MR contrast;
inference: time and memory of one encoding; objectives: what each way to train teaches;
cost: operations and seconds of a training. Results go to
benchmarks/results/encoder*; `table` and `capture` keep them after every step, and a run that was interrupted
goes on where it stopped. A preset whose weights are not found is left out, and named.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import encoder_capture
import encoder_contrast
import encoder_cost
import encoder_inference
import encoder_objectives
import encoder_table

MEASUREMENTS = {
    "table": encoder_table,
    "capture": encoder_capture,
    "contrast": encoder_contrast,
    "inference": encoder_inference,
    "objectives": encoder_objectives,
    "cost": encoder_cost,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, module in MEASUREMENTS.items():
        command = commands.add_parser(
            name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
