"""The helpers of the golden scripts, which the encoder tests start from as well."""

import pytest
import torch


@pytest.fixture
def official_file(tmp_path):
    """Write a case of `dinov2_reference` as Meta's files are written; returns its path for this test."""
    from dinov2_reference import official_state

    def write(case, change=lambda state: state):
        state = {name: torch.from_numpy(array) for name, array in official_state(case).items()}
        path = tmp_path / f"{case}.pth"
        torch.save(change(state), path)
        return path

    yield write
    for path in tmp_path.glob("*.pth"):
        path.unlink()  # pytest keeps the folders of passed tests, and these files are large
