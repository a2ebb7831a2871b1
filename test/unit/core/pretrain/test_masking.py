import numpy as np
import pytest
import torch

from dinoreg.pretrain.objective.masking import draw_hidden, read_hidden


def drawn(count=1, size=32, block=8, share=(0.1, 0.5), seed=0):
    return draw_hidden(count, size, block, share, torch.Generator().manual_seed(seed))


def test_blocks_are_hidden_whole():
    hidden = drawn(count=6)
    assert hidden.shape == (6, 1, 16, 16, 16)
    assert hidden.dtype == torch.bool
    cells = hidden.view(6, 4, 4, 4, 4, 4, 4).permute(0, 1, 3, 5, 2, 4, 6).reshape(6 * 64, 64)
    assert set(cells.sum(dim=1).tolist()) == {0, 64}


def test_as_much_is_hidden_as_asked():
    shares = drawn(count=300, size=64).float().mean(dim=(1, 2, 3, 4)).numpy()
    assert shares.mean() == pytest.approx(0.3, abs=0.02)
    assert shares.min() < 0.15
    assert shares.max() > 0.45
    # The spread of a uniform share is 0.4 / 12^0.5; chance in 512 blocks adds little.
    assert shares.std() == pytest.approx(0.4 / 12**0.5, rel=0.1)
    assert not drawn(share=(0.0, 0.0)).any()
    assert drawn(share=(1.0, 1.0)).all()


def test_views_are_hidden_differently_and_repeatably():
    hidden = drawn(count=2)
    assert (hidden[0] != hidden[1]).any()
    assert torch.equal(hidden, drawn(count=2))
    assert (hidden != drawn(count=2, seed=1)).any()


@pytest.mark.parametrize(("size", "block"), [(32, 12), (16, 32), (24, 2)])
def test_blocks_that_do_not_divide_the_view(size, block):
    assert drawn(size=size, block=block).shape[2:] == (size // 2,) * 3


def test_points_are_told_by_the_voxels_of_their_cell(rng):
    hidden = drawn(size=24, block=4)[0, 0]
    of_voxel = np.kron(hidden.numpy(), np.ones((2, 2, 2), bool))
    points = rng.uniform(-0.5, 23.5, (400, 3)).astype(np.float32)
    found = read_hidden(hidden, torch.from_numpy(points)).numpy()
    nearest = np.clip(np.rint(points), 0, 23).astype(int)
    np.testing.assert_array_equal(found, of_voxel[tuple(nearest.T)])
    assert 0.05 < found.mean() < 0.8


def test_points_at_the_edge_belong_to_the_last_cell():
    hidden = torch.zeros(3, 4, 5, dtype=torch.bool)
    hidden[0, 0, 0] = hidden[2, 3, 4] = True
    points = torch.tensor([[-0.5, -0.5, -0.5], [5.5, 7.5, 9.5], [-3.0, 0.0, 1.4], [1.6, 0, 0], [5, 7, 7.4]])
    assert read_hidden(hidden, points).tolist() == [True, True, True, False, False]
