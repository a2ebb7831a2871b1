"""Where the features of `dino3d` lie, in millimetres, whatever the voxels and the orientation."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_dino3d import random_network

from dinoreg.encoders.dino3d.encoder import Dino3dEncoder, encode_dino3d
from dinoreg.errors import ConfigError
from dinoreg.space.lattice import Lattice

SHAPE, VOXEL_MM = (27, 41, 34), (1.5, 0.8, 2.5)
ORIENTATIONS = ("RAS", "LAS", "LPS", "PIR", "SLA")


class Stub(torch.nn.Module):
    """Gives each cell of 2 x 2 x 2 voxels its mean, and the index of the cell along R, A and S."""

    multiple, reach, channels, stride, largest = 8, 0, 4, 2, None

    def forward(self, image):
        mean = F.avg_pool3d(image, 2)
        axes = [torch.arange(n, dtype=torch.float32) for n in mean.shape[2:]]
        return torch.cat([mean, torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]], dim=1)


def lattice_over(shape, stride=(2, 3, 1), voxel_mm=VOXEL_MM):
    return Lattice(shape, stride, tuple(s * v for s, v in zip(stride, voxel_mm, strict=True)))


def encode(values, lattice, network=None, **settings):
    encoder = Dino3dEncoder(network or Stub(), 2.0)
    return encode_dino3d(encoder, torch.from_numpy(values.astype(np.float32)), lattice, **settings)


def centres_mm(shape, stride):
    """(3, *cells) distance from the outer corner of the first voxel."""
    cells = np.indices([-(-n // s) for n, s in zip(shape, stride, strict=True)])
    return (cells + 0.5) * np.reshape(np.multiply(stride, VOXEL_MM), (3, 1, 1, 1))


@pytest.mark.parametrize("working_mm", [0.7, 1.5, 2.0, 3.1])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_features_lie_where_the_image_shows_them(orientation, working_mm):
    def linear(mm):
        return 0.02 * mm[0] - 0.05 * mm[1] + 0.03 * mm[2]

    lattice = lattice_over(SHAPE)
    found = encode(
        linear(centres_mm(SHAPE, (1, 1, 1))), lattice, working_mm=working_mm, orientation=orientation
    )
    assert found.values.shape == (4, *lattice.shape)
    at = centres_mm(SHAPE, lattice.stride)
    extent = np.reshape(np.multiply(SHAPE, VOXEL_MM), (3, 1, 1, 1))
    # The border, where values are repeated, is beyond the neighbouring features.
    margin = 3 * working_mm + max(VOXEL_MM) / 2
    inside = ((at > margin) & (at < extent - margin)).all(axis=0)
    assert inside.sum() > 100
    np.testing.assert_allclose(found.values[0].numpy()[inside], linear(at)[inside], atol=2e-5)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_network_sees_right_anterior_superior(orientation):
    ornt = nib.orientations.axcodes2ornt(orientation)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (anatomical, sign) in enumerate(ornt):
        affine[int(anatomical), axis] = sign * VOXEL_MM[axis]
    assert "".join(nib.aff2axcodes(affine)) == orientation
    lattice, working_mm = lattice_over(SHAPE), 1.5
    found = encode(np.zeros(SHAPE), lattice, working_mm=working_mm, orientation=orientation).values[1:]
    corners = np.array(list(itertools.product(*((-0.5, n - 0.5) for n in SHAPE))))
    lowest = (corners @ affine[:3, :3].T).min(axis=0).reshape(3, 1, 1, 1)
    voxels = centres_mm(SHAPE, lattice.stride) / np.reshape(VOXEL_MM, (3, 1, 1, 1)) - 0.5
    ras = np.einsum("ab,b...->a...", affine[:3, :3], voxels)
    expected = (ras - lowest) / (2 * working_mm) - 0.5
    inside = (expected > 0).all(axis=0)
    np.testing.assert_allclose(found.numpy()[:, inside], expected[:, inside], atol=1e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_one_patient_stored_in_two_ways_has_the_same_features(orientation, rng):
    shape, stride = (20, 27, 34), (2, 3, 1)  # divisible: no cell reaches over an edge
    values = rng.random(shape)
    network = random_network()
    plain = encode(values, lattice_over(shape, stride), network, working_mm=1.4)
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(orientation)
    )
    order = [int(axis) for axis in np.argsort(turn[:, 0])]
    stored = nib.orientations.apply_orientation(values, turn)
    lattice = lattice_over(stored.shape, tuple(stride[a] for a in order), tuple(VOXEL_MM[a] for a in order))
    found = encode(stored, lattice, network, working_mm=1.4, orientation=orientation)
    assert found.grid == plain.grid
    for channel, expected in zip(found.values.numpy(), plain.values.numpy(), strict=True):
        turned = nib.orientations.apply_orientation(expected, turn)
        np.testing.assert_allclose(channel, turned, atol=1e-5)
    if orientation != "RAS":
        ignored = encode(stored, lattice, network, working_mm=1.4)
        assert np.abs(ignored.values.numpy() - found.values.numpy()).max() > 0.1


def test_coarser_voxels_are_means():
    checkers = np.indices((24, 28, 32)).sum(axis=0) % 2
    lattice = lattice_over((24, 28, 32), (4, 4, 4), (1.0, 1.0, 1.0))
    found = encode(checkers, lattice, working_mm=2.0).values[0]
    np.testing.assert_allclose(found, np.full(lattice.shape, 0.5), atol=1e-6)


def test_voxels_of_the_network_itself_go_in_as_they_are(rng):
    values = rng.random((16, 24, 32)).astype(np.float32)
    seen = []

    class Witness(Stub):
        def forward(self, image):
            seen.append(image)
            return super().forward(image)

    lattice = lattice_over(values.shape, (2, 2, 2), (1.0, 1.0, 1.0))
    found = encode(values, lattice, Witness(), working_mm=1.0)
    np.testing.assert_array_equal(seen[0][0, 0], values)
    np.testing.assert_array_equal(found.values[0], F.avg_pool3d(seen[0], 2)[0, 0])
    padded = encode(
        values[:15, :23, :31], lattice_over((15, 23, 31), (1, 1, 1), (1.0,) * 3), Witness(), working_mm=1.0
    )
    assert padded.grid == (16, 24, 32)
    assert not seen[1][0, 0, 15].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_single_slices_are_refused(axis):
    shape = [20, 26, 34]
    shape[axis] = 1
    with pytest.raises(ConfigError, match="dino3d takes volumes"):
        encode(np.zeros(shape), lattice_over(tuple(shape)), working_mm=2.0)
