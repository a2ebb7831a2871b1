"""The anatomies of a training: drawn once from the seed, kept as files, read back by a resumed run."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
import torch

from dinoreg.errors import ConfigError
from dinoreg.pretrain.anatomy.labels import LabelVolume, Shape3
from dinoreg.pretrain.anatomy.random_body import random_body
from dinoreg.pretrain.anatomy.torso import torso
from dinoreg.pretrain.settings import AnatomySettings
from regtask.atomic import atomic_path
from regtask.errors import Fault

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Order:
    """One volume to draw and where to keep it."""

    path: Path
    family: str
    number: int
    seed: int
    settings: AnatomySettings


def anatomy_bank(folder: Path, settings: AnatomySettings, seed: int) -> list[LabelVolume]:
    """Return the torsos and random bodies of a training, drawing those that are not in the folder yet.

    Args:
        folder: kept here, one `.npz` each.
        settings: how many, how fine.
        seed: volume n of a family depends on seed, family and n alone.

    Raises:
        ConfigError: a file in the folder is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    orders = [
        _Order(folder / f"{family}-{number:04d}.npz", family, number, seed, settings)
        for family, count in (("torso", settings.torsos), ("random", settings.random_bodies))
        for number in range(count)
    ]
    missing = [order for order in orders if not order.path.is_file()]
    if missing:
        log.info("drawing %d anatomies", len(missing))
        # Not forked: torch's threads do not survive it.
        workers = min(len(missing), _usable_cores())
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(_draw, missing, chunksize=1))
    return [read_anatomy(order.path) for order in orders]


def draw_anatomy(family: str, number: int, seed: int, settings: AnatomySettings) -> LabelVolume:
    """Draw one anatomy of a family, "torso" or "random"."""
    rng = np.random.default_rng((seed, {"torso": 0, "random": 1}[family], number))
    if family == "torso":
        return torso(settings.torso_spacing_mm, rng)
    shape: Shape3 = (settings.random_size,) * 3
    return random_body(shape, rng)


def read_anatomy(path: Path) -> LabelVolume:
    """Read a kept anatomy.

    Raises:
        ConfigError: damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return LabelVolume(
                file["ids"],
                file["kinds"],
                float(file["spacing_mm"]),
                oriented=bool(file["oriented"]),
                frame=file.get("frame"),
            )
    except (OSError, EOFError, ValueError, TypeError, KeyError, BadZipFile, ZlibError) as error:
        raise ConfigError(
            Fault(
                "anatomy not readable", str(path), got=str(error)[:200], remedy="delete it; it is drawn again"
            )
        ) from error


def _usable_cores() -> int:
    """Return the number of cores that this process may use, which on a shared machine are not all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def _draw(order: _Order) -> None:
    torch.set_num_threads(1)
    volume = draw_anatomy(order.family, order.number, order.seed, order.settings)
    arrays: dict[str, Any] = {
        "ids": volume.ids,
        "kinds": volume.kinds,
        "spacing_mm": volume.spacing_mm,
        "oriented": volume.oriented,
    }
    if volume.frame is not None:
        arrays["frame"] = volume.frame
    with atomic_path(order.path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
