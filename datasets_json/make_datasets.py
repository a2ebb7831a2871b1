"""Write the dataset descriptions of the public Learn2Reg tasks: `python make_datasets.py`.

The files hold facts only: which images form pairs, on what grid, with what beside them. Facts are from the
tasks' evaluation configurations (MDL-UzL/L2R 8847509, the published ThoraxCBCT description and the public
OncoReg example); texts are ours. Lists that no public source states are left empty.
"""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

Image = tuple[int, int]
ImagePair = tuple[Image, Image]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task; images are (subject, modality), pairs are (fixed, moving)."""

    name: str
    description: str
    licence: str
    pairings: str
    modality: tuple[str, ...]
    shape: tuple[int, int, int]
    provided: tuple[str, ...]
    direction: tuple[int, int]
    shift: tuple[str, str]
    labels: tuple[str, ...] = ()
    training: tuple[Image, ...] = ()
    train_pairs: tuple[ImagePair, ...] = ()
    val_pairs: tuple[ImagePair, ...] = ()
    test_pairs: tuple[ImagePair, ...] = ()
    release: str = "1.0"
    reference: str = "https://learn2reg.grand-challenge.org"

    def as_json(self) -> str:
        """Return the description in the key order of the published files."""
        indices = [str(index) for index in range(len(self.modality))]
        names = {str(value): name for value, name in enumerate(("background", *self.labels))}
        folders = {kind: f"./{kind if kind.startswith('key') else kind + 's'}Tr" for kind in self.provided}
        training = [
            {kind: f"{folder}/{self._file(image, kind)}" for kind, folder in folders.items()}
            for image in self.training
        ]
        content = {
            "name": self.name,
            "release": self.release,
            "description": self.description,
            "licence": self.licence,
            "reference": self.reference,
            "pairings": self.pairings,
            "provided_data": {index: list(self.provided) for index in indices},
            "registration_direction": dict(zip(("fixed", "moving"), self.direction, strict=True)),
            "modality": dict(zip(indices, self.modality, strict=True)),
            "img_shift": dict(zip(("fixed", "moving"), self.shift, strict=True)),
            "labels": {index: names for index in indices} if self.labels else {},
            "tensorImageSize": {"0": "3D"},
            "tensorImageShape": {"0": list(self.shape)},
            "numTraining": len(training),
            "numTest": 0,
            "training": training,
            "test": [],
            "numPairedTraining": len(self.train_pairs),
            "training_paired_images": self._listed(self.train_pairs, "imagesTr"),
            "numPairedTest": 0,
            "test_paired_images": [],
            "numRegistration_val": len(self.val_pairs),
            "registration_val": self._listed(self.val_pairs, "imagesTr"),
            "numRegistration_test": len(self.test_pairs),
            "registration_test": self._listed(self.test_pairs, "imagesTs"),
        }
        return json.dumps(content, indent=1) + "\n"

    def _listed(self, pairs: Iterable[ImagePair], folder: str) -> list[dict[str, str]]:
        return [
            {
                "fixed": f"./{folder}/{self._file(fixed, 'image')}",
                "moving": f"./{folder}/{self._file(moving, 'image')}",
            }
            for fixed, moving in pairs
        ]

    def _file(self, image: Image, kind: str) -> str:
        suffix = "csv" if kind.startswith(("key", "landmark")) else "nii.gz"
        return f"{self.name}_{image[0]:04d}_{image[1]:04d}.{suffix}"


def same_subject(subjects: Iterable[int], *fixed_modalities: int, moving: int) -> tuple[ImagePair, ...]:
    """Pair the modalities of each subject, all subjects of one fixed modality first."""
    return tuple(((s, modality), (s, moving)) for modality in fixed_modalities for s in subjects)


def neighbours(first: int, last: int) -> tuple[ImagePair, ...]:
    """Pair each subject, fixed, with the following one."""
    return tuple(((subject, 0), (subject + 1, 0)) for subject in range(first, last))


def unnamed(count: int) -> tuple[str, ...]:
    """Name labels whose order no source of ours states."""
    return tuple(f"structure {value}" for value in range(1, count + 1))


def combinations(fixed: Iterable[int], moving: Iterable[int]) -> tuple[ImagePair, ...]:
    """Pair each fixed subject with all moving subjects of higher number."""
    return tuple(((f, 0), (m, 0)) for f, m in itertools.product(fixed, moving) if f < m)


TASKS = (
    Task(
        name="AbdomenMRCT",
        description="MR and CT of the abdomen of one person each; fixed MR, moving CT.",
        licence="terms of the Learn2Reg challenge",
        pairings="hybrid",
        modality=("MR", "CT"),
        shape=(192, 160, 192),
        provided=("image", "label", "mask"),
        direction=(0, 1),
        shift=("MR", "CT"),
        labels=("liver", "spleen", "right kidney", "left kidney"),
        training=tuple(itertools.product(range(1, 9), (0, 1))),
        val_pairs=same_subject(range(6, 9), 0, moving=1),
        test_pairs=same_subject(range(9, 17), 0, moving=1),
    ),
    Task(
        name="AbdomenCTCT",
        description="Abdominal CT of different patients; 13 organs, a 14th is evaluated in the test cases.",
        licence="terms of the Learn2Reg challenge",
        pairings="unpaired",
        modality=("CT",),
        shape=(192, 160, 256),
        provided=("image", "label"),
        direction=(0, 0),
        shift=("one patient", "another patient"),
        labels=unnamed(13),
        val_pairs=combinations(range(1, 29, 3), range(1, 29, 3)),
        test_pairs=combinations((31, 33, 35, 37, 39, 45, 47, 49), (32, 36, 38, 40, 44, 46, 48, 50)),
    ),
    Task(
        name="ThoraxCBCT",
        release="2",
        description="Planning CT in inspiration (0000), cone-beam CT at the beginning (0001) and the end "
        "(0002) of radiotherapy; fixed CBCT, moving CT; the revised release of 256 x 192 x 192 voxels.",
        licence="terms of the Learn2Reg challenge",
        pairings="paired",
        modality=("CT", "CBCT", "CBCT"),
        shape=(256, 192, 192),
        provided=("image",),
        direction=(1, 0),
        shift=("follow-up", "baseline"),
        training=tuple(itertools.product(range(14), range(3))),
        train_pairs=same_subject(range(11), 1, 2, moving=0),
        val_pairs=same_subject(range(11, 14), 1, 2, moving=0),
    ),
    Task(
        name="OncoReg",
        description="Layout of the hidden OncoReg test data, inferred from the organisers' public example, "
        "never confirmed; the two patients listed are placeholders.",
        licence="hidden data",
        pairings="paired",
        modality=("CT", "CBCT", "CBCT"),
        shape=(256, 192, 192),
        provided=("image", "keypoints01", "keypoints02", "mask"),
        direction=(1, 0),
        shift=("follow-up", "baseline"),
        test_pairs=same_subject((0, 1), 1, 2, moving=0),
    ),
    Task(
        name="LungCT",
        description="CT of the lungs of one patient each in expiration (0000) and inspiration (0001).",
        licence="terms of the Learn2Reg challenge; zenodo.org/records/3835682",
        pairings="paired",
        modality=("CT", "CT"),
        shape=(192, 192, 208),
        provided=("image", "mask", "keypoints"),
        direction=(0, 1),
        shift=("expiration", "inspiration"),
        val_pairs=same_subject(range(1, 4), 0, moving=1),
        test_pairs=same_subject(range(21, 31), 0, moving=1),
    ),
    Task(
        name="NLST",
        description="Baseline and follow-up low-dose CT of the lungs of one person each.",
        licence="terms of the Learn2Reg challenge",
        pairings="paired",
        modality=("CT", "CT"),
        shape=(224, 192, 224),
        provided=("image", "mask", "keypoints"),
        direction=(0, 1),
        shift=("one time point", "another time point"),
        val_pairs=same_subject(range(101, 111), 0, moving=1),
    ),
    Task(
        name="OASIS",
        description="T1-weighted brain MR of different people, skull-stripped, 35 structures.",
        licence="terms of OASIS",
        pairings="unpaired",
        modality=("MR T1",),
        shape=(160, 224, 192),
        provided=("image", "label"),
        direction=(0, 0),
        shift=("one person", "another person"),
        labels=unnamed(35),
        val_pairs=neighbours(395, 414),
        test_pairs=neighbours(415, 453),
    ),
)


def main(folder: Path) -> None:
    """Write all descriptions into a folder."""
    for task in TASKS:
        (folder / f"{task.name}_dataset.json").write_text(task.as_json(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).parent)
