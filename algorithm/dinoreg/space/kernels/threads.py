"""How many threads the compiled CPU kernels use: as many as torch."""

from __future__ import annotations

import numba
import torch


def _start_numba() -> int:
    """Start numba's threads, and return how many there are at most.

    Its OpenMP layer sets the number of threads of the whole process as it starts, that of torch too.
    """
    kept = torch.get_num_threads()
    most: int = numba.get_num_threads()
    torch.set_num_threads(kept)
    return most


_MOST_THREADS = _start_numba()


def follow_torch_threads() -> None:
    """Have the kernels use as many threads as torch does; called before each of them."""
    numba.set_num_threads(min(torch.get_num_threads(), _MOST_THREADS))
