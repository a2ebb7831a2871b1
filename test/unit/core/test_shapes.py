"""A wrong shape ends a test, even where the code would go on with it; in production nothing is checked."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from shape_checker import UNCHECKED, annotated_modules

from dinoreg.encoders.mind import MindSsc
from dinoreg.optimise.cost_volume import make_cost_volume
from dinoreg.preprocess.intensity import window_ct
from dinoreg.space.compose import compose
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice, pool

S = (5, 6, 7)
LATTICE = Lattice(S, (1, 1, 1), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: pool(torch.zeros(2, *S).int(), (2, 2, 2)),
        lambda: compose(torch.zeros(3, *S), torch.zeros(3, *reversed(S))),
        lambda: make_cost_volume(torch.zeros(2, *S), torch.zeros(1, *S), (1, 1, 1)),
        lambda: Deformation(torch.zeros(()), LATTICE),
        lambda: Features(torch.zeros(2, *S), torch.ones(2, *S), LATTICE),
        lambda: MindSsc(radius=1, dilation=2)(torch.zeros(2, *S)),
        lambda: window_ct(np.zeros(S), level_hu=0, width_hu=1),  # float64
    ],
)
def test_a_wrong_shape_or_type_fails(call):
    with pytest.raises(TypeCheckError):
        call()


def test_right_ones_pass():
    assert pool(torch.zeros(2, *S), (2, 3, 7)).shape == (2, 3, 2, 1)
    assert set(annotated_modules()) > UNCHECKED
    assert len(annotated_modules()) > 25


def test_nothing_is_checked_in_production():
    """`float64` is no `Float32`, and goes through where no hook is."""
    code = (
        "import sys, numpy, dinoreg.preprocess.intensity as module;"
        "module.window_ct(numpy.zeros((2, 2, 2)), level_hu=0, width_hu=1);"
        "sys.exit('beartype' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
