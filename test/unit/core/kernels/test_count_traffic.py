"""The count of what an iteration moves counts what it should."""

import pytest
import torch

from count_traffic import Traffic, count

N = 4 * 5 * 6
FLOAT = 4


@pytest.mark.parametrize(
    ("work", "numbers", "launches"),
    [
        (lambda a, b: a + b, 3 * N, 1),
        (lambda a, b: a * a, 2 * N, 1),  # read once
        (lambda a, b: a.mul_(2), 2 * N, 1),
        (lambda a, b: a.zero_(), N, 1),
        (lambda a, b: torch.zeros_like(a), N, 1),
        (lambda a, b: torch.empty_like(a), 0, 0),
        (lambda a, b: a.copy_(b), 2 * N, 1),
        (lambda a, b: a[1:].movedim(0, -1).detach(), 0, 0),
        (lambda a, b: a.movedim(0, -1).contiguous(), 2 * N, 1),
        (lambda a, b: a.contiguous(), 0, 0),
        (lambda a, b: a[:1].expand(4, -1, -1) + b, 2 * N + N / 4, 1),
        (lambda a, b: a.sum(), N + 1, 1),
    ],
)
def test_single_operations(work, numbers, launches):
    a, b = (torch.empty(4, 5, 6, device="meta") for _ in range(2))
    with Traffic() as traffic:
        work(a, b)
    assert (traffic.bytes, traffic.launches) == (FLOAT * numbers, launches)


def test_channels_are_read_once_by_the_kernels_and_many_times_without():
    def per_cell(channels, dtype=torch.float32, *, kernels):
        return count((16, 16, 16), channels, dtype, kernels=kernels)[0] / 16**3

    # fixed and moving of one channel more
    assert per_cell(3, kernels=True) - per_cell(2, kernels=True) == 2 * FLOAT
    half = torch.float16
    assert per_cell(3, half, kernels=True) - per_cell(2, half, kernels=True) == FLOAT
    # as the operations of warp, difference, square and sum are written, 8 in and 8 back
    assert per_cell(3, kernels=False) - per_cell(2, kernels=False) == 16 * FLOAT
