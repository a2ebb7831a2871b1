"""What the compiled CPU kernels of fields, filters, MIND and the discrete search gain over plain torch.

    python benchmarks/bench_field_kernels.py [--repeats 9]

Each repeat runs both ways one after the other, on one thread; the figures are medians of processor seconds.
Plain torch is the way that other devices go. Both results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from common import ROOT, provenance, write_json
from dinoreg.encoders import mind, pooled
from dinoreg.optimise import adam, cost_volume, coupled_convex, regularise
from dinoreg.runtime import settle_torch
from dinoreg.space import jacobian, separable
from dinoreg.space.lattice import Lattice

SHAPE = (160, 192, 224)  # voxels of a brain at 1 mm
CELLS, RADIUS, CHANNELS = (32, 27, 32), (4, 4, 4), 12  # of a discrete stage on 12 mm and 48 mm
SPACING_MM = (1.0, 1.5, 2.0)
RESULTS = ROOT / "benchmarks" / "results" / "field_kernels.json"

Run = Callable[[], Tensor]


def tasks() -> Iterator[tuple[str, str, Run]]:
    """Yield what is computed, on how much, and how."""
    generator = torch.Generator().manual_seed(3)
    size = " x ".join(map(str, SHAPE))
    field = 0.2 * torch.randn(3, *SHAPE, generator=generator)
    smoothing = [separable.box_matrix(n, 3, 3) for n in SHAPE]
    yield "three box filters", size, lambda: separable.apply_along_axes(field, smoothing)
    yield "Jacobian determinant", size, lambda: jacobian.jacobian_determinant(field)

    def diffusion() -> Tensor:
        own = field.detach().requires_grad_()
        return torch.autograd.grad(regularise.diffusion(own, SPACING_MM), own)[0]

    yield "diffusion term and gradient", size, diffusion

    def step() -> Tensor:
        own = field.clone()
        adam.AdamStep([own], 0.5)([field])
        return own

    yield "first step of Adam", size, step
    image, cells = torch.rand(1, *SHAPE, generator=generator), Lattice(SHAPE, (2, 2, 2), SPACING_MM)
    encoder = mind.MindSsc(radius=1, dilation=2)
    yield "MIND, mean over cells of 8 voxels", size, lambda: pooled.encode_pooled(encoder, image, cells)
    fixed, moving = (torch.rand(CHANNELS, *CELLS, generator=generator) for _ in range(2))
    weight = torch.rand(1, *CELLS, generator=generator)
    size = " x ".join(map(str, CELLS))
    yield (
        "costs of 729 candidates",
        f"{size}, {CHANNELS} channels",
        lambda: (
            cost_volume.make_cost_volume(
                fixed, moving, RADIUS, fixed_weight=weight, moving_weight=weight
            ).costs
        ),
    )
    volume = cost_volume.make_cost_volume(fixed, moving, RADIUS)
    yield (
        "choice among them, seven times",
        size,
        lambda: coupled_convex.solve_coupled_convex(volume, spacing_mm=SPACING_MM),
    )


def without_kernels(stack: ExitStack) -> None:
    """Have torch compute, as on other devices."""
    for module in (adam, jacobian, regularise):
        stack.enter_context(mock.patch.object(module, "field_kernels", return_value=None))
    for module in (mind, cost_volume, coupled_convex):
        stack.enter_context(mock.patch.object(module, "on_cpu", return_value=False))
    stack.enter_context(mock.patch.object(separable, "_may_be_banded", return_value=False))


def measure(run: Run, repeats: int) -> dict[str, float]:
    """Return the median processor seconds of both ways."""
    seconds: dict[str, list[float]] = {"kernels": [], "torch": []}
    first = run()
    for number in range(repeats + 1):
        for way, found in seconds.items():
            with ExitStack() as stack:
                if way == "torch":
                    without_kernels(stack)
                begin = time.process_time()
                result = run()
                found.append(time.process_time() - begin)
            if number == 0 and (result - first).abs().max() > 1e-3 * first.abs().max():
                raise ValueError(f"{way} finds something else")
    return {way: statistics.median(found[1:]) for way, found in seconds.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| what | on | kernels, ms | torch, ms | torch : kernels |", "|---|---|---|---|---|"]
    for row in rows:
        ours, theirs = (1000 * row["cpu_seconds"][way] for way in ("kernels", "torch"))
        lines.append(f"| {row['what']} | {row['on']} | {ours:.0f} | {theirs:.0f} | {theirs / ours:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all, write the rows, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    settle_torch()
    torch.set_num_threads(1)
    rows = []
    for what, on, run in tasks():
        rows.append({"what": what, "on": on, "cpu_seconds": measure(run, options.repeats)})
        print(rows[-1], flush=True)
        write_json(options.output, {"provenance": provenance(), "repeats": options.repeats, "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
