import json
import math

import pytest
from core_reference import SHAPE, SPACING

from dinoreg.pipeline.plan import coarser_stage, make_plan
from dinoreg.settings.config import AffineStart, Config, HypothesesStart
from dinoreg.settings.load import load_preset, preset_names
from dinoreg.space.lattice import Lattice
from dinoreg.start.hypotheses import HypothesesStage

SHAPES = [
    (SHAPE, SPACING),
    ((21, 27, 35), (1.0, 1.0, 1.0)),
    ((61, 47, 1), (0.9, 1.3, 5.0)),
    ((97, 13, 50), SPACING),
]


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize(("shape", "spacing"), SHAPES)
@pytest.mark.parametrize("content", ["all", "odd"])
def test_block_and_lattices_fit_together(name, shape, spacing, content):
    config = load_preset(name)
    box = [slice(0, n) if n == 1 or content == "all" else slice(n // 3, n - n // 4) for n in shape]
    plan = make_plan(config, shape, spacing, box)
    size = tuple(stop - start for start, stop in plan.frame.box)
    stages = (*plan.start, *plan.correct, *plan.free)
    lattices = [plan.finest, *(stage.lattice for stage in stages)]
    wanted = (*config.start, *config.discrete, *config.adam, *config.ffd)
    assert tuple(stage.settings for stage in stages) == wanted
    for axis, (start, stop) in enumerate(plan.frame.box):
        assert 0 <= start <= box[axis].start
        assert box[axis].stop <= stop <= shape[axis]
        for lattice in lattices if not config.published else [plan.finest]:
            stride = lattice.stride[axis]
            assert start % stride == 0  # the block begins on a cell border of every lattice
            assert stop % stride == 0 or stop == shape[axis]
            assert stride % plan.finest.stride[axis] == 0  # features are pooled exactly
    for lattice in [*lattices, plan.frame.voxels]:
        assert lattice.image_shape == size
    mm = (1.0, 1.0, 1.0) if config.voxel_lengths else spacing
    for lattice in lattices:
        assert lattice.spacing_mm == pytest.approx([k * s for k, s in zip(lattice.stride, mm, strict=True)])
    assert plan.frame.voxels.spacing_mm == pytest.approx(mm)
    assert plan.frame.image_shape == shape
    json.dumps(plan.as_dict())


def test_content_grows_by_a_margin_to_the_common_multiple_of_all_strides():
    config = Config(
        features={"cell_mm": 2.0}, discrete=({"cell_mm": 6.0},), adam=({"cell_mm": 4.0},), voxel_lengths=True
    )
    plan = make_plan(config, (50, 50, 50), (3.0, 3.0, 3.0), [slice(13, 23), slice(0, 12), slice(37, 49)])
    # Strides 2, 6 and 4: a margin of 12, then multiples of 12, or the edge of the image.
    assert plan.frame.box == ((0, 36), (0, 24), (24, 50))
    assert plan.correct[0].lattice.shape == (6, 4, 5)  # 26 voxels: four cells of 6 and one over the edge


def test_cell_budget_scales_every_length():
    config = load_preset("mind")
    small = make_plan(config, (40, 40, 40), (1.0, 1.0, 1.0))
    assert small.finest.stride == (1, 1, 1)  # 64 000 voxels are within the budget
    assert small.frame.length_scale == pytest.approx(1 / config.features.cell_mm)
    assert small.correct[0].lattice.stride == (3, 3, 3)  # 12 mm of 4 mm cells
    large = make_plan(config, (400, 400, 400), (1.0, 1.0, 1.0))
    assert math.prod(large.finest.shape) <= config.features.max_cells
    assert large.finest.stride == (4, 4, 4)  # 100^3 is within it, 134^3 (stride 3) is not
    assert large.frame.length_scale == pytest.approx(1.0)


def test_voxel_lengths_ignore_the_spacing():
    config = load_preset("convexadam")
    assert make_plan(config, SHAPE, SPACING).finest.stride == (2, 2, 2)
    assert make_plan(config, SHAPE, (0.3, 9.0, 2.0)) == make_plan(config, SHAPE, SPACING)


def test_hypothesis_cells():
    lattice = Lattice((40, 40, 40), (2, 4, 1), (3.0, 8.0, 5.0))
    step = HypothesesStart(
        kind="hypotheses", range_mm=(0.0, 24.0, 96.0), step_mm=12.0, radius_mm=(36.0, 36.0, 1.0)
    )
    # Range: 0, 24 / 8, 96 / 5 rounded down; step: 12 / 3, 12 / 8 and 12 / 5 to the nearest; radius likewise.

    def cells(lattice, scale):
        planned = HypothesesStage.planned(step, lattice, scale)
        return planned.reach, planned.step, planned.radius

    assert cells(lattice, 1.0) == ((0, 3, 19), (4, 2, 2), (12, 4, 1))
    assert cells(lattice, 0.5) == ((0, 1, 9), (2, 1, 1), (6, 2, 1))
    flat = Lattice((40, 1, 40), (2, 1, 1), (3.0, 8.0, 5.0))
    assert cells(flat, 1.0)[0][1] == 0
    assert cells(flat, 1.0)[2][1] == 0


def test_start_steps_without_a_cell_use_the_finest_lattice():
    config = Config(
        start=({"kind": "centres"}, AffineStart(kind="affine", cell_mm=8.0)),
        features={"cell_mm": 2.0},
        voxel_lengths=True,
    )
    plan = make_plan(config, (40, 44, 48), (1.0, 1.0, 1.0))
    assert [stage.lattice.stride for stage in plan.start] == [(2, 2, 2), (8, 8, 8)]


@pytest.mark.parametrize(("spacing", "iterations"), [((1.5, 1.5, 2.0), 40), ((0.7, 0.7, 6.5), None)])
def test_a_coarser_optimisation_knows_too_whether_rounds_follow(spacing, iterations):
    config = load_preset("auto")
    plan = make_plan(config, (64, 60, 56), spacing)
    (adam,) = (stage for stage in plan.correct if stage.name == "adam")
    coarser = coarser_stage(adam, plan.frame, config)
    assert adam.before_renewal == coarser.before_renewal == iterations
    assert coarser.lattice == plan.frame.lattice(adam.lattice.widened(2).stride)
