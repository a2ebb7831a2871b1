"""Gradients of a feature distance through the encoders, as the free-form stage takes them."""

from functools import partial

import dinov2_reference
import pytest
import sam_reference
import torch
from core_reference import smooth_noise

from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.slices.guide import slice_features
from dinoreg.encoders.vit.dinov2 import load_dinov2
from dinoreg.encoders.vit.sam import load_sam
from dinoreg.optimise.bspline import BSpline, zero_control
from dinoreg.optimise.guidance import feature_term
from dinoreg.space.lattice import Lattice


def _tiny(load, reference, path):
    """A random transformer in float64, seeing 3 x 3 patches."""
    state = {name: torch.from_numpy(array) for name, array in reference.official_state("tiny").items()}
    torch.save(state, path)
    return slice_features(load(path), grid=3)


GUIDES = {
    "mind": lambda folder: MindSsc(radius=1, dilation=1, rank=2),
    "dinov2": lambda folder: _tiny(
        partial(load_dinov2, None, dtype=torch.float64), dinov2_reference, folder / "tiny.pth"
    ),
    "sam": lambda folder: _tiny(
        partial(load_sam, dtype=torch.float64), sam_reference, folder / "sam_tiny.pth"
    ),
}


@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.parametrize(("kind", "order"), [("cosine", "dynamic"), ("l1", "dynamic"), ("cosine", "static")])
def test_gradients_through_the_encoder_equal_finite_differences(name, kind, order, tmp_path, rng):
    """Of B-spline control points, central differences in float64."""
    encode = GUIDES[name](tmp_path)
    fixed, moving = (
        torch.from_numpy(smooth_noise((9, 8), rng, sigma=1.5, channels=1)).double() for _ in range(2)
    )
    term = feature_term(encode, fixed, moving, kind=kind, order=order)
    lattice = Lattice((9, 8), (1, 1), (1.0, 1.0))
    # Positions between voxels, where reading is smooth.
    base = torch.from_numpy(rng.uniform(0.2, 0.8, size=(2, 9, 8)))
    model = BSpline(zero_control((2, 1)).double(), lattice, base=base)
    (gradient,) = torch.autograd.grad(term(model.displacement()), [model.control])
    step = 1e-6
    for place in [(0, 1, 1), (0, 3, 2), (1, 2, 1), (1, 1, 3)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                model.control[place] += sign * step
                values.append(float(term(model.displacement())))
                model.control[place] -= sign * step
        expected = (values[0] - values[1]) / (2 * step)
        assert float(gradient[place]) == pytest.approx(expected, rel=1e-4, abs=1e-8)
    assert float(gradient.abs().max()) > 1e-5
