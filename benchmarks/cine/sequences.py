"""Sequences of a cine data set by patient, and with other frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dinoreg.motion.cines.sequences import LabelledCine


def patient_of(sequence: LabelledCine) -> str:
    """Return the patient: the name without the letter of the slice."""
    return sequence.id[:-1]


def labelled_only(sequence: LabelledCine) -> LabelledCine:
    """Return a sequence of its labelled frames alone; frames are tracked one by one, so nothing changes."""
    numbers = sorted({sequence.template, *sequence.labels})
    return replace(
        sequence,
        cine=replace(sequence.cine, frames=sequence.cine.frames[numbers]),
        template=numbers.index(sequence.template),
        labels={numbers.index(number): labels for number, labels in sequence.labels.items()},
    )


def with_frames(sequence: LabelledCine, frames: NDArray[np.float32]) -> LabelledCine:
    """Return a sequence with other images in the same places."""
    return replace(sequence, cine=replace(sequence.cine, frames=frames))
