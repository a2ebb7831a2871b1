"""The batches of a training, each a function of seed and step: a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset

from dinoreg.pretrain.anatomy.labels import LabelVolume
from dinoreg.pretrain.settings import PretrainConfig
from dinoreg.pretrain.views.pair import ViewPair, draw_pair
from dinoreg.pretrain.views.scans import Scan, draw_scan_pair


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """What views are drawn from.

    Attributes:
        torsos: oriented anatomies.
        bodies: the others.
        scans: of one's own.
    """

    torsos: Sequence[LabelVolume]
    bodies: Sequence[LabelVolume]
    scans: Sequence[Scan]


class Batches(Dataset[list[ViewPair]]):
    """Batch n is that of step n."""

    def __init__(self, sources: Sources, config: PretrainConfig) -> None:
        """Take over where the views come from."""
        self._sources, self._config = sources, config

    def __len__(self) -> int:
        """Number of steps."""
        return self._config.training.steps

    def __getitem__(self, step: int) -> list[ViewPair]:
        """Draw the batch of a step."""
        training = self._config.training
        late = step >= self._config.views.other_patient_from * training.steps
        return [
            self._draw(np.random.default_rng((training.seed, 7, step, number)), across=late)
            for number in range(training.batch)
        ]

    def _draw(self, rng: np.random.Generator, *, across: bool) -> ViewPair:
        sources, settings = self._sources, self._config.anatomy
        synthetic = bool(sources.torsos or sources.bodies)
        if sources.scans and (not synthetic or rng.random() < settings.scan_share):
            return draw_scan_pair(
                sources.scans[int(rng.integers(len(sources.scans)))], self._config.views, rng
            )
        oriented = bool(sources.torsos) and (not sources.bodies or rng.random() < settings.torso_share)
        family = sources.torsos if oriented else sources.bodies
        volume = family[int(rng.integers(len(family)))]
        other = None
        if across and volume.frame is not None and rng.random() < self._config.views.other_patient:
            other = family[int(rng.integers(len(family)))]
        return draw_pair(volume, self._config.views, rng, other=other)


def batches_from(
    step: int, batches: Batches, *, workers: int, stop: int | None = None
) -> Iterator[list[ViewPair]]:
    """Yield the batches of the steps from `step` up to, not including, `stop`; by default to the last one.

    They are drawn by other processes where `workers` says so.
    """
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(step, len(batches) if stop is None else stop),
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    yield from loader
