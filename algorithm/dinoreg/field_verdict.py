"""Whether a displacement can be believed, whoever found it and by whatever it was found.

The images are prepared, brought to a working grid and compared by MIND as the preset `auto` does it, so
that the limits that its own results are graded by hold here too.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.guard.judged import Judged, structure_of
from dinoreg.guard.verdict import Verdict
from dinoreg.linear.joined import JoinedImages
from dinoreg.linear.maps import Matrix, angle_degrees, inverse
from dinoreg.linear.move import in_voxels, then_map
from dinoreg.preprocess.blank_ends import common_padding, with_blank_ends
from dinoreg.preprocess.intensity import image_family
from dinoreg.preprocess.pair import ImagePair, within
from dinoreg.preprocess.prepare import prepare_scan
from dinoreg.settings.config import Config
from dinoreg.settings.load import load_preset
from dinoreg.settings.modalities import for_families
from dinoreg.space.compose import inverse_displacement
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame, box_around
from dinoreg.space.lattice import finest_lattice_within
from dinoreg.space.orientation import orientation_of
from regtask.errors import DataError, Fault

_LIKE = "auto"  # the preset by which images are prepared, and whose limits hold
# Rotations and stretches from which on features of moving as it lies are no longer those of fixed.
_DEGREES, _STRETCH = 10.0, 1.1


def judge_field(
    pair: ImagePair, displacement: Float32[np.ndarray, "i j k 3"], device: torch.device | str = "cpu"
) -> Verdict:
    """Grade a displacement by the images that it is said to bring together.

    Args:
        pair: fixed and moving, joined voxel to voxel.
        displacement: (I, J, K, 3) voxels, pull, identity not included.
        device: where to compute.

    Raises:
        SpaceError: the shapes of the images differ.
        DataError: an image without contrast, or a displacement that is not finite.
    """
    pair.check()
    if not np.isfinite(displacement).all():
        raise DataError(Fault("displacement not finite", "displacement", "numbers everywhere"))
    auto = load_preset(_LIKE)
    families = (image_family(scan.modality, scan.values) for scan in (pair.fixed, pair.moving))
    preparation = for_families(Config(preprocess=auto.preprocess), *families).preprocess
    if preparation.beyond_view == "continued":
        margins = common_padding(pair)
        displacement = displacement[within(margins, displacement.shape[:3])]
        pair = with_blank_ends(pair.without(margins))
    vectors = torch.from_numpy(np.moveaxis(displacement, -1, 0).copy()).to(device)
    grid = pair.fixed.grid
    fixed, moving = (prepare_scan(scan, preparation) for scan in (pair.fixed, pair.moving))
    joined = JoinedImages(fixed, moving, grid.spacing_mm, orientation_of(grid.affine))
    joined = joined.on_cubic_voxels(auto.features.max_voxels)
    if joined.way.working is not None:
        vectors = joined.way.working.displacement_from_image(vectors)
    assert auto.features.max_cells is not None
    return _judge_joined(joined, vectors, auto.features.max_cells)


def _turns(matrix: Matrix) -> bool:
    stretches = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    stretched = stretches[0] > _STRETCH or stretches[-1] < 1 / _STRETCH
    return bool(stretched or angle_degrees(matrix) > _DEGREES)


def _turned_first(pair: JoinedImages, vectors: Tensor) -> tuple[JoinedImages, Tensor]:
    """Read moving through the linear part of a displacement that turns or stretches it much.

    Its features would not be those of fixed otherwise, however right the displacement is.
    """
    whole = Frame(pair.shape, pair.spacing_mm, tuple((0, n) for n in pair.shape))
    matrix = pair.nearest_map(Deformation(vectors, whole.voxels), whole)
    if not _turns(matrix):
        return pair, vectors
    return pair.through(matrix), then_map(vectors, inverse(in_voxels(matrix, pair.to_mm)))


def _judge_joined(pair: JoinedImages, vectors: Tensor, most_cells: int) -> Verdict:
    pair, vectors = _turned_first(pair, vectors)
    if pair.moving_shows_less:
        pair, vectors = pair.exchanged(), inverse_displacement(vectors)
    # As `auto` has them: intensities on its finest cells, features on cells twice as wide.
    finest, _ = finest_lattice_within(pair.shape, pair.spacing_mm, most_cells)
    wide = finest.widened(2)
    frame = Frame(pair.shape, pair.spacing_mm, box_around(pair.content, wide.stride, pair.shape))
    images, lattice = pair.images, frame.lattice(wide.stride)
    seen = PairFeatures((structure_of(images, frame, lattice, vectors.device),), (1.0,))
    found = Deformation(vectors[:, *frame.window].contiguous(), frame.voxels)
    judged = Judged(lattice, (), frame.lattice(finest.stride), masked=True)
    return judged.verdict(seen, found, images, frame, exchanged=pair.way.exchanged)
