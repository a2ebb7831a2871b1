"""Right fields of a small made-up task and of real ones, and every way to spoil them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from regeval.cli import main
from regtask import Grid, write_field, write_landmarks, write_volume

SHAPE = (44, 40, 36)
SPACING_MM = (2.0, 1.5, 2.5)


@dataclass(frozen=True)
class MadeTask:
    """A task whose fields are known: content of fixed voxel x lies at x + field in the moving image."""

    description: Path
    grid: Grid
    fields: Mapping[str, np.ndarray]  # long stem -> (I, J, K, 3)

    def write(self, folder: Path, spoil: Callable[[np.ndarray], np.ndarray] = lambda field: field) -> Path:
        """Write a submission, each field spoiled."""
        folder.mkdir()
        for stem, field in self.fields.items():
            write_field(folder / f"{stem}.nii.gz", spoil(field), self.grid)
        return folder


def smooth(rng: np.random.Generator, width: float) -> np.ndarray:
    noise = gaussian_filter(rng.normal(size=SHAPE), width, mode="wrap")
    return noise / noise.std()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeTask:
    """Three pairs within one modality, with images, labels and landmarks; never to be changed."""
    root = tmp_path_factory.mktemp("made")
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
    for kind in ("images", "labels", "landmarks"):
        (root / f"{kind}Tr").mkdir()
    rng = np.random.default_rng(4)
    at = np.indices(SHAPE, dtype=float)
    fields, pairs = {}, []
    for number in range(3):
        moving = smooth(rng, 2.5)
        amplitudes = rng.permutation((2.5, -4.0, 3.0))
        field = np.stack([a * (0.8 + 0.4 * smooth(rng, 8)) for a in amplitudes], axis=-1)
        fixed = map_coordinates(moving, at + np.moveaxis(field, -1, 0), order=1, mode="nearest")
        names = [f"Made_{2 * number + one:04d}_0000" for one in (1, 2)]
        for name, image in zip(names, (fixed, moving), strict=True):
            write_volume(root / f"imagesTr/{name}.nii.gz", image, grid)
            labels = np.digitize(image, (0.6, 1.4))
            write_volume(root / f"labelsTr/{name}.nii.gz", labels, grid, np.uint8)
        points = rng.integers(6, np.array(SHAPE) - 6, (12, 3))
        write_landmarks(root / f"landmarksTr/{names[0]}.csv", points)
        write_landmarks(root / f"landmarksTr/{names[1]}.csv", points + field[tuple(points.T)])
        pairs.append(
            {role: f"./imagesTr/{name}.nii.gz" for role, name in zip(("fixed", "moving"), names, strict=True)}
        )
        fields["disp_" + "_".join(name.removeprefix("Made_") for name in names)] = field.astype(np.float32)
    path = root / "Made_dataset.json"
    path.write_text(json.dumps({"name": "Made", "registration_val": pairs}), encoding="utf-8")
    return MadeTask(path, grid, MappingProxyType(fields))


@pytest.fixture
def check(capsys) -> Callable[..., tuple[int, str]]:
    """Run the verb; returns exit status and all output."""

    def call(predictions: Path, dataset: Path, *arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        words = ["check", "--predictions", predictions, "--dataset", dataset, *arguments]
        code = main([str(word) for word in words])
        return code, "".join(capsys.readouterr())

    return call
