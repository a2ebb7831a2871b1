"""Register every pair of a dataset JSON: verify, loop, write, and survive a bad pair."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg import runtime
from dinoreg.encoders.pca import write_basis
from dinoreg.encoders.registry import Load, load_encoder
from dinoreg.errors import PairsFailedError
from dinoreg.pipeline.advice import intensities_across_modalities
from dinoreg.pipeline.config import Config
from dinoreg.pipeline.encode import PairEncoder
from dinoreg.pipeline.manifest import MANIFEST_NAME, Manifest, Status, read_pairs
from dinoreg.pipeline.prepare import PreparedImage, prepare_image
from dinoreg.pipeline.presets import config_hash
from dinoreg.pipeline.progress import RunProgress
from dinoreg.pipeline.register import MakeField, Registration, register_pair
from regtask.atomic import remove_leftovers
from regtask.dataset import Dataset, Split
from regtask.errors import DataError, Fault, OutputError, SpaceError
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.images import Volume, read_header, read_mask, read_volume
from regtask.names import field_names
from regtask.pair import Pair
from regtask.verify import verify_pairs

log = logging.getLogger(__name__)

OnFailure = Literal["raise", "fallback"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a task is run.

    Attributes:
        output: folder for the fields and the manifest; made if absent.
        split: which pairs.
        device: where to compute.
        on_failure: "raise" stops at the first fault; "fallback" writes a safe field and goes on.
        resume: skip the pairs that are complete for the same configuration.
        pictures: also write one picture per pair to `output/pictures`.
    """

    output: Path
    split: Split = "auto"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    on_failure: OnFailure = "raise"
    resume: bool = False
    pictures: bool = False


def run_task(dataset: Dataset, config: Config, options: RunOptions, *, load: Load = load_encoder) -> Manifest:
    """Register all pairs of a split and write one displacement field per pair, with a manifest.

    Args:
        dataset: the task.
        config: all settings.
        options: how it is run.
        load: makes the encoders that the settings name.

    Returns:
        The manifest, as written.

    Raises:
        WeightsError: the weights of an encoder are absent or not the right ones.
        DataError: the data is at fault (with "raise": anything found before the first pair runs).
        OutputError: the output exists already, or cannot be written.
        PairsFailedError: with "fallback", when for some pair not even a safe field could be written.
    """
    pairs = dataset.pairs(options.split)
    encoder = PairEncoder(config, options.device, load=load)
    manifest = _open_output(dataset, pairs, config, options, encoder)
    faults = verify_pairs(pairs, require_masks=config.preprocess.foreground == "task")
    if faults and options.on_failure == "raise":
        raise DataError(*faults)
    for fault in faults:
        log.error("%s", fault)
    if warning := intensities_across_modalities(dataset, pairs, config):
        log.warning("%s", warning)
    manifest.write(options.output)

    run = _Run(dataset, config, options, encoder)
    with RunProgress(len(pairs)) as progress:
        for pair in pairs:
            if options.resume and manifest.is_complete(pair.case_key, run.digest, options.output):
                progress.pair_done(pair.case_key, "complete already")
                continue
            manifest.pairs[pair.case_key] = entry = run.one_pair(pair, progress)
            manifest.write(options.output)
            progress.pair_done(pair.case_key, f"{entry['status']}, {entry['seconds']:.1f} s")

    lost = [pair.case_key for pair in pairs if manifest.pairs[pair.case_key]["status"] == "failed"]
    if lost:
        raise PairsFailedError(
            *(Fault("no field could be written", case, remedy=f"see {MANIFEST_NAME}") for case in lost)
        )
    return manifest


def _open_output(
    dataset: Dataset, pairs: tuple[Pair, ...], config: Config, options: RunOptions, encoder: PairEncoder
) -> Manifest:
    output = options.output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(output), got=str(error))) from error
    if options.resume:
        remove_leftovers(output)
    else:
        wanted = [n for p in pairs for n in field_names(p.fixed_id, p.moving_id, config.output.naming)]
        present = [name for name in (MANIFEST_NAME, *wanted) if (output / name).exists()]
        if present:
            raise OutputError(
                Fault(
                    "output exists already",
                    str(output),
                    got=", ".join(present[:3])
                    + (f" and {len(present) - 3} more" if len(present) > 3 else ""),
                    remedy="choose another folder, or --resume to keep what is complete",
                )
            )
    return Manifest(
        {
            "task": dataset.name,
            "split": options.split,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config.model_dump(mode="json"),
            "config_hash": config_hash(config, encoder.digests),
            "weights": encoder.weights,
            "machine": runtime.describe_machine(options.device),
        },
        read_pairs(output) if options.resume else {},
    )


