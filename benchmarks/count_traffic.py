"""What an iteration of Adam moves through a GPU's memory, with Triton's kernels and without, by count.

    python benchmarks/count_traffic.py [--output benchmarks/results/adam_traffic.json]

The library's own code runs on tensors without memory, of the sizes of a real pair, and every operation is
noted: each tensor that it reads and each that it writes counts once, as if nothing stayed in a cache between
operations and everything within one, and the operation counts as one launch. It needs no GPU, no Triton, and
seconds. What a card makes of it is for `benchmarks/gpu_session.py` to measure.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from common import ROOT, provenance, write_json
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.blocks.room import find_room
from dinoreg.optimise.blocks.terms import sum_in_turn
from dinoreg.optimise.data_term import ssd_term
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.space import displaced, sampling
from dinoreg.space.kernels import choice
from dinoreg.space.lattice import Lattice

_CHANNELS = 24
_SHAPES = ((96, 80, 96), (192, 160, 192))
_PLENTY = 100 << 30  # bytes of memory: what is done does not depend on it then
_NOWHERE = torch.device("meta")
_WRITE_ONLY = ("zero_", "fill_", "copy_", "zeros_like", "ones_like", "new_zeros")
_NOTHING = ("empty", "detach")


class Traffic(TorchDispatchMode):
    """Counts bytes and launches."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.launches = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note it, unless it only looks at memory in another way."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view or any(part in name for part in _NOTHING):
            return result
        read = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        written = [v for v in tree_leaves(result) if isinstance(v, Tensor)]
        if any(_place(v) == _place(w) for v in read for w in written) and not func._schema.is_mutable:
            return result  # nothing had to be copied
        self.note(read[1:] if name in _WRITE_ONLY else read, written)
        return result

    def note(self, read: Sequence[Tensor], written: Sequence[Tensor]) -> None:
        """Add what a launch reads and writes."""
        self.launches += 1
        for tensors in (read, written):
            self.bytes += sum({_place(v): _size(v) for v in tensors}.values())


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.shape, tensor.stride()


def _size(tensor: Tensor) -> int:
    """Bytes that differ: an expanded axis is read from one place."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.element_size() * math.prod(n for n, step in sizes if step != 0)


@contextmanager
def _with_kernels(traffic: Traffic) -> Iterator[None]:
    """Have the kernels taken, and noted instead of run."""
    from dinoreg.space.kernels.gpu import fields, launch

    def note(kernel: Any, count: int, block: int, *arguments: Any, **constants: Any) -> None:
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        if kernel is fields.adam:
            parameter, _, mean, square = tensors
            traffic.note(tensors, [parameter, mean, square])
        else:  # sums and gradient come last
            traffic.note(tensors[:-2], tensors[-2:])

    modules = (choice, displaced, sampling)
    patches = [mock.patch.object(module, "on_gpu", return_value=True) for module in modules]
    for patch in patches:
        patch.start()
    try:
        with mock.patch.object(launch, "_run", note):
            yield
    finally:
        for patch in patches:
            patch.stop()


@contextmanager
def _without_kernels(traffic: Traffic) -> Iterator[None]:
    yield


def count(shape: Sequence[int], channels: int, dtype: torch.dtype, *, kernels: bool) -> tuple[float, float]:
    """Return bytes and launches of one iteration on the SSD of a mask: two iterations less one."""
    found = []
    for iterations in (1, 2):
        traffic = Traffic()
        with (_with_kernels if kernels else _without_kernels)(traffic):
            _optimise(traffic, shape, channels, dtype, iterations, kernels=kernels)
        found.append((traffic.bytes, traffic.launches))
    (first, launched), (second, relaunched) = found
    return second - first, relaunched - launched


def _optimise(
    traffic: Traffic,
    shape: Sequence[int],
    channels: int,
    dtype: torch.dtype,
    iterations: int,
    *,
    kernels: bool,
) -> None:
    lattice = Lattice(tuple(shape), (1, 1, 1), (2.0, 2.0, 2.0))
    with mock.patch("dinoreg.optimise.blocks.room.on_gpu", return_value=kernels):
        room = find_room("ssd", channels, channels, lattice, torch.device("cuda:0"), _PLENTY)
    fixed, moving = (torch.empty(channels, *shape, dtype=dtype, device=_NOWHERE) for _ in range(2))
    weight = torch.empty(1, *shape, device=_NOWHERE)
    blocks = [torch.split(volume, room.channels_at_a_time) for volume in (fixed, moving)]
    term = sum_in_turn([ssd_term(*block, weight=weight) for block in zip(*blocks, strict=True)])
    start = torch.empty(3, *shape, device=_NOWHERE)
    parameterisation = SmoothedDense(start, width=7, repeats=5)
    with traffic:
        refine_adam(
            parameterisation, term, regularity_weight=2.0, spacing_mm=lattice.spacing_mm,
            iterations=iterations, learning_rate=1.0, reach=[n / 2 for n in shape],
        )  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Return what is counted, per lattice and way."""
    ways = {
        "torch": (torch.float32, False),
        "kernels": (torch.float32, True),
        "kernels, float16 features": (torch.float16, True),
    }
    return [
        {"shape": list(shape), "channels": _CHANNELS, "way": way, "bytes": found[0], "launches": found[1]}
        for shape in _SHAPES
        for way, (dtype, kernels) in ways.items()
        for found in [count(shape, _CHANNELS, dtype, kernels=kernels)]
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown, a line per lattice and way."""
    lines = [
        "| cells | way | bytes per cell | GB per iteration | less by | launches per iteration |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = math.prod(row["shape"])
        (first,) = (r["bytes"] for r in rows if r["shape"] == row["shape"] and r["way"] == "torch")
        lines.append(
            f"| {' x '.join(map(str, row['shape']))} | {row['way']} | {row['bytes'] / cells:.0f} |"
            f" {row['bytes'] / 1e9:.2f} | {first / row['bytes']:.1f} | {row['launches']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/adam_traffic.json")
    options = parser.parse_args()
    found = rows()
    write_json(options.output, {"provenance": provenance(), "rows": found})
    print(table(found))


if __name__ == "__main__":
    main()
