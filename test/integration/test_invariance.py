"""The same pair stored otherwise gives the same result."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings.load import load_preset
from regtask import Grid, read_dataset
from stored_otherwise import WAYS, Case, read_case, score

log = logging.getLogger(__name__)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CPU = torch.device("cpu")
# What a way may cost: Dice, and millimetres. docs/results.md has more pairs.
DICE, MM = 0.02, 0.3
SHAPE, SPACING, SHIFT = (20, 24, 28), (2.0, 1.5, 3.0), (3, -5, 7)

pytestmark = pytest.mark.integration
needs_scans = pytest.mark.skipif(not DATA.is_dir(), reason=f"no scans: {DATA} does not exist")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["labels", "points"])
def test_a_way_changes_a_case_as_a_whole(way, kind):
    """The true shift, expressed in the voxels of each way, scores as it did."""
    rng = np.random.default_rng(0)
    affine = np.diag([*SPACING, 1.0])
    scan = Scan(rng.normal(size=SHAPE).astype(np.float32), Grid(SHAPE, affine), mask=np.ones(SHAPE, bool))
    fixed = np.zeros(SHAPE, np.int16)
    fixed[4:9, 9:15, 6:12] = 2
    points = np.argwhere(fixed)[::17].astype(float)
    labels = (fixed, np.roll(fixed, SHIFT, (0, 1, 2))) if kind == "labels" else None
    case = Case(ImagePair(scan, scan), labels, None if labels else (points, points + SHIFT))
    changed = WAYS[way](case)
    grid = changed.images.fixed.grid
    assert grid.shape == changed.images.fixed.values.shape == changed.images.fixed.mask.shape
    mm = np.asarray(SHIFT) * SPACING
    voxels = np.linalg.solve(grid.affine[:3, :3], mm)
    shift = np.broadcast_to(voxels, (*grid.shape, 3)).astype(np.float32)
    perfect, identity = (score(changed, field) for field in (shift, np.zeros_like(shift)))
    if labels:
        assert perfect == pytest.approx(1.0)
        assert identity < 0.1
    else:
        assert perfect == pytest.approx(0.0, abs=1e-5)
        assert identity == pytest.approx(np.linalg.norm(mm), abs=1e-5)


@needs_scans
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("task", "index", "ways"),
    [("HippocampusMR", 2, tuple(WAYS)), ("ThoraxCBCT", 0, ("as stored", "padded"))],
)
def test_a_real_pair(task, index, ways):
    """Dice of an organ cut out, millimetres of a field of view that ends in the body."""
    dataset = read_dataset(DATA / task / f"{task}_dataset.json")
    case = read_case(dataset, dataset.pairs("val")[index])
    config = load_preset("auto")
    found = {}
    for name in ways:
        changed = WAYS[name](case)
        found[name] = score(changed, register(changed.images, config, device=CPU).displacement)
    log.info("%s", found)
    best = found["as stored"]
    assert best > 0.8 if case.unit == "Dice" else best < 1.4
    limit = DICE if case.unit == "Dice" else MM
    assert {name: value for name, value in found.items() if abs(value - best) > limit} == {}
