import numpy as np
import pytest
import torch
from slice_encoders import MeanEncoder

from dinoreg.encoders.slices.slice_plan import plan_slices
from dinoreg.encoders.slices.slicewise import encode_slices, place_tokens
from dinoreg.space.lattice import Lattice

SHAPE = (21, 26, 35)
SPACING = (1.5, 1.0, 2.5)
BOX = ((2, 19), (3, 25), (4, 33))
LATTICES = [
    ((1, 1, 1), (0, 0, 0), SHAPE),
    ((2, 3, 2), (0, 0, 0), SHAPE),
    ((2, 1, 3), (2, 4, 6), (17, 22, 29)),
]


def _ramp(axis):
    """Intensity is the position along an axis, scaled into [0, 1]."""
    index = np.arange(SHAPE[axis], dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return torch.from_numpy(np.broadcast_to(index, SHAPE) / SHAPE[axis])


def _foreground():
    foreground = np.zeros(SHAPE, bool)
    foreground[tuple(slice(*bounds) for bounds in BOX)] = True
    return foreground


def _encode(values, *, axis, step=3, encoder=None, **settings):
    foreground = _foreground()
    encoder = encoder or MeanEncoder()
    plan = plan_slices(
        foreground, SPACING, axis=axis, up_sampling=3.1, slice_step=step, patch_size=encoder.patch_size
    )
    settings = {"batch": 4, "storage": torch.float32} | settings
    return encode_slices(encoder, values, torch.from_numpy(foreground), plan, **settings)


def _inside(plan, lattice, origin):
    """Cells whose voxels all lie between the outermost centres that no border has touched."""
    mask = np.ones(lattice.shape, bool)
    sides = dict(zip(plan.plane, plan.voxels_per_patch, strict=True))
    for a in range(3):
        low, high = BOX[a]
        if a == plan.axis:
            low, high = plan.indices[0], plan.indices[-1]
        else:
            low, high = low - 0.5 + 1.5 * sides[a], high - 0.5 - 1.5 * sides[a]
        first = np.arange(lattice.shape[a]) * lattice.stride[a] + origin[a]
        last = first + lattice.stride[a] - 1
        whole = last < origin[a] + lattice.image_shape[a]
        keep = (first >= low) & (last <= high) & whole
        mask &= keep.reshape([-1 if b == a else 1 for b in range(3)])
    return mask


@pytest.mark.parametrize(("stride", "origin", "shape"), LATTICES)
@pytest.mark.parametrize("step", [1, 3, 5])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_positions_come_out_where_they_are(axis, step, stride, origin, shape):
    lattice = Lattice(shape, stride, tuple(map(float, stride)))
    for along in range(3):
        tokens = _encode(_ramp(along), axis=axis, step=step)
        found = place_tokens(tokens.patches, tokens.plan, lattice, origin=origin)[0].numpy() * SHAPE[along]
        centre = origin[along] + (np.arange(lattice.shape[along]) + 0.5) * stride[along] - 0.5
        expected = np.broadcast_to(centre.reshape([-1 if a == along else 1 for a in range(3)]), lattice.shape)
        inside = _inside(tokens.plan, lattice, origin)
        assert inside.sum() > 30
        np.testing.assert_allclose(found[inside], expected[inside], atol=2e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_slices_as_numpy_interpolates_up_to_the_last_one(axis, rng):
    # A value per slice; 29 slices of content at a step of 3 leave a last interval of 1.
    per_slice = rng.uniform(size=SHAPE[axis]).astype(np.float32)
    values = np.broadcast_to(per_slice.reshape([-1 if a == axis else 1 for a in range(3)]), SHAPE).copy()
    tokens = _encode(torch.from_numpy(values), axis=axis)
    lattice = Lattice(SHAPE, (1, 1, 1), SPACING)
    found = place_tokens(tokens.patches, tokens.plan, lattice)[0].numpy()
    middle = [10, 13, 18]
    middle[axis] = slice(None)
    at = list(tokens.plan.indices)
    expected = np.interp(np.arange(SHAPE[axis]), at, per_slice[at])
    low, high = BOX[axis]
    expected[:low] = expected[high:] = 0
    np.testing.assert_allclose(found[tuple(middle)], expected, atol=1e-6)
    assert at[-1] == high - 1
    assert found[tuple(middle)][high - 1] == pytest.approx(per_slice[high - 1], abs=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nothing_beyond_the_content(axis):
    tokens = _encode(torch.ones(SHAPE), axis=axis)
    found = place_tokens(tokens.patches, tokens.plan, Lattice(SHAPE, (1, 1, 1), SPACING))[0].numpy()
    np.testing.assert_allclose(found, _foreground(), atol=1e-6)


def test_cells_are_means_of_voxels(rng):
    tokens = _encode(torch.from_numpy(rng.uniform(size=SHAPE).astype(np.float32)), axis=1)
    fine = place_tokens(tokens.patches, tokens.plan, Lattice(SHAPE, (1, 1, 1), SPACING))[0].numpy()
    coarse = place_tokens(tokens.patches, tokens.plan, Lattice(SHAPE, (2, 3, 4), SPACING))[0].numpy()
    padded = np.pad(fine, [(0, -n % s) for n, s in zip(SHAPE, (2, 3, 4), strict=True)], mode="edge")
    blocks = padded.reshape(11, 2, 9, 3, 9, 4).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(coarse, blocks, atol=1e-5)


def test_share_of_foreground_by_fine_counting():
    tokens = _encode(torch.ones(SHAPE), axis=2)
    mask = np.zeros(SHAPE, bool)
    mask[5:16, 7:20] = True
    plan = tokens.plan
    again = encode_slices(MeanEncoder(), torch.ones(SHAPE), torch.from_numpy(mask), plan, batch=64)
    (a, b), (c, d) = plan.crop
    fine = 40  # points per patch
    rows = np.floor(a + (np.arange(plan.patches[0] * fine) + 0.5) * plan.voxels_per_patch[0] / fine).astype(
        int
    )
    columns = np.floor(c + (np.arange(plan.patches[1] * fine) + 0.5) * plan.voxels_per_patch[1] / fine)
    counted = mask[:, :, 10][np.ix_(rows, columns.astype(int))]
    counted = counted.reshape(plan.patches[0], fine, plan.patches[1], fine).mean(axis=(1, 3))
    np.testing.assert_allclose(again.share[3], counted, atol=0.05)
    assert (b, d) == (19, 25)
    assert float(again.share.min()) == 0
    assert float(again.share.max()) == pytest.approx(1)


def test_batches_make_no_difference_and_shrink_when_memory_runs_out(rng):
    values = torch.from_numpy(rng.uniform(size=SHAPE).astype(np.float32))
    reference = _encode(values, axis=2, batch=64)
    tight = MeanEncoder(most=3)
    found = _encode(values, axis=2, batch=64, encoder=tight)
    torch.testing.assert_close(found.patches, reference.patches)
    torch.testing.assert_close(found.cls, reference.cls)
    assert max(tight.batches) <= 3
    assert sum(tight.batches) == len(found.plan.indices)
    with pytest.raises(torch.OutOfMemoryError):
        _encode(values, axis=2, batch=64, encoder=MeanEncoder(most=0))


def test_storage_in_half_precision(rng):
    values = torch.from_numpy(rng.uniform(size=SHAPE).astype(np.float32))
    full, half = (_encode(values, axis=2, storage=t) for t in (torch.float32, torch.float16))
    assert half.patches.dtype == torch.float16
    assert half.cls.dtype == torch.float32
    assert full.nbytes - half.nbytes == full.patches.numel() * 2
    np.testing.assert_allclose(half.patches.float(), full.patches, rtol=1e-3)


def test_inputs_are_exact_multiples_of_the_patch(rng):
    encoder = MeanEncoder(patch_size=14)
    _encode(torch.from_numpy(rng.uniform(size=SHAPE).astype(np.float32)), axis=0, encoder=encoder)
    ((rows, columns),) = encoder.sizes
    assert rows % 14 == columns % 14 == 0
    assert rows != columns


def test_foreground_tokens_are_those_above_the_share():
    tokens = _encode(_ramp(0), axis=2)
    found = torch.cat(list(tokens.foreground_tokens(0.99, torch.device("cpu"))))
    assert found.shape == (int((tokens.share > 0.99).sum()), 1)
    assert (
        torch.cat(list(tokens.foreground_tokens(-1.0, torch.device("cpu")))).shape[0] == tokens.share.numel()
    )