class _Run:
    """One configuration over the pairs of one task."""

    def __init__(self, dataset: Dataset, config: Config, options: RunOptions, encoder: PairEncoder) -> None:
        self._dataset, self._config, self._options = dataset, config, options
        self._encoder = encoder
        self._uses = Counter(
            path for pair in dataset.pairs(options.split) for path in (pair.fixed, pair.moving)
        )
        self.digest = config_hash(config, encoder.digests)

    def one_pair(self, pair: Pair, progress: RunProgress) -> dict[str, Any]:
        """Register and write one pair; the manifest entry says how it ended."""
        begin = time.perf_counter()
        runtime.reset_peak_memory(self._options.device)
        starts: list[MakeField] = []
        entry: dict[str, Any] = {"config_hash": self.digest}
        status: Status = "ok"
        try:
            fixed, moving = _read(pair.fixed), _read(pair.moving)
            if fixed.grid.shape != moving.grid.shape:
                raise SpaceError(
                    Fault(
                        "fixed and moving differ in shape",
                        pair.case_key,
                        expected=str(fixed.grid.shape),
                        got=str(moving.grid.shape),
                        remedy="resample one to the grid of the other",
                    )
                )
            masks = pair.masks()
            result = register_pair(
                self._prepare(pair.fixed, fixed, masks.fixed),
                self._prepare(pair.moving, moving, masks.moving),
                fixed.grid.spacing_mm,
                self._config,
                device=self._options.device,
                affine=fixed.grid.affine,
                encoder=self._encoder,
                progress=lambda stage: progress.stage(pair.case_key, stage),
                keep_start=starts.append,
            )
            progress.stage(pair.case_key, "write")
            entry["files"] = self._write(pair, result.displacement, fixed.grid)
            entry |= _report(result)
            _say_verdict(pair, result)
            self._write_bases(pair, result)
        except OutputError:
            raise
        except Exception as error:
            if self._options.on_failure == "raise":
                raise
            log.error("%s failed: %s", pair.case_key, error, exc_info=not isinstance(error, DataError))
            entry["error"] = f"{type(error).__name__}: {error}"
            entry["files"], entry["fallback"] = self._write_safe(pair, starts)
            status = "fallback" if entry["files"] else "failed"
        else:
            if self._options.pictures:
                self._draw(pair, fixed, moving, result)
        return {
            "status": status,
            "seconds": round(time.perf_counter() - begin, 3),
            "peak_memory_mib": round(runtime.peak_memory_mib(self._options.device), 1),
            **entry,
        }

    def _prepare(self, path: Path, volume: Volume, mask: Path | None) -> PreparedImage:
        return prepare_image(
            volume.data,
            self._config.preprocess,
            modality=self._dataset.modality_of(path),
            mask=read_mask(mask) if mask is not None else None,
            name=str(path) if self._uses[path] > 1 else "",  # only what comes again is worth remembering
            invalid=volume.invalid,
        )

    def _write(self, pair: Pair, displacement: NDArray[np.float32], grid: Grid) -> dict[str, int]:
        files = {}
        for name in field_names(pair.fixed_id, pair.moving_id, self._config.output.naming):
            path = self._options.output / name
            write_field(path, displacement, grid)
            files[name] = path.stat().st_size
        return files

    def _write_bases(self, pair: Pair, result: Registration) -> None:
        """Write the PCA basis of each encoder that has one, where that is wanted."""
        if not self._config.output.basis:
            return
        folder = self._options.output / "basis"
        folder.mkdir(exist_ok=True)
        for n, seen in enumerate(result.evidence):
            write_basis(folder / f"{pair.fixed_id}_{pair.moving_id}_{n}.safetensors", seen.basis)

    def _write_safe(self, pair: Pair, starts: list[MakeField]) -> tuple[dict[str, int], str]:
        """Write the start if the pair came that far, else the identity; nothing where no grid is known."""
        for path in (pair.fixed, pair.moving):
            try:
                grid = read_header(path).grid
            except DataError:
                continue
            start = starts[-1]() if starts else None
            if start is not None and start.shape[:3] == grid.shape and bool(np.isfinite(start).all()):
                return self._write(pair, start, grid), "start"
            return self._write(pair, np.zeros((*grid.shape, 3), np.float32), grid), "identity"
        return {}, "none"

    def _draw(self, pair: Pair, fixed: Volume, moving: Volume, result: Registration) -> None:
        """Draw the pictures of a pair; one that fails costs a log line, not the pair."""
        try:
            from dinoreg.report.run import draw_pictures  # matplotlib only where it is wanted

            draw_pictures(self._options.output / "pictures", pair, fixed, moving, result)
        except Exception:
            log.exception("%s: no picture", pair.case_key)


def _read(path: Path) -> Volume:
    volume = read_volume(path)
    if float(volume.data.min()) == float(volume.data.max()):
        raise DataError(Fault("constant image", str(path), expected="more than one intensity"))
    return volume


def _say_verdict(pair: Pair, result: Registration) -> None:
    verdict = result.verdict
    if verdict is not None and verdict.grade != "good":
        log.warning("%s: %s: %s", pair.case_key, verdict.grade, "; ".join(verdict.reasons))


def _report(result: Registration) -> dict[str, Any]:
    """The parts of a result that belong into the manifest, as plain JSON values."""
    guard = result.stages[-1].details
    report = {
        "folding_percent": guard["folding_percent"],
        "stages": [dataclasses.asdict(stage) for stage in result.stages],
        "plan": result.plan.as_dict(),
    }
    if result.verdict is not None:
        report |= result.verdict.as_dict()
    plain: dict[str, Any] = json.loads(json.dumps(report))
    return plain
