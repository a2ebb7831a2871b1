"""Whether a rigid or affine registration can be believed.

A linear map never fits everywhere, so that what it leaves of the feature distance says little alone. What
tells a right one is that it is better than its neighbours: moved by a few per cent of the body in any
direction, two images that belong together grow unlike at once, and two that do not hardly change.
docs/verdict.md has the pairs, right and wrong, that the limits were set on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dinoreg.encoders.mind import MindSsc
from dinoreg.guard.size import body_mm
from dinoreg.guard.verdict import MIRRORED, LinearEvidence, Verdict, graded
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.space.features import Features, warp_features
from dinoreg.space.lattice import Lattice, finest_lattice_within, pool

# (doubtful, failed)
_COVERED = 0.5, 0.2
_APART = 0.65, 0.9
_CELLS = 300_000
_STEP_SHARE = 0.06  # of the size of the body: 5 mm in a hippocampus, 20 mm in a trunk
# Of the cells that both show; with fewer a place is beside the images, and says nothing.
_LEAST_COMMON = 0.3
_SEED = 0


def judge_map(fixed: PreparedImage, moving: PreparedImage, spacing_mm: tuple[float, ...]) -> Verdict:
    """Grade a linear map by two images that it has brought together.

    Args:
        fixed: (I, J, K).
        moving: on the same voxels.
        spacing_mm: of these.
    """
    return judge_linear(gather_linear_evidence(fixed, moving, spacing_mm))


def gather_linear_evidence(
    fixed: PreparedImage, moving: PreparedImage, spacing_mm: tuple[float, ...]
) -> LinearEvidence:
    """Compare two images where a map brought them, and around it; the arguments are those of `judge_map`."""
    lattice, _ = finest_lattice_within(fixed.values.shape, spacing_mm, _CELLS)
    here, there = (_features(image, lattice) for image in (fixed, moving))
    inside = [features.weight[0] > 0.5 for features in (here, there)]
    smaller = min(int(part.sum()) for part in inside)
    common = inside[0] & inside[1]
    seen = int(common.sum())
    if not seen:
        return LinearEvidence(0.0, 1.0, None)
    matched, found = here.values[:, common], there.values[:, common]
    order = torch.randperm(seen, generator=torch.Generator().manual_seed(_SEED))
    unrelated = float((matched - found[:, order]).square().sum(dim=0).mean())
    if not unrelated > 0:
        return LinearEvidence(seen / smaller, 1.0, None)
    residual = float((matched - found).square().sum(dim=0).mean()) / unrelated
    around = []
    for step in _steps(inside[0], lattice):
        moved = warp_features(there, step)
        both = inside[0] & (moved.weight[0] > 0.5)
        if int(both.sum()) >= _LEAST_COMMON * seen:
            difference = here.values[:, both] - moved.values[:, both]
            around.append(float(difference.square().sum(dim=0).mean()) / unrelated)
    return LinearEvidence(seen / smaller, residual, min(around) if around else None)


def judge_linear(evidence: LinearEvidence) -> Verdict:
    """Grade a linear registration by the worst of what its evidence says."""
    return graded(
        [
            (-evidence.covered, (-_COVERED[0], -_COVERED[1]),
             f"the two have {100 * evidence.covered:.0f} % of the smaller one in common"),
            (evidence.apart, _APART, _words(evidence)),
            (evidence.mirrored, (0.5, 0.5), MIRRORED),
        ],
        evidence,
    )  # fmt: skip


def _words(evidence: LinearEvidence) -> str:
    if evidence.nearby is None:
        return "too little is seen in common to compare the place found with those around it"
    return (
        f"matched places differ by {100 * evidence.residual:.0f} % of what unrelated ones do, and by"
        f" {100 * evidence.nearby:.0f} % with one image moved by {100 * _STEP_SHARE:.0f} % of the body:"
        " the place found hardly stands out"
    )


def _features(image: PreparedImage, lattice: Lattice) -> Features:
    values = pool(torch.from_numpy(image.values).unsqueeze(0), lattice.stride)
    share = pool(torch.from_numpy(image.foreground).float().unsqueeze(0), lattice.stride)
    return Features(MindSsc(radius=1, dilation=2)(values), share, lattice)


def _steps(inside: Tensor, lattice: Lattice) -> Iterator[Tensor]:
    """Displacements of the whole by the length of a step, (3, *S) cells, to all sides and corners.

    None across a single slice, where it would change nothing.
    """
    along = np.array(lattice.shape) > 1
    length = _STEP_SHARE * body_mm(inside, lattice)
    for side in itertools.product(*[(-1.0, 0.0, 1.0) if thick else (0.0,) for thick in along]):
        if any(side):
            cells = length * np.array(side) / np.linalg.norm(side) / np.array(lattice.spacing_mm)
            step = torch.from_numpy(cells.astype(np.float32)).reshape(3, 1, 1, 1)
            yield step.expand(3, *lattice.shape).contiguous()
