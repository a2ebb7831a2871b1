"""Whether a displacement can be believed, whoever found it and by whatever it was found.

The images are prepared, brought to a working grid and compared by MIND as the preset `auto` does it, so
that the limits that its own results are graded by hold here too.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.guard.judged import Judged, structure_of
from dinoreg.guard.second_look import look_again
from dinoreg.guard.verdict import Evidence, Verdict, judge
from dinoreg.linear.joined import JoinedImages
from dinoreg.linear.maps import Matrix, angle_degrees, inverse, mirrors, squeezes_flat
from dinoreg.linear.move import in_voxels, then_map
from dinoreg.preprocess.blank_ends import as_shown
from dinoreg.preprocess.intensity import image_family
from dinoreg.preprocess.pair import ImagePair, within
from dinoreg.preprocess.prepare import prepare_scan
from dinoreg.runtime import is_out_of_memory, settle_torch
from dinoreg.settings.config import Config
from dinoreg.settings.load import load_preset
from dinoreg.settings.modalities import for_families
from dinoreg.space.compose import inverse_displacement
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame, box_around
from dinoreg.space.lattice import finest_lattice_within
from dinoreg.space.orientation import orientation_of
from regtask.errors import DataError, Fault, SpaceError

log = logging.getLogger(__name__)

_LIKE = "auto"  # the preset by which images are prepared, and whose limits hold
# Rotations and stretches from which on features of moving as it lies are no longer those of fixed.
_DEGREES, _STRETCH = 10.0, 1.1


def judge_field(
    pair: ImagePair,
    displacement: Float32[np.ndarray, "i j k 3"],
    device: torch.device | str = "cpu",
    *,
    where: Bool[np.ndarray, "i j k"] | None = None,
    mirrored: bool = False,
) -> Verdict:
    """Grade a displacement by the images that it is said to bring together.

    Args:
        pair: fixed and moving, joined voxel to voxel.
        displacement: (I, J, K, 3) voxels, pull, identity not included.
        device: where to compute.
        where: voxels at which the displacement is known; by default all.
        mirrored: whether a linear map that was split off before turns right into left.

    Raises:
        SpaceError: the shapes of images, masks and displacement differ.
        DataError: an image without contrast, or a displacement that is not finite.
    """
    _check_shapes(pair, displacement)
    pair.check()
    settle_torch()
    if not np.isfinite(displacement).all():
        raise DataError(Fault("displacement not finite", "displacement", "numbers everywhere"))
    auto = load_preset(_LIKE)
    families = (image_family(scan.modality, scan.values) for scan in (pair.fixed, pair.moving))
    config = for_families(auto, *families)
    preparation = config.preprocess
    pair, margins = as_shown(pair, preparation)
    if margins:
        window = within(margins, displacement.shape[:3])
        displacement, where = displacement[window], None if where is None else where[window]
    vectors = torch.from_numpy(np.moveaxis(displacement, -1, 0).copy()).to(device)
    grid = pair.fixed.grid
    fixed, moving = (prepare_scan(scan, preparation) for scan in (pair.fixed, pair.moving))
    if where is not None:
        fixed = replace(fixed, foreground=fixed.foreground & where)
    joined = JoinedImages(fixed, moving, grid.spacing_mm, orientation_of(grid.affine))
    joined = joined.on_cubic_voxels(auto.features.max_voxels)
    if joined.way.working is not None:
        vectors = joined.way.working.displacement_from_image(vectors)
    return _judge_joined(joined, vectors, config, mirrored=mirrored)


def _check_shapes(pair: ImagePair, displacement: Float32[np.ndarray, "i j k 3"]) -> None:
    expected = pair.fixed.values.shape
    masks = [one.mask.shape for one in (pair.fixed, pair.moving) if one.mask is not None]
    for what, shape in (("displacement", displacement.shape[:-1]), *(("mask", shape) for shape in masks)):
        if shape != expected:
            where = pair.fixed.name or "fixed"
            raise SpaceError(Fault(f"{what} and images differ in shape", where, str(expected), str(shape)))


def _turns(matrix: Matrix) -> bool:
    stretches = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    stretched = stretches[0] > _STRETCH or stretches[-1] < 1 / _STRETCH
    return bool(stretched or angle_degrees(matrix) > _DEGREES)


def _turned_first(pair: JoinedImages, vectors: Tensor, matrix: Matrix) -> tuple[JoinedImages, Tensor]:
    """Read moving through the linear part of a displacement that turns or stretches it much.

    Its features would not be those of fixed otherwise, however right the displacement is.
    """
    if not _turns(matrix):
        return pair, vectors
    return pair.through(matrix), then_map(vectors, inverse(in_voxels(matrix, pair.to_mm)))


def _judge_joined(pair: JoinedImages, vectors: Tensor, config: Config, *, mirrored: bool) -> Verdict:
    whole = Frame(pair.shape, pair.spacing_mm, tuple((0, n) for n in pair.shape))
    matrix = pair.nearest_map(Deformation(vectors, whole.voxels), whole)
    if squeezes_flat(matrix):
        return judge(Evidence(covered=0.0, residual=1.0, implausible=1.0))
    mirrored ^= mirrors(matrix)
    pair, vectors = _turned_first(pair, vectors, matrix)
    if pair.moving_shows_less:
        pair, vectors = pair.exchanged(), inverse_displacement(vectors)
    # As `auto` has them: intensities on its finest cells, features on cells twice as wide.
    assert config.features.max_cells is not None
    finest, _ = finest_lattice_within(pair.shape, pair.spacing_mm, config.features.max_cells)
    wide = finest.widened(2)
    frame = Frame(pair.shape, pair.spacing_mm, box_around(pair.content, wide.stride, pair.shape))
    images, lattice = pair.images, frame.lattice(wide.stride)
    seen = PairFeatures((structure_of(images, frame, lattice, vectors.device),), (1.0,))
    found = Deformation(vectors[:, *frame.window].contiguous(), frame.voxels)
    judged = Judged(lattice, (), frame.lattice(finest.stride), masked=True)
    verdict = judged.verdict(seen, found, images, frame, exchanged=pair.way.exchanged)
    assert isinstance(verdict.evidence, Evidence)
    remaining = None
    try:
        remaining = look_again(images, frame, judged.fine, vectors, config)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        log.warning("no memory to look how much remains: %s", error)
    return judge(replace(verdict.evidence, mirrored=mirrored, **asdict(remaining) if remaining else {}))
