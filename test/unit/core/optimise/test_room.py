import pytest
import torch

from dinoreg.optimise.blocks.room import find_room
from dinoreg.space.lattice import Lattice

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
# dinoreg-oncoreg on a scan of 192 x 160 x 192 voxels of 2 mm: 33 GB at once.
LARGE = Lattice((192, 160, 192), (1, 1, 1), (2.0, 2.0, 2.0))
SMALL = Lattice((40, 30, 40), (1, 1, 1), (2.0, 2.0, 2.0))
GIB = 1 << 30


def _lcc(lattice, free, device=CPU):
    return find_room("lcc", 36, 24, lattice, device, free)


def test_what_is_chosen_depends_on_the_size_alone_where_memory_suffices():
    found = {(r.channels_at_a_time, r.keeps_statistics) for r in (_lcc(LARGE, n * GIB) for n in (16, 64))}
    assert len(found) == 1
    assert _lcc(SMALL, 8 * GIB).channels_at_a_time == 24  # a whole encoder


def test_less_memory_means_statistics_anew_then_smaller_blocks():
    amounts = [64, 7.0, 5.0, 3.3]
    rooms = [_lcc(LARGE, int(n * GIB)) for n in amounts]
    assert [r.keeps_statistics for r in rooms] == [True, False, False, False]
    blocks = [r.channels_at_a_time for r in rooms]
    assert blocks == sorted(blocks, reverse=True)
    assert blocks[-1] == 1
    assert all(r.estimated_mib <= 0.8 * 1024 * n for r, n in zip(rooms, amounts, strict=True))


def test_too_little_is_said_before_it_is_begun():
    with pytest.raises(torch.OutOfMemoryError, match=r"lcc of 36 channels on \(192, 160, 192\) cells takes"):
        _lcc(LARGE, GIB)


def test_the_compiled_sum_of_squares_needs_no_blocks():
    assert find_room("ssd", 36, 24, LARGE, CPU, 8 * GIB).channels_at_a_time == 24
    assert find_room("ssd", 36, 24, LARGE, GPU, 8 * GIB).channels_at_a_time < 24
