"""Geometry checks that the tests run on the code, and `test_tests_bite.py` on broken code.

Everything is called through its module, so that a mutation put in by monkeypatch is seen.
"""

import numpy as np
import torch
from core_reference import (
    SHAPE,
    SHIFT,
    SPACING,
    affine_displacement,
    central_half,
    positions,
    sample,
    shifted_pair,
)

from dinoreg.encoders.ensemble import encode_pair
from dinoreg.facts import plain
from dinoreg.optimise import parameterise
from dinoreg.pipeline import register
from dinoreg.pipeline.plan import make_plan
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Adam, Config, Discrete, FeatureSettings, Mind, Preprocess
from dinoreg.space import compose, lattice, sampling, separable, transform
from dinoreg.warp import apply
from regtask.grid import Grid


def check_sampling(shape, channels, rng):
    """The compiled sampler equals scipy inside and outside."""
    volume = rng.standard_normal((channels, *shape)).astype(np.float32)
    at = np.stack([rng.uniform(-4, n + 3, 500) for n in shape]).astype(np.float32)
    found = sampling.sample_linear(torch.from_numpy(volume), torch.from_numpy(at))
    np.testing.assert_allclose(found, sample(volume, at), atol=2e-5)


def check_kernel_gradient(shape, rng):
    """The compiled gradient equals torch's, away from lattice planes, inside and outside."""
    volume = torch.from_numpy(rng.standard_normal((3, *shape)).astype(np.float32))
    cell = np.stack([rng.integers(-3, n + 2, 300) for n in shape])
    at = torch.from_numpy((cell + rng.uniform(0.1, 0.9, cell.shape)).astype(np.float32))
    incoming = torch.from_numpy(rng.standard_normal((3, 300)).astype(np.float32))
    compiled, reference = at.clone().requires_grad_(), at.double().requires_grad_()
    sampling.sample_linear(volume, compiled).backward(incoming)
    sampling.sample_linear(volume.double(), reference).backward(incoming.double())
    np.testing.assert_allclose(compiled.grad, reference.grad, atol=1e-4)


