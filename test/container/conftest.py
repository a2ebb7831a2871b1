"""Both images, built once, and runs of them that are shut in as tightly as any challenge platform does."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dinoreg.phantom import write_phantom_task
from regtask import read_dataset
from regtask.names import field_names

ROOT = Path(__file__).resolve().parents[2]
TAG, EVALUATION_TAG = "dinoreg:test", "regeval:test"
ANY_USER = "12345:12345"  # a uid that the image has never heard of
PRESET = "convexadam"
PAIRS = 2  # of the five of the phantom, for speed
BUILD_SECONDS, RUN_SECONDS = 1500, 600

# Nothing but /output and an empty /tmp can be written; no network, no capability, few threads.
RESTRICTIONS = (
    "--read-only",
    *("--tmpfs", "/tmp"),
    *("--network", "none"),
    *("--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
    *("--pids-limit", "256"),
    *("--user", ANY_USER),
)


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Task:
    """A task folder and what a run of it has to write."""

    description: Path

    @property
    def folder(self) -> Path:
        return self.description.parent

    @property
    def fields(self) -> list[str]:
        pairs = read_dataset(self.description).pairs("auto")
        return [name for pair in pairs for name in field_names(pair.fixed_id, pair.moving_id, "long")]

    def copied_to(self, folder: Path) -> "Task":
        """Copy the task, so that a test can damage it."""
        shutil.copytree(self.folder, folder)
        return Task(folder / self.description.name)


@dataclass(frozen=True)
class Run:
    """A run of the container: how it ended, and its output folder."""

    finished: Finished
    output: Path

    @property
    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.output)) for path in self.output.rglob("*") if path.is_file())

    @property
    def manifest(self) -> dict:
        return json.loads((self.output / "manifest.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class ExecJob:
    """A job of Grand Challenge, MR and CT of one patient on different grids, and how it ended."""

    fixed: str
    moving: str
    folder: Path
    output: Path
    finished: Finished

    def scan(self, role: str) -> Path:
        """The image of one input."""
        return next((self.folder / "images").glob(f"{role}-*/*.mha"))

    @property
    def field(self) -> Path:
        return self.output / "images" / "displacement-field" / "displacement-field.mha"


def execute(*command: str, seconds: float = RUN_SECONDS) -> Finished:
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", timeout=seconds, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def readable(folder: Path) -> Path:
    """Let any uid read a folder (pytest's own are closed)."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="session")
def docker() -> Callable[..., Finished]:
    """Call the Docker client; skips where there is no engine."""
    if shutil.which("docker") is None:
        pytest.skip("no docker command")
    info = execute("docker", "info", "--format", "{{.ServerVersion}}")
    if info.code != 0:
        pytest.skip(f"no Docker engine: {info.err.strip().splitlines()[-1:]}")
    return lambda *arguments, seconds=RUN_SECONDS: execute("docker", *arguments, seconds=seconds)


@pytest.fixture(scope="session")
def build(docker: Callable[..., Finished]) -> Callable[..., None]:
    """Call ./build.sh, which must succeed."""

    def call(*options: str) -> None:
        built = execute(str(ROOT / "build.sh"), *options, seconds=BUILD_SECONDS)
        assert built.code == 0, f"build.sh failed:\n{built.out[-2000:]}\n{built.err[-2000:]}"

    return call


@pytest.fixture(scope="session")
def image(build: Callable[..., None]) -> str:
    """Name of the image of this working tree; that of DINOREG_IMAGE, if set, instead of a new build."""
    if given := os.environ.get("DINOREG_IMAGE"):
        return given
    build("--tag", TAG, "--only", "registration")
    return TAG


@pytest.fixture(scope="session")
def evaluation_image(build: Callable[..., None]) -> str:
    """The same of the evaluation; REGEVAL_IMAGE."""
    if given := os.environ.get("REGEVAL_IMAGE"):
        return given
    build("--evaluation-tag", EVALUATION_TAG, "--only", "evaluation")
    return EVALUATION_TAG


@pytest.fixture(scope="session", params=["image", "evaluation_image"])
def inspected(request: pytest.FixtureRequest, docker: Callable[..., Finished]) -> dict:
    """What `docker image inspect` says of each image."""
    return json.loads(docker("image", "inspect", request.getfixturevalue(request.param)).out)[0]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The small phantom with its first pairs; shared by all tests, so never to be changed."""
    path = write_phantom_task(tmp_path_factory.mktemp("phantom") / "task", size="small")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["registration_val"] = content["registration_val"][:PAIRS]
    content["numRegistration_val"] = PAIRS
    path.write_text(json.dumps(content), encoding="utf-8")
    return Task(path)


@pytest.fixture
def one_pair(phantom: Task, tmp_path: Path) -> Task:
    """The phantom's MR-CT pair alone."""
    task = phantom.copied_to(tmp_path / "task")
    content = json.loads(task.description.read_text())
    content["registration_val"] = content["registration_val"][1:]
    task.description.write_text(json.dumps(content))
    return task


@pytest.fixture(scope="session")
def shut_in(docker: Callable[..., Finished]) -> Callable[..., Finished]:
    """Run an image with all restrictions: `mounts` is container path -> host folder."""

    def run(
        image: str, *arguments: str, mounts: dict[str, Path], entry: str = "", environment: str = ""
    ) -> Finished:
        options = []
        for path, folder in mounts.items():
            host = readable(folder) if path.endswith(":ro") else folder
            options += ["--volume", f"{host}:{path}"]
        options += ["--entrypoint", entry] if entry else []
        options += ["--env", environment] if environment else []
        return docker("run", "--rm", *RESTRICTIONS, *options, image, *arguments)

    return run


@pytest.fixture(scope="session")
def exec_job(
    phantom: Task, image: str, shut_in: Callable[..., Finished], tmp_path_factory: pytest.TempPathFactory
) -> ExecJob:
    """The phantom's second pair as Grand Challenge would give it, registered by the container."""
    fixed, moving = "0003_0001", "0003_0000"
    folder, output = tmp_path_factory.mktemp("job"), tmp_path_factory.mktemp("exec")
    output.chmod(0o777)
    scans = [
        sitk.ReadImage(phantom.folder / "imagesTr" / f"Phantom_{name}.nii.gz") for name in (fixed, moving)
    ]
    entries = []
    for slug, scan in zip(("fixed-mr", "moving-ct"), (scans[0], on_another_grid(scans[1])), strict=True):
        (folder / "images" / slug).mkdir(parents=True)
        sitk.WriteImage(scan, folder / "images" / slug / "b2d1.mha", useCompression=True)
        entries.append({"socket": {"slug": slug, "relative_path": f"images/{slug}"}, "image": {"name": "x"}})
    (folder / "inputs.json").write_text(json.dumps(entries), encoding="utf-8")
    done = shut_in(
        image,
        mounts={"/input:ro": folder, "/output": output},
        environment=f"DINOREG_ARGUMENTS=--preset {PRESET} --set preprocess.foreground=threshold",
    )
    return ExecJob(fixed, moving, folder, output, done)


def on_another_grid(scan: sitk.Image) -> sitk.Image:
    """Read a scan on a turned grid of other size and spacing, around the same centre."""
    grid = sitk.Image([60, 54, 60], sitk.sitkFloat32)
    grid.SetSpacing((6.0, 6.0, 6.5))
    c, s = np.cos(0.15), np.sin(0.15)
    grid.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    centre = scan.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in scan.GetSize()])
    there = grid.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in grid.GetSize()])
    grid.SetOrigin(np.subtract(centre, there).tolist())
    lowest = float(sitk.GetArrayViewFromImage(scan).min())
    return sitk.Resample(scan, grid, sitk.Transform(), sitk.sitkLinear, lowest)


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    """A folder that any uid may write to."""
    folder = tmp_path / "written"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="session")
def run_image(
    docker: Callable[..., Finished], image: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """Run the image on a task folder with all restrictions (or those given)."""

    def run(
        task: Path, *arguments: str, restrictions: tuple[str, ...] = ("--rm", *RESTRICTIONS), mode: str = "rw"
    ) -> Run:
        output = tmp_path_factory.mktemp("output")
        output.chmod(0o777)
        mounts = ("--volume", f"{readable(task)}:/input:ro", "--volume", f"{output}:/output:{mode}")
        return Run(docker("run", *restrictions, *mounts, image, *arguments), output)

    return run


@pytest.fixture(scope="session")
def phantom_run(phantom: Task, run_image: Callable[..., Run]) -> Run:
    """The phantom registered by the container."""
    return run_image(phantom.folder, "--preset", PRESET)
