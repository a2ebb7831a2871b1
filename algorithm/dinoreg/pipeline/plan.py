"""The plan: what a configuration means for one pair, in voxels and cells. It is written with the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dinoreg.settings.config import Config, HypothesesStart
from dinoreg.space.lattice import Lattice, finest_lattice_within, make_lattice
from dinoreg.space.orientation import RAS


@dataclass(frozen=True, slots=True)
class Plan:
    """Lattices of all stages over the block of the image that is registered.

    Attributes:
        image_shape: of the whole image, voxels.
        orientation: of the image, as `space.orientation` has it.
        block: first and past-the-last voxel per axis of the block with content.
        length_scale: factor applied to every length of the configuration.
        finest: where the features are kept.
        start: lattice of each start step (the finest one where a step needs none).
        discrete: lattice of each discrete stage.
        adam: lattice of each Adam stage.
        ffd: finest lattice of each free-form stage.
        voxels: the block's own lattice, stride 1.
    """

    image_shape: tuple[int, ...]
    orientation: str
    block: tuple[tuple[int, int], ...]
    length_scale: float
    finest: Lattice
    start: tuple[Lattice, ...]
    discrete: tuple[Lattice, ...]
    adam: tuple[Lattice, ...]
    ffd: tuple[Lattice, ...]
    voxels: Lattice

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return asdict(self)


def make_plan(
    config: Config,
    image_shape: Sequence[int],
    spacing_mm: Sequence[float],
    content: Sequence[slice] | None = None,
    *,
    orientation: str = RAS,
) -> Plan:
    """Turn millimetres into cells.

    Args:
        config: the settings.
        image_shape: of fixed and moving.
        spacing_mm: of fixed.
        content: the smallest box that holds what varies in either image; by default the whole image.
        orientation: of the image.
    """
    shape = tuple(image_shape)
    spacing = (1.0,) * len(shape) if config.voxel_lengths else tuple(float(s) for s in spacing_mm)
    scale = 1.0
    finest = make_lattice(shape, spacing, config.features.cell_mm)
    if config.features.max_cells is not None:
        finest, cell_mm = finest_lattice_within(shape, spacing, config.features.max_cells)
        scale = cell_mm / config.features.cell_mm

    def lattice(cell_mm: float) -> Lattice:
        return make_lattice(shape, spacing, cell_mm * scale, multiple_of=finest.stride)

    def start_cell(step: Any) -> float:
        return float(getattr(step, "cell_mm", config.features.cell_mm))

    cells = [
        *(start_cell(step) for step in config.start),
        *(stage.cell_mm for stage in config.discrete),
        *(stage.cell_mm for stage in config.adam),
        *(stage.cell_mm for stage in config.ffd),
    ]
    strides = [finest.stride, *(lattice(cell).stride for cell in cells)]
    common = tuple(math.lcm(*(stride[axis] for stride in strides)) for axis in range(len(shape)))
    block = _aligned(content or [slice(0, n) for n in shape], common, shape)
    size = tuple(stop - start for start, stop in block)

    def cut(whole: Lattice) -> Lattice:
        return Lattice(size, whole.stride, whole.spacing_mm)

    return Plan(
        image_shape=shape,
        orientation=orientation,
        block=block,
        length_scale=scale,
        finest=cut(finest),
        start=tuple(cut(lattice(start_cell(step))) for step in config.start),
        discrete=tuple(cut(lattice(stage.cell_mm)) for stage in config.discrete),
        adam=tuple(cut(lattice(stage.cell_mm)) for stage in config.adam),
        ffd=tuple(cut(lattice(stage.cell_mm)) for stage in config.ffd),
        voxels=Lattice(size, (1,) * len(size), spacing),
    )


def cells_within(length_mm: float, lattice: Lattice) -> tuple[int, ...]:
    """Return a length as whole cells per axis, at least 1, and 0 along an axis of size 1."""
    return tuple(
        0 if n == 1 else max(1, round(length_mm / s))
        for n, s in zip(lattice.shape, lattice.spacing_mm, strict=True)
    )


def hypothesis_cells(
    step: HypothesesStart, lattice: Lattice, scale: float
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return range, step and discrete radius of a hypotheses start in cells per axis."""
    axes = range(len(lattice.shape))
    single = [n == 1 for n in lattice.shape]
    reach = tuple(
        0 if single[a] else math.floor(step.range_mm[a] * scale / lattice.spacing_mm[a] + 1e-6) for a in axes
    )
    stride = tuple(max(1, round(step.step_mm * scale / lattice.spacing_mm[a])) for a in axes)
    radius = tuple(
        0 if single[a] else max(1, round(step.radius_mm[a] * scale / lattice.spacing_mm[a])) for a in axes
    )
    return reach, stride, radius


def _aligned(
    content: Sequence[slice], stride: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Grow a box by a stride, then to multiples of it, so that the cells of the block are those of the image.

    The margin gives a displacement room to come to rest beside the content.
    """
    return tuple(
        (max(0, box.start - s) // s * s, min(n, -(-(box.stop + s) // s) * s))
        for box, s, n in zip(content, stride, shape, strict=True)
    )
