"""Triton's kernels and plain torch on one device: do they agree, how long do they take; see `gpu_session.py`.

Each task is computed by the library's own functions, with the kernels and without them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from unittest import mock

import torch
from torch import Tensor

from dinoreg.optimise.adam import AdamStep, refine_adam
from dinoreg.optimise.data_term import ssd_term, warp_and_compare
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.optimise.regularise import diffusion
from dinoreg.optimise.similarity import lcc
from dinoreg.space.jacobian import jacobian_determinant
from dinoreg.space.kernels import choice
from dinoreg.space.sampling import channels_last

_SPACING_MM = (2.0, 2.0, 2.0)
_ITERATIONS = 20
_BLOCKS = (64, 128, 256, 512)

# Computes a task and returns what is to agree.
Work = Callable[[], tuple[Tensor, ...]]


class Session(Protocol):
    """What is needed of `gpu_steps.Session`."""

    device: torch.device
    dry_run: bool

    def write(self, **found: Any) -> None:
        """Write what was found so far."""

    def wait(self) -> None:
        """Wait for the device."""


def compare_kernels(session: Session, channels: str, shape: str) -> None:
    """Compare on features of so many channels; rows: a task each, seconds are medians."""
    size = [int(n) for n in shape.split("x")]
    begin = time.perf_counter()
    kernels = choice.describe_kernels(session.device)
    first_use = round(time.perf_counter() - begin, 3)
    rows: list[dict[str, Any]] = []
    for name, make in _tasks(int(channels), size, session.device):
        row: dict[str, Any] = {"task": name}
        rows.append(row)
        try:
            _compare(session, row, make)
        except Exception as error:  # the other tasks are worth having
            row["error"] = f"{type(error).__name__}: {error}"[:500]
        session.write(
            kernels=kernels, first_use_seconds=first_use, channels=int(channels), shape=size, tasks=rows
        )
    if choice.on_gpu(session.device):
        variants = _variants(session, int(channels), size)
        session.write(
            kernels=kernels, first_use_seconds=first_use, channels=int(channels), shape=size, tasks=rows,
            squared_difference_milliseconds=variants,
        )  # fmt: skip
    if any("error" in row for row in rows):
        raise SystemExit("some tasks failed")


def _compare(session: Session, row: dict[str, Any], make: Callable[[], Work]) -> None:
    """Compute by torch and, where they are used, by the kernels."""
    with _by_torch():
        work = make()
        expected = work()
        row["torch_ms"] = _milliseconds(session, work)
    if not choice.on_gpu(session.device):
        return
    work = make()
    found, again = work(), work()
    row["kernels_ms"] = _milliseconds(session, work)
    row["repeats_bit_for_bit"] = all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    row["largest_difference"] = [
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True)
    ]


@contextmanager
def _by_torch() -> Iterator[None]:
    none = choice._Found(False, "torch (compared)")
    with mock.patch.object(choice, "_on_device", return_value=none):
        yield


def _milliseconds(session: Session, work: Work) -> float:
    """Return the median time of a call, after one to warm up."""
    taken = []
    for _ in range(2 if session.dry_run else 11):
        session.wait()
        begin = time.perf_counter()
        work()
        session.wait()
        taken.append(1000 * (time.perf_counter() - begin))
    return round(statistics.median(taken[1:]), 4)


def _inputs(channels: int, size: list[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return fixed and moving (C, *S), a displacement (3, *S) that is smooth, and a weight (1, *S)."""
    generator = torch.Generator().manual_seed(0)
    fixed, moving = (torch.randn(channels, *size, generator=generator).to(device) for _ in range(2))
    rough = 60 * torch.randn(3, *size, generator=generator).to(device)
    smooth = SmoothedDense(rough, width=7, repeats=3).displacement().detach()
    shift = torch.tensor([3.3, -5.4, 7.2], device=device).view(3, 1, 1, 1)
    weight = (torch.rand(1, *size, generator=generator) > 0.3).float().to(device)
    return fixed, moving, smooth + shift, weight


def _tasks(channels: int, size: list[int], device: torch.device) -> Iterator[tuple[str, Callable[[], Work]]]:
    """Yield the name of a task, and what makes it for the kernels that are then in use."""
    fixed, moving, displacement, weight = _inputs(channels, size, device)

    def term(make: Callable[[], Callable[[Tensor], Tensor]]) -> Callable[[], Work]:
        def made() -> Work:
            found = make()
            return lambda: _with_gradient(found, displacement)

        return made

    yield "SSD, gradient", term(lambda: ssd_term(fixed, moving))
    yield "SSD of a mask, gradient", term(lambda: ssd_term(fixed, moving, weight=weight))
    few = slice(0, min(channels, 6))  # LCC goes by blocks of channels
    yield (
        "LCC of 6 channels, gradient",
        term(lambda: warp_and_compare(lcc(fixed[few], window=9), moving[few], weight=weight)),
    )
    yield "diffusion, gradient", term(lambda: lambda u: diffusion(u, _SPACING_MM))
    yield "folds", lambda: lambda: (jacobian_determinant(displacement),)

    def step() -> Work:
        def work() -> tuple[Tensor, ...]:
            parameter = displacement.clone()
            AdamStep([parameter], 0.1)([displacement])
            return (parameter,)

        return work

    yield "step of Adam", step

    def iterations() -> Work:
        compare = ssd_term(fixed, moving, weight=weight)

        def work() -> tuple[Tensor, ...]:
            found, _ = refine_adam(
                SmoothedDense(displacement, width=7, repeats=5), compare, regularity_weight=2.0,
                spacing_mm=_SPACING_MM, iterations=_ITERATIONS, learning_rate=0.01,
            )  # fmt: skip
            return (found - displacement,)

        return work

    yield f"{_ITERATIONS} iterations of Adam on the SSD", iterations


def _with_gradient(term: Callable[[Tensor], Tensor], displacement: Tensor) -> tuple[Tensor, ...]:
    own = displacement.clone().requires_grad_()
    value = term(own)
    return value.detach(), torch.autograd.grad(value, own)[0]


def _variants(session: Session, channels: int, size: list[int]) -> dict[str, float]:
    """Time the SSD by the size of a program, and by the memory order and the type of the features."""
    from dinoreg.space.kernels.gpu import launch

    fixed, moving, displacement, weight = _inputs(channels, size, session.device)
    orders = {
        "float32": (fixed, moving),
        "float32, channels last": (channels_last(fixed), channels_last(moving)),
        "float16": (fixed.half(), moving.half()),
    }
    found = {}
    for order, features in orders.items():
        for block in _BLOCKS:
            found[f"{order}, {block} cells"] = _milliseconds(
                session,
                lambda f=features, b=block: launch.squared_difference(*f, displacement, weight, block=b),
            )
    return found
