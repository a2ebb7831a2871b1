"""What the compiled CPU kernels gain over torch's `grid_sample`: reading features, and SSD with its gradient.

    python benchmarks/bench_sampling.py [--repeats 9] [--threads 1]

Each repeat runs all ways of one task one after the other, in turns that start with another one each time, so
that whatever else the machine does meets all of them. The figures are medians over the repeats, of the
processor seconds, which other work hardly touches, and of the wall seconds, which it does. "Channels last"
gives `grid_sample` the memory order of the kernels, channels_last_3d. Before anything is timed the values of
all ways are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import ROOT, provenance, write_json
from dinoreg.space.coords import to_sampling_grid
from dinoreg.space.sampling import channels_last, sample_linear, squared_difference

SHAPE = (96, 80, 72)  # cells of a usual lattice
CHANNELS = (1, 12, 36)  # intensities, MIND, the joint PCA
READ, READ_BACK, SSD = "read", "read, gradient", "SSD, gradient"
OURS, TORCH, TORCH_LAST = "kernels", "torch", "torch, channels last"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Two feature volumes (C, *SHAPE), and positions (3, *SHAPE) some cells away from a cell's own."""

    fixed: Tensor
    moving: Tensor
    positions: Tensor


def main() -> None:
    """Measure all, write the rows, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/sampling.json")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    facts = {**provenance(), "threads": options.threads, "shared_machine": True, "torch": torch.__version__}
    rows = []
    for channels in CHANNELS:
        inputs = make_inputs(channels)
        for task in (READ, READ_BACK, SSD):
            rows.append({"task": task, "channels": channels, "ways": measure(task, inputs, options.repeats)})
            print(rows[-1], flush=True)
            write_json(options.output, {"provenance": facts, "repeats": options.repeats, "rows": rows})
    print(table(rows))


def make_inputs(channels: int, shape: tuple[int, int, int] = SHAPE) -> Inputs:
    """Random features; displacements that are smooth, as a registration's are, of some cells."""
    generator = torch.Generator().manual_seed(3)
    fixed, moving = (torch.rand(channels, *shape, generator=generator) for _ in range(2))
    coarse = torch.randn(1, 3, *(size // 8 for size in shape), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=False)
    axes = torch.meshgrid(*(torch.arange(float(size)) for size in shape), indexing="ij")
    return Inputs(fixed, moving, torch.stack(axes) + 4 * smooth[0])


def measure(task: str, inputs: Inputs, repeats: int) -> Mapping[str, Mapping[str, float]]:
    """Return per way the median wall and processor seconds, and the median ratio to the kernels'."""
    ways = make_ways(task, inputs)
    expected = ways[OURS]()  # compiled now, and not in the first repeat
    for way in ways.values():
        for found, value in zip(way(), expected, strict=True):
            # Not all: where a position falls on a cell's border, rounding decides on which side the slope is.
            close = torch.isclose(found, value, rtol=1e-3, atol=1e-3).float().mean()
            if close < 1 - 1e-5:
                raise ValueError(f"{task}: the ways differ in {1 - close:.2e} of the values")
    names = list(ways)
    wall: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            begin, begin_processor = time.perf_counter(), time.process_time()
            ways[name]()
            wall[name].append(time.perf_counter() - begin)
            processor[name].append(time.process_time() - begin_processor)
    return {
        name: {
            "seconds": statistics.median(wall[name]),
            "cpu_seconds": statistics.median(processor[name]),
            "ratio": statistics.median(a / b for a, b in zip(processor[name], processor[OURS], strict=True)),
        }
        for name in names
    }


def make_ways(task: str, inputs: Inputs) -> Mapping[str, Callable[[], tuple[Tensor, ...]]]:
    """Return what does a task, by name; each returns its values and, where asked for, the gradient."""
    kept = {True: channels_last(inputs.moving), False: inputs.moving}
    fixed = {True: channels_last(inputs.fixed), False: inputs.fixed}
    weight = torch.ones(1, *inputs.fixed.shape[1:])

    def kernels() -> tuple[Tensor, ...]:
        positions = inputs.positions.clone().requires_grad_(task != READ)
        if task == SSD:
            return _with_gradient(squared_difference(fixed[True], kept[True], positions, weight), positions)
        values = sample_linear(kept[True], positions)
        return (values,) if task == READ else _with_gradient(values.square().sum(), positions)

    def by_torch(last: bool) -> Callable[[], tuple[Tensor, ...]]:
        def run() -> tuple[Tensor, ...]:
            positions = inputs.positions.clone().requires_grad_(task != READ)
            values = read_by_torch(kept[last], positions)
            if task == READ:
                return (values,)
            difference = values - fixed[last] if task == SSD else values
            return _with_gradient(difference.square().sum(), positions)

        return run

    return {OURS: kernels, TORCH: by_torch(last=False), TORCH_LAST: by_torch(last=True)}


def read_by_torch(volume: Tensor, positions: Tensor) -> Tensor:
    """`sample_linear` as one would write it without kernels; (C, *S) and (3, *T) -> (C, *T)."""
    grid = to_sampling_grid(positions.flatten(1), volume.shape[1:]).view(1, *positions.shape[1:], 3)
    return torch.nn.functional.grid_sample(
        volume.unsqueeze(0), grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0]


def _with_gradient(loss: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
    (gradient,) = torch.autograd.grad(loss, positions)
    return loss.detach() / positions[0].numel(), gradient


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown, a line per task and number of channels: milliseconds, and ratios to the kernels'."""
    names = list(rows[0]["ways"])
    titles = [f"{name}, ms" for name in names] + [f"{name} : {OURS}" for name in names if name != OURS]
    lines = ["| task | channels | " + " | ".join(titles) + " |", "|---" * (len(titles) + 2) + "|"]
    for row in rows:
        ways = row["ways"]
        cells = [f"{1000 * ways[name]['cpu_seconds']:.0f}" for name in names]
        cells += [f"{ways[name]['ratio']:.1f}" for name in names if name != OURS]
        lines.append(f"| {row['task']} | {row['channels']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
