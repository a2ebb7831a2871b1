"""A tiny Learn2Reg task with known shifts, and the command run inside this process."""

import json
import logging
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from scipy import ndimage

from dinoreg.cli.main import main
from dinoreg.cli.platforms.entry import main as container_main
from dinoreg.settings.load import load_config
from dinoreg.task.manifest import Manifest
from dinoreg.task.run_task import RunOptions, run_task
from regtask import Grid, read_dataset, write_landmarks, write_volume

# ConvexAdam with few steps: a fraction of a second per pair.
QUICK = """
voxel_lengths = true
masked = false
[preprocess]
normalise = false
foreground = "none"
[features]
cell_mm = 2.0
encoders = [{ name = "mind", radius = 1, dilation = 2 }]
[[discrete]]
cell_mm = 6.0
radius_mm = 18.0
[[adam]]
cell_mm = 2.0
iterations = 5
"""
SHAPE = (32, 28, 36)
MARGIN = 10


@dataclass(frozen=True)
class TinyTask:
    """Three pairs; content for fixed voxel x lies at x + shift in the moving image."""

    description: Path
    grid: Grid
    pairs: tuple[tuple[str, str], ...] = (
        ("0001_0000", "0001_0001"),
        ("0002_0001", "0002_0000"),
        ("0003_0000", "0004_0000"),
    )
    shifts: tuple[tuple[int, int, int], ...] = ((3, -5, 7), (-2, 1, 0), (0, 2, -1))

    @property
    def folder(self) -> Path:
        return self.description.parent

    @property
    def cases(self) -> list[str]:
        return [f"{fixed}<--{moving}" for fixed, moving in self.pairs]

    @property
    def fields(self) -> list[str]:
        return [f"disp_{fixed}_{moving}.nii.gz" for fixed, moving in self.pairs]

    def image(self, name: str) -> Path:
        return self.folder / "imagesTr" / f"Tiny_{name}.nii.gz"

    def copied_to(self, folder: Path) -> "TinyTask":
        """Copy the task, so that a test can damage it."""
        shutil.copytree(self.folder, folder)
        return TinyTask(folder / self.description.name, self.grid)


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread, here and in child processes: several wait for each other on a busy machine."""
    torch_threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        numba.set_num_threads(1)
        yield
        torch.set_num_threads(torch_threads)
        numba.set_num_threads(numba_threads)


@pytest.fixture(scope="session")
def oblique() -> np.ndarray:
    """An affine on which no mistake hides: anisotropic, oblique, left-handed, off-centre."""
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, 0.96, -0.28], [0.0, 0.28, 0.96]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ tilt @ np.diag([-1.5, 2.0, 2.5])
    affine[:3, 3] = (-31.0, 12.5, 104.0)
    return affine


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, oblique: np.ndarray) -> TinyTask:
    """The task; shared by all tests, so never to be changed."""
    task = TinyTask(tmp_path_factory.mktemp("tiny") / "Tiny_dataset.json", Grid(SHAPE, oblique))
    rng = np.random.default_rng(5)
    for kind in ("imagesTr", "labelsTr", "masksTr", "landmarksTr"):
        (task.folder / kind).mkdir()
    points = rng.integers(MARGIN, np.array(SHAPE) - MARGIN, (6, 3))
    for (fixed, moving), shift in zip(task.pairs, task.shifts, strict=True):
        scene = ndimage.gaussian_filter(rng.standard_normal([n + 2 * MARGIN for n in SHAPE]), 2.0)
        scene = (1000 * (scene - scene.min()) / np.ptp(scene)).astype(np.float32)
        for name, start in ((fixed, shift), (moving, (0, 0, 0))):
            view = scene[tuple(slice(MARGIN + s, MARGIN + s + n) for s, n in zip(start, SHAPE, strict=True))]
            file = f"Tiny_{name}.nii.gz"
            write_volume(task.folder / "imagesTr" / file, view, task.grid)
            write_volume(task.folder / "labelsTr" / file, np.digitize(view, (450, 550)), task.grid, np.uint8)
            write_volume(task.folder / "masksTr" / file, view > 300, task.grid, np.uint8)
        write_landmarks(task.folder / "landmarksTr" / f"Tiny_{fixed}.csv", points)
        write_landmarks(task.folder / "landmarksTr" / f"Tiny_{moving}.csv", points + shift)
    content = {
        "name": "Tiny",
        "modality": {"0": "MR", "1": "MR"},
        "labels": {"0": {"0": "background", "1": "grey", "2": "white"}},
        "registration_val": [
            {"fixed": f"./imagesTr/Tiny_{fixed}.nii.gz", "moving": f"./imagesTr/Tiny_{moving}.nii.gz"}
            for fixed, moving in task.pairs
        ],
    }
    task.description.write_text(json.dumps(content), encoding="utf-8")
    return task


@pytest.fixture
def damaged(tiny: TinyTask, tmp_path: Path) -> TinyTask:
    """A copy of the task that a test may damage."""
    return tiny.copied_to(tmp_path / "task")


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration for tests in which accuracy does not matter."""
    path = tmp_path_factory.mktemp("config") / "quick.toml"
    path.write_text(QUICK, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory: pytest.TempPathFactory, tiny: TinyTask, quick: Path) -> tuple[Path, Manifest]:
    """An uninterrupted run of the tiny task; its folder, never to be changed, and manifest."""
    output = tmp_path_factory.mktemp("quick") / "fields"
    return output, run_task(read_dataset(tiny.description), load_config(quick), RunOptions(output))


@pytest.fixture
def edge(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Finished]]:
    """Call an entry point; what it does to logging and signals ends with the test."""
    root = logging.getLogger()
    handlers, level, at_term = root.handlers[:], root.level, signal.getsignal(signal.SIGTERM)

    def call(entry: Callable[[list[str]], int], *arguments: object) -> Finished:
        capsys.readouterr()
        root.handlers[:] = []  # the entry replaces handlers, and would close those of pytest
        try:
            code = entry([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code if isinstance(stop.code, int) else 0
        return Finished(code, *capsys.readouterr())

    yield call
    root.handlers[:] = handlers
    root.setLevel(level)
    signal.signal(signal.SIGTERM, at_term)


@pytest.fixture
def dinoreg(edge: Callable[..., Finished]) -> Callable[..., Finished]:
    """The command."""
    return lambda *arguments: edge(main, *arguments)


@pytest.fixture
def container(edge: Callable[..., Finished]) -> Callable[..., Finished]:
    """The entry of the container."""
    return lambda *arguments: edge(container_main, *arguments)
