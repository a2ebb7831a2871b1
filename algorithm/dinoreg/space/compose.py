"""Composition and inversion of pull displacements.

The inverse is found by v <- v - a (v + u(y + v)), the fixed point of Chen et al. 2008 (Med Phys 35:81),
damped at each voxel where a step does not help.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.coords import identity_positions
from dinoreg.space.kernels import cpu as _cpu_kernels
from dinoreg.space.kernels.choice import on_cpu
from dinoreg.space.kernels.threads import follow_torch_threads
from dinoreg.space.sampling import sample_linear

_STEPS = 60
# Of them those on all voxels, after which torch looks only at the few that still miss.
_ON_ALL = 6
_CLOSE_ENOUGH = 0.02  # voxels
_FASTER = 1.3


def compose(outer: Float[Tensor, "rank *s"], inner: Float[Tensor, "rank *s"]) -> Float[Tensor, "rank *s"]:
    """Return the displacement that reads `inner` after `outer`: u(x) = outer(x) + inner(x + outer(x)).

    `outer` lives on the fixed lattice and is applied first to a fixed voxel; `inner` carries on towards
    moving. An image warped by `inner` and then by `outer` is the image warped by the result.

    Args:
        outer: (rank, *S) voxels.
        inner: (rank, *S) voxels.
    """
    positions = identity_positions(outer.shape[1:], device=outer.device) + outer
    return outer + sample_linear(inner, positions)


def symmetrise(
    forward: Float[Tensor, "rank *s"], backward: Float[Tensor, "rank *s"], *, iterations: int
) -> tuple[Float[Tensor, "rank *s"], Float[Tensor, "rank *s"]]:
    """Make two displacements inverse to each other: u <- (u - v(x + u)) / 2, and v likewise, in turn.

    Heinrich et al. 2014, section 2.3 ("symmetric" constraint of the coupled convex optimisation).
    """
    identity = identity_positions(forward.shape[1:], device=forward.device)
    for _ in range(iterations):
        forward_next = 0.5 * (forward - sample_linear(backward, identity + forward))
        backward = 0.5 * (backward - sample_linear(forward, identity + backward))
        forward = forward_next
    return forward, backward


def inverse_displacement(vectors: Float[Tensor, "3 *s"]) -> Float[Tensor, "3 *s"]:
    """Return v with y + v(y) + u(y + v(y)) = y, to 0.02 voxels.

    Beyond the grid u holds as at its border. Where u folds, or 60 steps do not suffice,
    v leads to a place nearby.

    Args:
        vectors: u, (3, I, J, K) voxels.
    """
    vectors = vectors.detach()
    if not on_cpu(vectors):
        return _by_torch(vectors)
    field = vectors.movedim(0, -1).contiguous()
    found = torch.empty_like(field)
    follow_torch_threads()
    limits = np.float32(_CLOSE_ENOUGH), np.float32(_FASTER)
    _cpu_kernels.inverse(field.numpy(), _STEPS, *limits, found.numpy())
    return found.movedim(-1, 0).contiguous()


def _by_torch(vectors: Tensor) -> Tensor:
    places = identity_positions(vectors.shape[1:], device=vectors.device)
    found, pace = torch.zeros_like(vectors), torch.ones_like(vectors[:1])
    missed = vectors.clone()
    for _ in range(_ON_ALL):
        found, missed, pace = _step(vectors, places, found, missed, pace)
    places, found, missed, pace = (array.reshape(len(array), -1) for array in (places, found, missed, pace))
    for _ in range(_STEPS - _ON_ALL):
        few = (missed.square().sum(dim=0) > _CLOSE_ENOUGH**2).nonzero()[:, 0]
        if not len(few):
            break
        parts = [array[:, few].contiguous() for array in (places, found, missed, pace)]
        found[:, few], missed[:, few], pace[:, few] = _step(vectors, *parts)
    return found.reshape(vectors.shape)


def _step(
    vectors: Tensor, places: Tensor, found: Tensor, missed: Tensor, pace: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    tried = found - pace * missed
    misses = tried + sample_linear(vectors, places + tried)
    better = misses.square().sum(dim=0, keepdim=True) < missed.square().sum(dim=0, keepdim=True)
    # Where the field grows by more than its own length a full step overshoots.
    pace = torch.where(better, (_FASTER * pace).clamp(max=1.0), 0.5 * pace)
    return torch.where(better, tried, found), torch.where(better, misses, missed), pace
