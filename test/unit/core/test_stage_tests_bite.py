"""The checks of tokens, B-splines, the published numerics and orientation fail on broken code."""

import numpy as np
import pytest
import stage_checks as checks
import torch
import torch.nn.functional as F

from dinoreg.encoders.slices import slicewise
from dinoreg.optimise import bspline, published
from dinoreg.space import orientation
from dinoreg.space.coords import identity_positions, to_sampling_grid


def _shift_tokens(patch):
    """Patch centres lie half a voxel further."""
    right = slicewise._linear_matrix
    patch.setattr(slicewise, "_linear_matrix", lambda voxels, *args: right(voxels + 0.5, *args))


def _forget_the_origin(patch):
    """The block is taken for the beginning of the volume."""
    right = slicewise.place_tokens
    patch.setattr(slicewise, "place_tokens", lambda v, p, on, *, origin: right(v, p, on))


def _spill_tokens(patch):
    """What was not encoded repeats what was."""
    right = slicewise._linear_matrix
    patch.setattr(slicewise, "_linear_matrix", lambda v, c, content: right(v, c, (-999, 999)))


def _nearest_tokens(patch):
    """The next patch, without interpolation."""

    def nearest(voxels, centres, content):
        index = (voxels.double().unsqueeze(1) - centres).abs().argmin(dim=1)
        return torch.eye(len(centres), dtype=torch.float64)[index]

    patch.setattr(slicewise, "_linear_matrix", nearest)


def _mix_up_the_axes(patch):
    """Tokens' matrices, and control points', are applied last axis first."""
    for module in (slicewise, bspline):
        right = module.apply_along_axes

        def reverse(volume, matrices, right=right):
            turned = right(volume.permute(0, 3, 2, 1), list(reversed(matrices)))
            return turned.permute(0, 3, 2, 1).flip(0)

        patch.setattr(module, "apply_along_axes", reverse)


def _reverse_splines(patch):
    """The four pieces of a span belong to its control points in the other order."""
    right = bspline._weights

    def weights(position, mesh):
        return right(mesh - position, mesh)

    patch.setattr(bspline, "_weights", weights)


def _corner_domain(patch):
    """The domain ends at the outermost voxel centres instead of at the image's edge."""
    right = bspline.basis_matrix

    def basis_matrix(size, mesh, *, stride=1):
        moved = bspline._weights(torch.arange(size, dtype=torch.float64) / (size - 1) * mesh, mesh)
        return moved if mesh and stride == 1 else right(size, mesh, stride=stride)

    patch.setattr(bspline, "basis_matrix", basis_matrix)


def _crude_refinement(patch):
    """New control points are read off between the old ones instead of solved for."""

    def refinement(old, new):
        rows = torch.linspace(0, old + 2, new + 3, dtype=torch.float64)
        return (1 - (rows.unsqueeze(1) - torch.arange(old + 3)).abs()).clamp(min=0)

    patch.setattr(bspline, "_refinement", refinement)


def _sampler(*, gain, padding):
    def sample(volume, displacement):
        shape = displacement.shape[1:]
        scale = [n / (n - 1) if gain else 1.0 for n in shape]
        at = identity_positions(shape) + displacement * torch.tensor(scale).view(3, 1, 1, 1)
        grid = to_sampling_grid(at, shape)
        return F.grid_sample(volume.unsqueeze(0), grid, padding_mode=padding, align_corners=False).squeeze(0)

    return sample


def _no_gain(patch):
    """Displacements are read as they are stored."""
    patch.setattr(published, "sample_published", _sampler(gain=False, padding="zeros"))


def _border_outside(patch):
    """Outside an image is its border."""
    patch.setattr(published, "sample_published", _sampler(gain=True, padding="border"))


def _keep_part_cells(patch):
    """Cells over the edge count."""
    patch.setattr(published, "_whole_cells", lambda features: features.values)


def _stay_in_cells(patch):
    """Fields are stretched, and their components lose the stride."""
    right = published._stretch
    patch.setattr(published, "_stretch", lambda d, shape: right(d, shape) / 2)


def _one_step_more(patch):
    """The field after the last step is taken."""
    right = published.refine_adam
    patch.setattr(
        published, "refine_adam", lambda *a, iterations, **k: right(*a, iterations=iterations + 1, **k)
    )


def _never_mirror(patch):
    """Axes are put in order, whichever way they run."""
    right = orientation.ras_axes
    patch.setattr(orientation, "ras_axes", lambda letters: (right(letters)[0], (False,) * 3))


def _invert_the_order(patch):
    """The permutation is taken for its inverse."""
    right = orientation.ras_axes

    def ras_axes(letters):
        axes, falls = right(letters)
        return tuple(int(a) for a in np.argsort(axes)), falls

    patch.setattr(orientation, "ras_axes", ras_axes)


def _rng():
    return np.random.default_rng(20240607)


CHECKS = {
    **{f"tokens across axis {a}": lambda a=a: checks.check_token_positions(a) for a in range(3)},
    "spline values": lambda: checks.check_bspline_values(_rng()),
    "spline refinement": lambda: checks.check_bspline_refinement(_rng()),
    "published sampling": lambda: checks.check_published_sampling(_rng()),
    "published search": lambda: checks.check_published_search(_rng()),
    "published refinement": lambda: checks.check_published_refinement(_rng()),
    "turned volume": lambda: checks.check_turned_volume(_rng()),
    "turned vectors": lambda: checks.check_turned_vectors(_rng()),
}
TOKENS = [name for name in CHECKS if name.startswith("tokens")]

BITES = [
    (_shift_tokens, TOKENS),
    (_forget_the_origin, TOKENS),
    (_spill_tokens, TOKENS),
    (_nearest_tokens, TOKENS),
    (_mix_up_the_axes, [*TOKENS, "spline values"]),
    (_reverse_splines, ["spline values"]),
    (_corner_domain, ["spline values"]),
    (_crude_refinement, ["spline refinement"]),
    (_no_gain, ["published sampling", "published refinement"]),
    (_border_outside, ["published sampling"]),
    (_keep_part_cells, ["published search"]),
    (_stay_in_cells, ["published search"]),
    (_one_step_more, ["published refinement"]),
    (_never_mirror, ["turned volume", "turned vectors"]),
    (_invert_the_order, ["turned volume", "turned vectors"]),
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
