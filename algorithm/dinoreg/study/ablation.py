"""Run a task once per row of an ablation, score every field, and write one table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from dinoreg.encoders.registry import Load, LoadedEncoder, load_encoder
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.encoders.slices.remembered import RememberedTokens
from dinoreg.runtime import free_memory
from dinoreg.settings.config import Config, Encoder, TokenSettings
from dinoreg.settings.load import config_hash
from dinoreg.study.ablation_rows import Row
from dinoreg.study.ablation_table import CaseResult, format_csv, format_markdown
from dinoreg.task.manifest import Manifest
from dinoreg.task.progress import RunProgress
from dinoreg.task.run_task import RunOptions, run_task
from regeval.metrics.landmark_error import tre_mm
from regeval.scoring.quick_scores import Field, score_case
from regeval.scoring.strict_rules import hardest
from regtask.atomic import atomic_write_text
from regtask.dataset import Dataset
from regtask.errors import Fault, OutputError
from regtask.fields import read_field
from regtask.images import read_header
from regtask.landmarks import read_landmark_pair
from regtask.pair import Pair

TABLE_NAME = "ablation"
_SCORES_NAME = "scores.json"
# Settings of a token encoder on which its weights and its input depend.
_OF_THE_ENCODER = {"sha256", "normalisation"}
_SHARE_OF_FREE = 0.25  # of the host's memory, for remembered tokens


class Run(Protocol):
    """Registers the pairs of a task, as `run_task` does."""

    def __call__(
        self, dataset: Dataset, config: Config, options: RunOptions, *, pairs: Sequence[Pair], load: Load
    ) -> Manifest:
        """Write the fields of some pairs into the output folder of the options."""


def run_ablation(
    dataset: Dataset,
    rows: Sequence[Row],
    options: RunOptions,
    *,
    load: Load = load_encoder,
    run: Run = run_task,
    keep_fields: bool = True,
) -> Mapping[str, Mapping[str, CaseResult]]:
    """Run every row, and write `ablation.csv` and `ablation.md` into the output folder.

    Each row has a folder of its own with its fields, manifest and scores. All rows of a pair run before the
    next pair, and tokens are remembered, so that rows with the same tokens encode an image once. What an
    earlier run finished with the same configuration is taken over; the tables hold the rows asked for.

    Args:
        dataset: with labels or landmarks, or there is nothing to score but regularity.
        rows: see `ablation_rows`.
        options: for all rows; `output` is the folder of the tables.
        load: makes the encoders that the settings name.
        run: registers the pairs of a task.
        keep_fields: otherwise a field is removed once it is scored.

    Returns:
        Row name -> case -> result.

    Raises:
        TaskError: whatever stops a row; the finished ones are kept.
    """
    results: dict[str, dict[str, CaseResult]] = {
        row.name: _finished(options.output / row.name, row) for row in rows
    }
    load_once = _load_once(load)
    open_runs = [
        (pair, row)
        for pair in dataset.pairs(options.split)
        for row in rows
        if pair.case_key not in results[row.name]
    ]
    with RunProgress(len(open_runs)) as progress:
        for pair, row in open_runs:
            progress.stage(pair.case_key, row.name)
            folder = options.output / row.name
            one_pair = replace(options, output=folder, resume=True)
            manifest = run(dataset, row.config, one_pair, pairs=[pair], load=load_once)
            entry = manifest.pairs[pair.case_key]
            results[row.name][pair.case_key] = _result(pair, folder, entry)
            _keep(folder, row, results[row.name])
            if not keep_fields:
                for name in entry["files"]:
                    (folder / name).unlink(missing_ok=True)
            _write_tables(options.output, rows, results)
            progress.pair_done(pair.case_key, f"row {row.name}")
    _write_tables(options.output, rows, results)
    return results


def _load_once(load: Load) -> Load:
    """Load every encoder once for all rows, and let those of slices remember their tokens."""
    loaded: dict[object, LoadedEncoder] = {}
    room = int(_SHARE_OF_FREE * free_memory(torch.device("cpu")))

    def remembering(settings: Encoder, device: torch.device) -> LoadedEncoder:
        # How tokens are made of an image is not a matter of the encoder itself.
        of_the_encoder = settings.model_dump(exclude=set(TokenSettings.model_fields) - _OF_THE_ENCODER)
        key = (*sorted(of_the_encoder.items()), device)
        if key not in loaded:
            made = load(settings, device)
            if isinstance(made.encoder, SliceEncoder):
                made = replace(made, encoder=RememberedTokens(made.encoder, room))
            loaded[key] = made
        return loaded[key]

    return remembering


def tre30_mm(pair: Pair, field: Field | None) -> float | None:
    """Return the mean error of the 30 % of the landmarks with the largest initial error, mm.

    Song et al. 2024, table 2. None where the pair has no landmarks.
    """
    points = read_landmark_pair(pair)
    if points is None:
        return None
    spacing_mm = read_header(pair.moving).grid.spacing_mm
    before, after = (tre_mm(*points, u, spacing_mm) for u in (None, field))
    return float(after[hardest(before)].mean())


def _result(pair: Pair, folder: Path, entry: Mapping[str, Any]) -> CaseResult:
    field = read_field(folder / next(iter(entry["files"])), read_header(pair.fixed).grid.shape)
    scores = score_case(pair, field)
    return CaseResult(
        dice=scores.dice,
        tre_mm=scores.tre_mm,
        tre30_mm=tre30_mm(pair, field),
        hd95_mm=scores.hd95_mm,
        folding_percent=scores.folding_percent,
        sd_log_jacobian=scores.sd_log_jacobian,
        seconds=entry["seconds"],
        features_seconds=sum(s["seconds"] for s in entry["stages"] if s["name"] == "features"),
        official_hd95_voxels=scores.official_hd95_voxels,
        official_sd_log_jacobian=scores.official_sd_log_jacobian,
        dice_per_label={str(label): dice for label, dice in scores.dice_per_label.items()},
    )


def _keep(folder: Path, row: Row, results: Mapping[str, CaseResult]) -> None:
    cases = {case: {key: _strict(value) for key, value in asdict(r).items()} for case, r in results.items()}
    content = {"config_hash": config_hash(row.config), "cases": cases}
    atomic_write_text(folder / _SCORES_NAME, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _strict(value: Any) -> Any:
    """An infinite HD95, of a lost organ, or no Dice of a label, as text: strict JSON cannot hold it."""
    if isinstance(value, dict):
        return {key: _strict(one) for key, one in value.items()}
    return value if value is None or math.isfinite(value) else str(value)


def _numbers(value: Any) -> Any:
    """The inverse of `_strict`."""
    if isinstance(value, dict):
        return {key: _numbers(one) for key, one in value.items()}
    return None if value is None else float(value)


def _finished(folder: Path, row: Row) -> dict[str, CaseResult]:
    """What an earlier run measured with this row's configuration."""
    path = folder / _SCORES_NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["config_hash"] != config_hash(row.config):
            return {}
        return {
            case: CaseResult(**{key: _numbers(v) for key, v in values.items()})
            for case, values in content["cases"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            Fault("scores not readable", str(path), got=str(error), remedy="remove it to measure again")
        ) from error


def _write_tables(output: Path, rows: Sequence[Row], results: Mapping[str, Mapping[str, CaseResult]]) -> None:
    measured = {name: cases for name, cases in results.items() if cases}
    titles = {row.name: row.what for row in rows}
    atomic_write_text(output / f"{TABLE_NAME}.csv", format_csv(measured))
    atomic_write_text(output / f"{TABLE_NAME}.md", format_markdown(measured, titles))
