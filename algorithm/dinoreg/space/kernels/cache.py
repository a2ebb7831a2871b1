"""Kernels that were compiled in advance, as the container image brings them.

The image is built on one machine and run on others, so its kernels are compiled for one instruction set that
nearly all of them have, and that is the target of every run which uses them. Whoever lacks it, or runs code
that is not the one they were made of, compiles as without them: numba compares the digest of the source, the
signature and the target.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLE = "DINOREG_KERNELS"  # set by the image
TARGET = "x86-64-v3"  # as LLVM names it: 64-bit x86 with AVX2 and FMA, since 2013
_NEEDED = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2", "xsave")


def prepare_kernels() -> None:
    """Have numba find the kernels in $DINOREG_KERNELS; to be called before numba is imported.

    numba takes nothing from a folder that it cannot write to: they are copied into its own cache,
    $NUMBA_CACHE_DIR. A cache that is there already stays as it is.
    """
    folder, cache = os.environ.get(FOLDER_VARIABLE), os.environ.get("NUMBA_CACHE_DIR")
    if not folder or not cache or "NUMBA_CPU_NAME" in os.environ or not runs_here():
        return
    os.environ.update(target_environment())
    if Path(folder).is_dir() and not Path(cache).exists():
        with contextlib.suppress(OSError):  # without them all works, only later
            _copy_whole(Path(folder), Path(cache))


def target_environment() -> Mapping[str, str]:
    """Return the variables that make numba compile for the target instead of for this machine."""
    return {"NUMBA_CPU_NAME": TARGET, "NUMBA_CPU_FEATURES": ""}  # none beyond those of the name


def runs_here() -> bool:
    """Tell whether this machine has all that the target needs."""
    import llvmlite.binding as llvm  # only where it matters

    features = llvm.get_host_cpu_features()
    return all(features.get(name, False) for name in _NEEDED)


def _copy_whole(source: Path, target: Path) -> None:
    """Copy a folder so that nobody sees a part of it; who is first wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        copied = shutil.copytree(source, Path(scratch) / "kernels", copy_function=shutil.copyfile)
        for place in (copied, *copied.rglob("*")):
            place.chmod(0o700 if place.is_dir() else 0o600)
        copied.rename(target)


def build_kernels(folder: Path) -> None:
    """Compile every kernel for the target into a new folder, in a process that has not imported numba.

    The folder stays empty where this machine cannot run them: a run of the image then compiles by itself.
    """
    folder.mkdir(parents=True)
    if runs_here():
        os.environ.update(target_environment(), NUMBA_CACHE_DIR=str(folder))
        compile_kernels()


def compile_kernels() -> dict[str, int]:
    """Call every kernel once as the registration does; returns how many times each had to be compiled."""
    import numpy as np
    import torch

    from dinoreg.space.compose import inverse_displacement
    from dinoreg.space.kernels import candidates as _candidate_kernels
    from dinoreg.space.kernels import cpu as _cpu_kernels
    from dinoreg.space.kernels import fields as _field_kernels
    from dinoreg.space.kernels import histogram as _histogram_kernels
    from dinoreg.space.kernels import lines as _line_kernels
    from dinoreg.space.kernels import self_similarity as _similarity_kernels
    from dinoreg.space.sampling import sample_linear, squared_difference

    for shape in ((4, 5), (4, 5, 6)):
        volume = torch.zeros(2, *shape)
        positions = torch.zeros(len(shape), *shape, requires_grad=True)
        loss = squared_difference(volume, volume, positions, torch.ones(1, *shape))
        (sample_linear(volume, positions).sum() + loss).backward()  # type: ignore[no-untyped-call]
    inverse_displacement(torch.zeros(3, 4, 5, 6))
    points, values = np.zeros((2, 3), np.float32), np.ones(2, np.float32)
    image, matrix, table = (np.ones(shape, np.float32) for shape in ((4, 5, 6), (3, 4), (4, 4)))
    histograms, gradients = np.zeros((1, 4, 4), np.float32), np.zeros((1, 3, 4))
    _histogram_kernels.joint_histogram(points, values, image, matrix, histograms, values.copy(), points)
    _histogram_kernels.score_gradient(points, values, values, points, table, gradients)
    first, taps = np.zeros(4, np.int64), np.ones((4, 2), np.float32)
    _line_kernels.filter_lines(image, first, taps, np.empty((4, 4, 6), np.float32))
    _line_kernels.filter_last_axis(table, first, taps, table.copy())
    features, costs = np.ones((1, 4, 5, 6), np.float32), np.ones((1, 1, 1, 4, 5, 6), np.float32)
    _candidate_kernels.squared_distances(features, features, costs)
    _candidate_kernels.known_costs(costs, features[0], features[0], np.zeros((1, 2)))
    _candidate_kernels.fill_unknown(costs, features[0], features[0], np.float32(1.0))
    flat = costs.reshape(1, 1, 1, -1)
    near = np.zeros((3, flat.shape[-1]), np.float32)
    _candidate_kernels.cheapest(flat, near, np.zeros(3, np.float32), near.copy())
    displacement, moment = torch.ones(3, 4, 5, 6), torch.ones(3, 4, 5, 6)
    _field_kernels.determinant(displacement)
    _, gradient = _field_kernels.diffusion(displacement, (1.0, 1.0, 1.0))
    factors = {"step_size": 0.0, "root_scale": 1.0, "betas": (0.9, 0.9), "epsilon": 1.0}
    _field_kernels.adam(displacement, gradient, moment, moment.clone(), **factors)  # type: ignore[arg-type]
    offsets = torch.zeros(2, 2, 3, dtype=torch.int64)
    _similarity_kernels.exponents(displacement[0], offsets, 1, 1.0, 1.0)
    kernels = {
        _candidate_kernels: ("squared_distances", "known_costs", "fill_unknown", "cheapest"),
        _cpu_kernels: ("sample", "inverse", "sample_position_gradient", "squared_difference"),
        _field_kernels: ("determinant_rows", "diffusion_rows", "adam_numbers"),
        _histogram_kernels: ("joint_histogram", "score_gradient"),
        _line_kernels: ("filter_lines", "filter_last_axis"),
        _similarity_kernels: ("similarity_rows",),
    }
    return {
        name: sum(getattr(module, name).stats.cache_misses.values())
        for module, names in kernels.items()
        for name in names
    }
