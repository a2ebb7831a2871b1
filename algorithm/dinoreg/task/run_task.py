"""Register every pair of a dataset JSON: verify, loop, write, and survive a bad pair."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dinoreg import runtime
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.registry import Load, load_encoder
from dinoreg.errors import PairsFailedError, VerdictError
from dinoreg.preprocess.pair import ImagePair
from dinoreg.settings.config import Config
from dinoreg.settings.load import config_hash
from dinoreg.task.advice import intensities_across_modalities
from dinoreg.task.entry import OnFailure, attempt, say_verdicts
from dinoreg.task.inputs import InputDigests, changes
from dinoreg.task.manifest import MANIFEST_NAME, Manifest, Status, read_pairs, run_header
from dinoreg.task.output import TaskOutput
from dinoreg.task.progress import RunProgress
from dinoreg.task.scans import image_pair
from regtask.atomic import remove_leftovers
from regtask.dataset import Dataset, Split
from regtask.errors import DataError, Fault
from regtask.images import Volume, read_volume
from regtask.pair import Pair
from regtask.verify import verify_pairs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a task is run.

    Attributes:
        output: folder for the fields and the manifest; made if absent.
        split: which pairs.
        device: where to compute.
        on_failure: "raise" stops at the first fault; "fallback" writes a safe field and goes on.
        resume: skip the pairs that are complete for the same configuration and the same inputs.
        pictures: also write one picture per pair to `output/pictures`; those of pairs that are skipped, where
            they are missing, from their fields.
        strict: at the end, a verdict `failed` is an error.
    """

    output: Path
    split: Split = "auto"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    on_failure: OnFailure = "raise"
    resume: bool = False
    pictures: bool = False
    strict: bool = False


def run_task(
    dataset: Dataset,
    config: Config,
    options: RunOptions,
    *,
    pairs: Sequence[Pair] | None = None,
    load: Load = load_encoder,
) -> Manifest:
    """Register all pairs of a split and write one displacement field per pair, with a manifest.

    Args:
        dataset: the task.
        config: all settings.
        options: how it is run.
        pairs: these pairs of the task, instead of those of the split.
        load: makes the encoders that the settings name.

    Returns:
        The manifest, as written.

    Raises:
        WeightsError: the weights of an encoder are absent or not the right ones.
        DataError: the data is at fault (with "raise": anything found before the first pair runs).
        OutputError: the output exists already, or cannot be written.
        PairsFailedError: with "fallback", when for some pair not even a safe field could be written.
        VerdictError: with `strict`, when a result cannot be believed; everything was written.
    """
    pairs = dataset.pairs(options.split) if pairs is None else tuple(pairs)
    run = _Run(dataset, pairs, config, options, EncoderPool(options.device, load=load))
    manifest = run.open_output()
    faults = verify_pairs(pairs, require_masks=config.preprocess.foreground == "task")
    if faults and options.on_failure == "raise":
        raise DataError(*faults)
    for fault in faults:
        log.error("%s", fault)
    if warning := intensities_across_modalities(dataset, pairs, config):
        log.warning("%s", warning)
    manifest.write(options.output)

    with RunProgress(len(pairs)) as progress:
        for pair in pairs:
            if options.resume and manifest.is_complete(pair.case_key, run.digest, options.output):
                changed = changes(manifest.pairs[pair.case_key], run.inputs.of(pair))
                if not changed:
                    run.output.draw_missing(pair, manifest.pairs[pair.case_key])
                    progress.pair_done(pair.case_key, "complete already")
                    continue
                log.info("%s: registered anew: %s", pair.case_key, ", ".join(changed))
            manifest.pairs[pair.case_key] = entry = run.one_pair(pair, progress)
            manifest.write(options.output)
            progress.pair_done(pair.case_key, f"{entry['status']}, {entry['seconds']:.1f} s")

    unbelieved = say_verdicts({pair.case_key: manifest.pairs[pair.case_key] for pair in pairs})
    lost = [pair.case_key for pair in pairs if manifest.pairs[pair.case_key]["status"] == "failed"]
    if lost:
        raise PairsFailedError(
            *(Fault("no field could be written", case, remedy=f"see {MANIFEST_NAME}") for case in lost)
        )
    if options.strict and unbelieved:
        raise VerdictError(*unbelieved)
    return manifest


class _Run:
    """One configuration over the pairs of one task."""

    def __init__(
        self,
        dataset: Dataset,
        pairs: Sequence[Pair],
        config: Config,
        options: RunOptions,
        pool: EncoderPool,
    ) -> None:
        self._dataset, self._pairs, self._config, self._options = dataset, pairs, config, options
        self._pool, self._sources = pool, pool.sources(config.features.encoders)
        self._uses = Counter(path for pair in pairs for path in (pair.fixed, pair.moving))
        self.inputs = InputDigests(dataset)
        self.output = TaskOutput(options.output, config.output, pictures=options.pictures)
        self.digest = config_hash(config, {n: s.digests for n, s in enumerate(self._sources)})

    def open_output(self) -> Manifest:
        """Make the output folder and begin, or take up, its manifest."""
        options, output = self._options, self._options.output
        self.output.make_folder()
        if options.resume:
            remove_leftovers(output)
        else:
            self.output.refuse_what_exists(self._pairs)
        header = run_header(self._config, self._pool, self.digest)
        header |= {"task": self._dataset.name, "split": options.split}
        return Manifest(header, read_pairs(output) if options.resume else {})

    def one_pair(self, pair: Pair, progress: RunProgress) -> dict[str, Any]:
        """Register and write one pair; the manifest entry says how it ended."""
        begin = time.perf_counter()
        made_from = self.inputs.of(pair)
        runtime.reset_peak_memory(self._options.device)
        volumes: list[Volume] = []

        def read() -> ImagePair:
            volumes.extend((read_volume(pair.fixed), read_volume(pair.moving)))
            again = self._uses[pair.fixed] > 1, self._uses[pair.moving] > 1
            return image_pair(self._dataset, pair, volumes[0], volumes[1], come_again=again)

        found = attempt(
            pair.case_key,
            read,
            self._config,
            pool=self._pool,
            on_failure=self._options.on_failure,
            on_begin=lambda stage: progress.stage(pair.case_key, stage),
        )
        progress.stage(pair.case_key, "write")
        entry: dict[str, Any] = {"config_hash": self.digest, **made_from}
        status: Status = "ok"
        if found.registration is not None:
            grids = (volume.grid for volume in volumes)
            entry["files"] = self.output.write_field(pair, found.registration.displacement, *grids)
            entry |= found.registration.as_dict()
            self.output.write_bases(pair, found.registration)
            self.output.draw(pair, volumes[0], volumes[1], found.registration)
        else:
            entry["error"] = found.error
            entry["files"], entry["fallback"] = self.output.write_safe(pair, found)
            status = "fallback" if entry["files"] else "failed"
        return {
            "status": status,
            "seconds": round(time.perf_counter() - begin, 3),
            "peak_memory_mib": round(runtime.peak_memory_mib(self._options.device), 1),
            **entry,
        }
