"""The challenge of `made_challenge` as fixtures."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode puts no test folder on the path

from made_challenge import TASKS, Site, build, hand_in, make_task, write, zipped


@pytest.fixture(scope="session")
def challenge(tmp_path_factory) -> Site:
    """The site of both tasks, made by one command; never to be changed."""
    root = tmp_path_factory.mktemp("challenge")
    datasets = []
    for seed, name in enumerate(TASKS):
        made = make_task(root / "data" / name, name, seed)
        hand_in(made, root / "handed in" / name)
        datasets.append(made.description)
    return build(datasets, root / "handed in", root / "site", "--reference", "affine", "--processes", "2")


@pytest.fixture
def small(tmp_path) -> Site:
    """One task with two teams, that may be changed; nothing is judged yet."""
    made = make_task(tmp_path / "data", "Knee", 0)
    zipped(write(made, tmp_path / "handed in" / "good", lambda field: field))
    write(made, tmp_path / "handed in" / "modest", lambda field: 0.4 * field)
    return Site((made.description,), tmp_path / "handed in", tmp_path / "site", -1, "", "")
