"""Two tiny synthetic tasks and eight made-up teams, from a folder of archives to a site."""

import contextlib
import io
import json
import os
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from regeval.cli import main
from regtask import Grid, write_field, write_landmarks, write_volume

SHAPE = (30, 26, 22)
SPACING_MM = (2.0, 1.5, 2.5)
TASKS = ("Knee", "Wrist")
EVIL = "<script>"


@dataclass(frozen=True)
class Made:
    """A task with known fields, and a folder of submissions."""

    description: Path
    fields: Mapping[str, np.ndarray]
    grid: Grid


@dataclass(frozen=True)
class Site:
    """A finished site, and how to make it again."""

    datasets: tuple[Path, ...]
    submissions: Path
    output: Path
    code: int
    out: str
    err: str

    def again(self, *more: str) -> "Site":
        return build(self.datasets, self.submissions, self.output, *more)

    def page(self, task: str, team: str) -> str:
        (path,) = (self.output / task / "teams").glob(f"{team}-*.html")
        return path.read_text(encoding="utf-8")


def smooth(rng: np.random.Generator, width: float) -> np.ndarray:
    noise = gaussian_filter(rng.normal(size=SHAPE), width, mode="wrap")
    return noise / noise.std()


def make_task(root: Path, name: str, seed: int) -> Made:
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
    for kind in ("images", "labels", "landmarks"):
        (root / f"{kind}Tr").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    at = np.indices(SHAPE, dtype=float)
    fields, pairs = {}, []
    for number in range(4):
        moving = smooth(rng, 2.0)
        field = np.stack(
            [a * (0.9 + 0.25 * smooth(rng, 6)) for a in rng.permutation((1.6, -2.6, 2.1))], axis=-1
        )
        fixed = map_coordinates(moving, at + np.moveaxis(field, -1, 0), order=1, mode="nearest")
        names = [f"{name}_{2 * number + one:04d}_0000" for one in (1, 2)]
        points = rng.integers(6, np.array(SHAPE) - 6, (12, 3))
        for case, image, where in zip(
            names, (fixed, moving), (points, points + field[tuple(points.T)]), strict=True
        ):
            write_volume(root / f"imagesTr/{case}.nii.gz", image, grid)
            write_volume(root / f"labelsTr/{case}.nii.gz", np.digitize(image, (0.5, 1.3)), grid, np.uint8)
            write_landmarks(root / f"landmarksTr/{case}.csv", where)
        pairs.append(
            {role: f"./imagesTr/{case}.nii.gz" for role, case in zip(("fixed", "moving"), names, strict=True)}
        )
        fields["disp_" + "_".join(case.removeprefix(f"{name}_") for case in names)] = field
    path = root / f"{name}_dataset.json"
    path.write_text(json.dumps({"name": name, "registration_val": pairs}), encoding="utf-8")
    return Made(path, fields, grid)


def write(made: Made, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for stem, field in made.fields.items():
        write_field(folder / f"{stem}.nii.gz", change(field).astype(np.float32), made.grid)
    return folder


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder.with_name(folder.name + ".zip"), "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    shutil.rmtree(folder)


def tarred(folder: Path) -> None:
    with tarfile.open(folder.with_name(folder.name + ".tar.gz"), "w:gz") as archive:
        archive.add(folder, "my fields")
    shutil.rmtree(folder)


def hand_in(made: Made, folder: Path) -> None:
    """Eight teams and an affine: a shift, as the organisers would hand it in."""
    zipped(write(made, folder / "good", lambda field: field))
    tarred(write(made, folder / "fair", lambda field: 0.7 * field))
    write(made, folder / "modest", lambda field: 0.4 * field)
    zipped(write(made, folder / EVIL, lambda field: field + 0.4))
    zipped(write(made, folder / "swapped", lambda field: field[..., ::-1]))
    zipped(write(made, folder / "still", np.zeros_like))
    forgetful = write(made, folder / "forgetful", lambda field: field)
    min(forgetful.iterdir()).unlink()
    zipped(forgetful)
    pickled = folder / "pickled"
    pickled.mkdir()
    for stem, field in made.fields.items():
        np.savez(pickled / f"{stem}.npz", np.array([field, "surprise"], dtype=object))
    zipped(pickled)
    zipped(write(made, folder / "affine", lambda field: np.broadcast_to(field.mean((0, 1, 2)), field.shape)))


def build(datasets, submissions: Path, output: Path, *more: str) -> Site:
    words = [word for path in datasets for word in ("--dataset", str(path))]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(
            [
                *("leaderboard", *words, "--submissions", str(submissions), "--output", str(output)),
                *("--bootstrap", "20", *more),
            ]
        )
    return Site(tuple(datasets), submissions, output, code, out.getvalue(), err.getvalue())


def kill_or_touch(path: Path) -> None:
    """Work for a process of its own, which has to find this function."""
    if path.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    path.touch()
