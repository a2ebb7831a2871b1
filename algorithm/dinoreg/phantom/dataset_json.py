"""The dataset JSON of the phantom task, in Learn2Reg's layout."""

from collections.abc import Sequence

from dinoreg.phantom.body.tissues import ORGAN_NAMES
from dinoreg.phantom.imaging.render import MODALITIES, Modality
from dinoreg.phantom.lattice import Shape3
from dinoreg.phantom.pairs import PairPlan

TASK_NAME = "Phantom"


def image_name(subject: int, modality: Modality) -> str:
    """Return the file name without ending: task, four-digit subject, four-digit modality."""
    return f"{TASK_NAME}_{subject:04d}_{MODALITIES.index(modality):04d}"


def _image_path(image: tuple[int, Modality]) -> str:
    return f"./imagesTr/{image_name(*image)}.nii.gz"


def _entry(image: tuple[int, Modality], *, landmarks: bool) -> dict[str, str]:
    path = _image_path(image)
    entry = {
        "image": path,
        "label": path.replace("images", "labels"),
        "mask": path.replace("images", "masks"),
    }
    if landmarks:
        entry["landmarks"] = path.replace("images", "landmarks").replace(".nii.gz", ".csv")
    return entry


def dataset_json(pairs: Sequence[PairPlan], shape: Shape3) -> dict[str, object]:
    """Return the content of `Phantom_dataset.json`.

    Args:
        pairs: all pairs of the task, each image in one pair only.
        shape: (I, J, K) of every image.
    """
    indices = [str(index) for index in range(len(MODALITIES))]
    images = [(image, pair.same_patient) for pair in pairs for image in (pair.fixed, pair.moving)]
    training = [_entry(image, landmarks=exact) for image, exact in sorted(images)]
    validation = [{"fixed": _image_path(pair.fixed), "moving": _image_path(pair.moving)} for pair in pairs]
    return {
        "name": TASK_NAME,
        "release": "1.0",
        "description": "Synthetic torso with an exactly known deformation; no patient data",
        "licence": "CC0 1.0",
        "reference": "dinoreg.phantom",
        "pairings": "hybrid",
        "provided_data": {index: ["image", "label", "mask", "landmarks"] for index in indices},
        "modality": dict(zip(indices, MODALITIES, strict=True)),
        "img_shift": {"fixed": "deformed", "moving": "reference"},
        "labels": {index: {str(k): name for k, name in ORGAN_NAMES.items()} for index in indices},
        "tensorImageSize": {index: "3D" for index in indices},
        "tensorImageShape": {index: list(shape) for index in indices},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
        "numPairedTraining": 0,
        "training_paired_images": [],
        "numPairedTest": 0,
        "test_paired_images": [],
        "numRegistration_val": len(validation),
        "registration_val": validation,
        "numRegistration_test": 0,
        "registration_test": [],
    }
