"""One thread, and the helper `pretrain_samples`, which lies beside this file."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode puts no test folder on the path


@pytest.fixture(autouse=True)
def _one_thread():
    """Small arrays: threads only wait for each other, the more so where other work runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)
