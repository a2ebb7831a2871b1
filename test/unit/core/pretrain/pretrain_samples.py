"""What several tests of the pretraining start from: a small configuration, an anatomy, pairs, scans."""

import nibabel
import numpy as np
import torch

from dinoreg.pretrain.anatomy.labels import Kind, LabelVolume
from dinoreg.pretrain.settings import load_pretrain_config
from dinoreg.pretrain.validate import HeldOut
from dinoreg.pretrain.views.pair import ViewPair, draw_pair

HELD_OUT_SHAPE = (24, 16, 32)  # in place of the real one
TINY = (
    "anatomy.torsos=0",
    "anatomy.random_bodies=2",
    "anatomy.random_size=32",
    "views.size=16",
    "views.points=96",
    "views.voxel_mm=[1.9, 4.0]",
    "views.rotation_degrees=14",
    "views.scale=1.2",
    "views.stretch=1.1",
    "views.shift=[0.3, 0.3, 0.3]",
    "views.elastic=[5.0, 2.0]",
    "views.wavelength=[28.0, 12.0]",
    "views.mirrored=0.12",
    "views.other_patient=0",
    "views.hidden_borders=[0.35, 0.35, 0.35]",
    "views.clustered=4",
    "views.cluster_radius=8.0",
    "views.balanced=0.5",
    "contrastive.temperature=0.1",
    "contrastive.ignored_voxels=3.0",
    "contrastive.coarse_weight=0",
    "network.widths=[4, 6]",
    "network.depths=[1, 1]",
    "network.channels=4",
    "dino.prototypes=16",
    "dino.hidden=8",
    "training.steps=6",
    "training.warmup_steps=2",
    "training.precision=float32",
)
# Beside TINY: a transformer in the place of the U-Net, whose sizes then have to be the defaults.
VIT = (
    "vit.patch=4",
    "vit.width=24",
    "vit.depth=2",
    "vit.heads=2",
    "network.widths=[32, 64, 128, 192]",
    "network.depths=[1, 1, 1, 2]",
    "network.channels=32",
    "contrastive.weight=0",
    "dino.weight=1",
    "dino.mask_block=4",
)


def tiny_config(*overrides):
    """Return settings with which a step takes some milliseconds."""
    return load_pretrain_config(None, [*TINY, *overrides])


def blocks(shape=(45, 31, 38), spacing_mm=2.0, *, oriented=True, frame=None):
    """Return an anatomy of 5 x 5 x 5 voxel blocks in a box of air, each of another id than its neighbours."""
    i, j, k = np.indices(shape) // 5
    ids = (1 + (i + 3 * j + 7 * k) % 11).astype(np.uint8)
    for axis in range(3):
        border = np.moveaxis(ids, axis, 0)
        border[:2] = border[-2:] = 0
    kinds = np.array([Kind.AIR] + [1 + n % 9 for n in range(11)], np.uint8)
    return LabelVolume(ids, kinds, spacing_mm, oriented=oriented, frame=frame)


def at(volume, voxels):
    """Return the values of a volume at the voxels nearest to (N, 3)."""
    return volume[tuple(np.rint(voxels).astype(int).T)]


def drawn_pairs(config, count=2, seed=3):
    """Return pairs of views of `blocks`."""
    return [draw_pair(blocks(), config.views, np.random.default_rng((seed, n))) for n in range(count)]


def pairs_with_points(*counts, size=16, seed=5):
    """Return pairs of views of noise with so many points, at voxels in the second view."""
    rng = np.random.default_rng(seed)
    pairs = []
    for count in counts:
        images = torch.from_numpy(rng.random((2, size, size, size), dtype=np.float32))
        points = np.stack([rng.uniform(0, size - 1, (count, 3)), rng.integers(0, size, (count, 3))])
        seen = torch.ones(images.shape, dtype=torch.bool)
        pairs.append(ViewPair(images, seen, torch.from_numpy(points.astype(np.float32))))
    return pairs


def few_held_out_scans():
    """Return one triple of scans of noise, in place of the patients that take seconds to draw."""
    rng = np.random.default_rng(8)
    shape = HELD_OUT_SHAPE
    points = torch.from_numpy(rng.integers(0, shape, (60, 3)).astype(np.float32))
    organs = torch.from_numpy(rng.integers(0, 3, shape))
    images = [torch.from_numpy(rng.random((1, 1, *shape), dtype=np.float32)) for _ in range(3)]
    return [tuple(HeldOut(image, organs, points) for image in images)]


def write_scan(path, values, affine):
    """Write a NIfTI volume of float32."""
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, np.float32), affine), path)
    return path
