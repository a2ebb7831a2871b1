"""Case identifiers from file names, and the names that evaluators expect of displacement fields."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from regtask.errors import DataError, Fault

FieldNaming = Literal["long", "2024", "both"]

_IMAGE_NAME = re.compile(r"(?P<task>.+)_(?P<subject>[0-9]{4})_(?P<modality>[0-9]{4})\.nii(\.gz)?")


@dataclass(frozen=True, slots=True, order=True)
class CaseId:
    """Which image of a task: four digits of the subject, four of the modality or time point."""

    subject: str
    modality: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read the identifier from an image's file name, `{Task}_{CCCC}_{MMMM}.nii.gz`.

        Raises:
            DataError: the name has another form.
        """
        match = _IMAGE_NAME.fullmatch(path.name)
        if match is None:
            raise DataError(
                Fault(
                    "file name without case and modality",
                    str(path),
                    "{Task}_{CCCC}_{MMMM}.nii.gz, such as Liver_0007_0001.nii.gz",
                    path.name,
                    "rename the file: four digits for the subject, four for the modality or time point",
                )
            )
        return cls(match["subject"], match["modality"])

    def __str__(self) -> str:
        return f"{self.subject}_{self.modality}"


def case_key(fixed: CaseId, moving: CaseId) -> str:
    """Return the name of a pair in metrics files, such as `0001_0000<--0001_0001`."""
    return f"{fixed}<--{moving}"


def field_name_long(fixed: CaseId, moving: CaseId) -> str:
    """Return the field's file name with modalities, such as `disp_0011_0001_0011_0000.nii.gz`."""
    return f"disp_{fixed}_{moving}.nii.gz"


def field_name_short(fixed: CaseId, moving: CaseId) -> str:
    """Return the field's file name without modalities, such as `disp_0001_0004.nii.gz`."""
    return f"disp_{fixed.subject}_{moving.subject}.nii.gz"


def field_names(fixed: CaseId, moving: CaseId, naming: FieldNaming) -> tuple[str, ...]:
    """Return the file names under which the field of a pair has to be found.

    Args:
        fixed: the fixed image.
        moving: the moving image.
        naming: "long", accepted by the Learn2Reg evaluator from February 2025 on; "2024", what the evaluator
            of August 2024 (28985b7) demands: short within one modality and for (0000, 0001), else long;
            "both" for an evaluator of unknown age.

    Returns:
        One or two different names, the long one first.

    Raises:
        ValueError: unknown naming.
    """
    long = field_name_long(fixed, moving)
    modalities = (fixed.modality, moving.modality)
    within_one = fixed.modality == moving.modality
    name_2024 = field_name_short(fixed, moving) if within_one or modalities == ("0000", "0001") else long
    match naming:
        case "long":
            return (long,)
        case "2024":
            return (name_2024,)
        case "both":
            return tuple(dict.fromkeys((long, name_2024)))
    raise ValueError(f"naming: expected 'long', '2024' or 'both', got {naming!r}")
