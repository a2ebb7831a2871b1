"""The geometry checks must fail on broken geometry: each mutation is put in, and the check has to go red."""

from dataclasses import replace

import core_checks as checks
import numpy as np
import pytest
import torch
from core_reference import SHAPE

from dinoreg.linear import way_back
from dinoreg.optimise import cost_volume, coupled_convex, parameterise
from dinoreg.space import compose, coords, deformation, lattice, sampling, separable
from dinoreg.space.kernels import cpu as _cpu_kernels
from dinoreg.warp import apply

SIZE = (24, 28, 34)


def _reverse_components(patch):
    """The sampler reads component 0 along the last axis."""
    kernel, gradient = _cpu_kernels.sample, _cpu_kernels.sample_position_gradient
    fused = _cpu_kernels.squared_difference

    def sample(volume, positions, out):
        kernel(volume, np.ascontiguousarray(positions[::-1]), out)

    def sample_position_gradient(volume, positions, grad_out, grad_positions):
        gradient(volume, np.ascontiguousarray(positions[::-1]), grad_out, grad_positions)

    def squared_difference(fixed, moving, positions, *rest):
        fused(fixed, moving, np.ascontiguousarray(positions[::-1]), *rest)

    patch.setattr(_cpu_kernels, "sample", sample)
    patch.setattr(_cpu_kernels, "squared_difference", squared_difference)
    patch.setattr(_cpu_kernels, "sample_position_gradient", sample_position_gradient)


def _forget_the_reversal(patch):
    """`grid_sample` gets its coordinates first axis first."""
    right = coords.to_sampling_grid
    patch.setattr(sampling, "to_sampling_grid", lambda *args: right(*args).flip(-1))


def _align_corners(patch):
    """Normalised coordinates of the other convention, 2 v / (n - 1) - 1."""

    def to_sampling_grid(positions, shape):
        sizes = torch.tensor(shape, dtype=positions.dtype).view(-1, *[1] * (positions.ndim - 1))
        return (2 * positions / (sizes - 1) - 1).flip(0).movedim(0, -1).unsqueeze(0)

    patch.setattr(sampling, "to_sampling_grid", to_sampling_grid)


def _negate_result(patch):
    """The displacement is written push instead of pull."""
    right = way_back._components_last
    patch.setattr(way_back, "_components_last", lambda vectors: right(-vectors))


def _transpose_result(patch):
    """The components are written last axis first."""
    right = way_back._components_last
    patch.setattr(way_back, "_components_last", lambda vectors: right(vectors.flip(0)))


def _negate_warp(patch):
    """Images are read at x - u(x)."""
    right = apply.moving_positions
    patch.setattr(apply, "moving_positions", lambda t, grid: right(replace(t, field=-t.field), grid))


def _half_voxel_shift(patch):
    """Coarse centre c is put at c * stride."""

    def interpolation_matrix(size_out, size_in, stride, *, device="cpu"):
        position = np.clip(np.arange(size_out) / stride, 0, size_in - 1)
        distance = np.abs(position[:, None] - np.arange(size_in)[None])
        return torch.from_numpy(np.clip(1 - distance, 0, None)).to(device, torch.float32)

    patch.setattr(lattice, "interpolation_matrix", interpolation_matrix)


def _forget_the_units(patch):
    """Displacements are resized but not rescaled."""
    right = lattice.resize_displacement

    def resize_displacement(displacement, source, target):
        scale = torch.tensor([b / a for a, b in zip(source.stride, target.stride, strict=True)])
        return right(displacement, source, target) * scale.view(-1, *[1] * (displacement.ndim - 1))

    patch.setattr(lattice, "resize_displacement", resize_displacement)
    patch.setattr(deformation, "resize_displacement", resize_displacement)


def _crop_when_pooling(patch):
    """Cells over the edge are dropped and the rest stretched."""
    right = lattice.pool

    def pool(volume, stride):
        counts = [(n, s) for n, s in zip(volume.shape[1:], stride, strict=True)]
        sizes = [-(-n // s) for n, s in counts]
        cropped = volume[(slice(None), *(slice(0, n // s * s) for n, s in counts))]
        mode = "trilinear" if len(stride) == 3 else "bilinear"
        return torch.nn.functional.interpolate(right(cropped, stride)[None], size=sizes, mode=mode)[0]

    patch.setattr(lattice, "pool", pool)


def _zero_padding(patch):
    """Smoothing takes zeros from beyond the border."""

    right = separable.box_matrix

    def box_matrix(size, width, repeats, *, border="replicate", device="cpu"):
        return right(size, width, repeats, border="zero", device=device)

    for module in (separable, parameterise, cost_volume, coupled_convex):
        patch.setattr(module, "box_matrix", box_matrix)


def _swap_composition(patch):
    """Inner and outer change places."""
    right = compose.compose
    patch.setattr(compose, "compose", lambda outer, inner: right(inner, outer))


def _rng():
    return np.random.default_rng(20240607)


CHECKS = {
    "sampling": lambda: checks.check_sampling(SHAPE, 2, _rng()),
    "kernel gradient": lambda: checks.check_kernel_gradient(SHAPE, _rng()),
    "warp direction": checks.check_warp_direction,
    "coarse centres": lambda: checks.check_coarse_centres(SHAPE, (3, 4, 5)),
    "resize": lambda: checks.check_resize_of_linear(SHAPE, (3, 4, 2), (1, 1, 1)),
    "constant stays": lambda: checks.check_constant_stays(SHAPE),
    "composition": lambda: checks.check_composition_of_affines(
        np.diag([0.1, -0.08, 0.05]), np.array([[0, 0.12, 0], [-0.12, 0, 0.06], [0, 0, -0.04]])
    ),
    "registration": lambda: checks.check_recovers_shift(SIZE, checks.light_config(), _rng(), tolerance=0.2),
}

BITES = [
    (_reverse_components, ["sampling", "kernel gradient", "warp direction", "registration"]),
    (_forget_the_reversal, ["kernel gradient"]),
    (_align_corners, ["kernel gradient"]),
    (_negate_result, ["registration"]),
    (_transpose_result, ["registration"]),
    (_negate_warp, ["warp direction"]),
    (_half_voxel_shift, ["resize"]),
    (_forget_the_units, ["resize", "registration"]),
    (_crop_when_pooling, ["coarse centres"]),
    (_zero_padding, ["constant stays"]),
    (_swap_composition, ["composition"]),
]


@pytest.mark.parametrize("name", CHECKS)
def test_sound_code_passes(name):
    CHECKS[name]()


@pytest.mark.parametrize(
    ("mutate", "name"), [(m, n) for m, names in BITES for n in names], ids=lambda v: getattr(v, "__name__", v)
)
def test_broken_code_fails(mutate, name, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        CHECKS[name]()


def test_equal_shifts_would_not_bite(monkeypatch):
    # Why the shifts differ: with (4, 4, 4) the transposed components give the same displacement.
    monkeypatch.setattr(checks, "SHIFT", (4, 4, 4))
    _transpose_result(monkeypatch)
    CHECKS["registration"]()
