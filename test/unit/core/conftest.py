"""Shared fixtures; the helpers `core_reference` and `core_checks` lie beside this file."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode puts no test folder on the path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)
