"""Composition of pull displacements."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dinoreg.space.coords import identity_positions
from dinoreg.space.sampling import sample_linear


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