def check_coarse_centres(shape, stride):
    """Pooled positions are (c + 0.5) s - 0.5; in a cell over the edge, the mean of the replicated ones."""
    pooled = lattice.pool(torch.from_numpy(positions(shape)).float(), stride)
    for axis, (n, s) in enumerate(zip(shape, stride, strict=True)):
        along = pooled[axis].movedim(axis, 0).flatten(1).double().numpy()
        centres = (np.arange(n // s) + 0.5) * s - 0.5
        np.testing.assert_allclose(along[: n // s], np.broadcast_to(centres[:, None], along[: n // s].shape))
        if n % s:
            last = np.minimum(np.arange(n // s * s, n // s * s + s), n - 1).mean()
            np.testing.assert_allclose(along[-1], last, rtol=1e-6)


def check_resize_of_linear(shape, source_stride, target_stride):
    """A displacement linear in position keeps its values at every centre between the source's centres."""
    rank = len(shape)
    source, target = (lattice.Lattice(shape, s, tuple(map(float, s))) for s in (source_stride, target_stride))
    matrix = np.array([[0.10, -0.20, 0.30], [0.05, 0.15, -0.10], [-0.20, 0.02, 0.04]])[:rank, :rank]
    offset = np.array([3.0, -5.0, 7.0])[:rank]

    def centres(of):
        steps = np.reshape(of.stride, (-1, *[1] * rank))
        return (positions(of.shape) + 0.5) * steps - 0.5

    def linear(of):
        voxels = np.einsum("ab,b...->a...", matrix, centres(of)) + offset.reshape(-1, *[1] * rank)
        return voxels / np.reshape(of.stride, (-1, *[1] * rank))

    field = linear(source)
    found = lattice.resize_displacement(torch.from_numpy(field).float(), source, target).numpy()
    low = centres(source).reshape(rank, -1)[:, 0].reshape(-1, *[1] * rank)
    high = centres(source).reshape(rank, -1)[:, -1].reshape(-1, *[1] * rank)
    inside = ((centres(target) >= low) & (centres(target) <= high)).all(axis=0)
    assert inside.any()
    np.testing.assert_allclose(found[:, inside], linear(target)[:, inside], atol=1e-4)


def check_constant_stays(shape):
    """Smoothing leaves a constant displacement as it is, up to the border."""
    constant = torch.tensor([3.0, -5.0, 7.0])[: len(shape)].view(-1, *[1] * len(shape)).expand(-1, *shape)
    matrices = [separable.box_matrix(n, 3, 3) for n in shape]
    torch.testing.assert_close(separable.apply_along_axes(constant, matrices), constant + 0)
    smoothed = parameterise.SmoothedDense(constant.contiguous(), width=3, repeats=3).displacement()
    torch.testing.assert_close(smoothed.detach(), constant + 0)


def check_composition_of_affines(outer, inner):
    """x -> x + outer, then + inner: (I + inner) (I + outer), exact between lattice points."""
    expected = (np.eye(3) + inner) @ (np.eye(3) + outer) - np.eye(3)
    fields = [torch.from_numpy(affine_displacement(m, [0, 0, 0], SHAPE)) for m in (outer, inner)]
    box = (slice(None), *central_half(SHAPE))
    found = compose.compose(*fields)[box]
    np.testing.assert_allclose(found, affine_displacement(expected, [0, 0, 0], SHAPE)[box], atol=1e-4)


def light_config(**changes):
    """MIND on cells of 2 voxels, one discrete and one short Adam stage."""
    settings = {
        "preprocess": Preprocess(normalise=False, foreground="none"),
        "features": FeatureSettings(encoders=(Mind(radius=1, dilation=2),), cell_mm=2.0),
        "discrete": (Discrete(cell_mm=4.0, radius_mm=12.0, consistency_iterations=5),),
        "adam": (Adam(cell_mm=2.0, iterations=50),),
        "voxel_lengths": True,
        "masked": False,
    }
    return Config(**(settings | changes))


def run_registration(fixed, moving, config, spacing=SPACING):
    """Register two arrays as MR images; (I, J, K, 3)."""
    pair = [
        prepare_image(np.ascontiguousarray(a), config.preprocess, modality="MR", mask=None)
        for a in (fixed, moving)
    ]
    return register.register_prepared(*pair, spacing, config, device=torch.device("cpu")).displacement


def encode(config, pair, pool, **plan):
    """Features of prepared images, and what was reported of them as plain values."""
    made = make_plan(config, pair[0].values.shape, SPACING, **plan)
    sources = pool.sources(config.features.encoders)
    device = torch.device("cpu")
    found = encode_pair(sources, config.features, tuple(pair), made.frame, made.finest, device)
    return found.features, plain(found.facts)


def central_median(displacement):
    """Median per component over the central half."""
    box = central_half(displacement.shape[:3])
    return np.median(displacement[box].reshape(-1, 3), axis=0)


def check_recovers_shift(shape, config, rng, *, sign=1, tolerance=0.1):
    """A shift by whole voxels, all different and of both signs, is found with its sign on its axis."""
    fixed, moving = shifted_pair(shape, SHIFT, rng)
    if sign < 0:
        fixed, moving = moving, fixed
    found = run_registration(fixed, moving, config)
    assert found.shape == (*shape, 3)
    np.testing.assert_allclose(central_median(found), sign * np.array(SHIFT), atol=tolerance)


def check_warp_direction():
    """A bright voxel of moving at p + u lands on p."""
    image = np.zeros(SHAPE, dtype=np.float32)
    image[13, 7, 24] = 1
    field = np.broadcast_to(np.array(SHIFT, dtype=np.float32), (*SHAPE, 3)).copy()
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]))
    joined = transform.Transform(field, grid, grid, "scanner")
    warped = apply.warp_image(image, apply.moving_positions(joined, grid))
    assert np.unravel_index(warped.argmax(), SHAPE) == (10, 12, 17)
    assert np.count_nonzero(warped) == 1
    points = apply.warp_landmarks(np.array([[10.0, 12.0, 17.0]]), joined, "voxel")
    np.testing.assert_allclose(points, [[13, 7, 24]])
