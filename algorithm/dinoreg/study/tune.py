"""Find the settings of a preset that suit a task, from a few pairs with labels or landmarks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from dinoreg.settings.config import Config
from dinoreg.settings.show import to_toml
from dinoreg.study.ablation import Run, run_ablation
from dinoreg.study.ablation_rows import Row
from dinoreg.study.ablation_table import mean_result
from dinoreg.study.candidates import BASE, candidates
from dinoreg.study.choice import Choice, Results, choose
from dinoreg.task.run_task import RunOptions, run_task
from regtask.atomic import atomic_write_text
from regtask.dataset import Dataset
from regtask.errors import DataError, Fault
from regtask.pair import Pair

log = logging.getLogger(__name__)

REPORT_NAME = "tuning.md"


def tune(
    dataset: Dataset,
    base: Config,
    output: Path,
    options: RunOptions,
    *,
    trials: int,
    seed: int = 0,
    run: Run = run_task,
) -> Choice:
    """Try settings on all pairs, choose, cross-validate, and write the configuration that was chosen.

    What an earlier call finished with the same settings is taken over. Fields are not kept.

    Args:
        dataset: whose pairs all have labels, or all landmarks.
        base: what is tuned.
        output: TOML file for the configuration; written last, once everything is known.
        options: of the runs; `output` is the folder of the trials and of the report.
        trials: how many configurations to try, the base included.
        seed: of those that are drawn.
        run: registers the pairs of a task.

    Raises:
        DataError: a pair without labels and landmarks.
        TaskError: whatever stops a trial; the finished ones are kept.
    """
    pairs = dataset.pairs(options.split)
    _refuse_unlabelled(pairs)
    rows = candidates(base, trials, seed=seed)
    log.info("%d settings on %d pairs", len(rows), len(pairs))
    results = run_ablation(dataset, rows, options, run=run, keep_fields=False)
    choice = choose(results, pairs)
    report = _report(dataset, rows, results, choice)
    atomic_write_text(options.output / REPORT_NAME, report)
    chosen = next(row for row in rows if row.name == choice.taken)
    described = _described(chosen, base, dataset, choice, len(rows), len(pairs))
    atomic_write_text(output, to_toml(described))
    return choice


def _described(
    chosen: Row, base: Config, dataset: Dataset, choice: Choice, trials: int, pairs: int
) -> Config:
    """Return the configuration of a row with words that say where it comes from."""
    if choice.folds:
        worth = f"{choice.mean_gain:+.4f} {choice.unit} on people left out of the choice"
    else:
        worth = "not cross-validated: every pair shows the same people"
    found = f"best of {trials} by dinoreg tune on {pairs} pairs of {dataset.name}"
    text = f"{base.name} with {chosen.what}; {found}; {worth}."
    return chosen.config.model_copy(update={"name": f"{base.name}-{dataset.name}", "description": text})


def _refuse_unlabelled(pairs: Sequence[Pair]) -> None:
    def has(pair: Pair, kind: str) -> bool:
        files = pair.labels() if kind == "labels" else pair.landmarks()
        return files.fixed is not None and files.moving is not None

    faults = [
        Fault(
            "nothing to tune by",
            pair.case_key,
            expected="labels or landmarks of both images, of one kind for all pairs",
            remedy="give a dataset JSON that lists only pairs with labels or landmarks, or set --split",
        )
        for pair in pairs
        if not any(has(pair, kind) and has(pairs[0], kind) for kind in ("labels", "landmarks"))
    ]
    if faults:
        raise DataError(*faults)


def _report(dataset: Dataset, rows: tuple[Row, ...], results: Results, choice: Choice) -> str:
    what = {row.name: row.what for row in rows}
    lines = [
        f"# Tuning on {dataset.name}",
        "",
        f"Taken: **{choice.taken}** ({what[choice.taken]}).",
        "",
        "| settings | score | Dice | TRE mm | sdLogJ | s / pair | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, score in choice.scores.items():
        mean = mean_result(list(results[name].values()))
        cells = [
            "-" if value is None else f"{value:.{digits}f}"
            for value, digits in (
                (mean.dice, 4),
                (mean.tre_mm, 3),
                (mean.sd_log_jacobian, 3),
                (mean.seconds, 1),
            )
        ]
        lines.append(f"| {name} | {score:.3f} | {' | '.join(cells)} | {what[name]} |")
    lines += ["", "Left out one person at a time, chosen on the others:", ""]
    if choice.folds:
        lines += [f"| person | chosen | gain, {choice.unit} |", "|---|---|---|"]
        lines += [f"| {fold.person} | {fold.chosen} | {fold.gain:+.4f} |" for fold in choice.folds]
        lines += ["", f"Mean gain over `{BASE}`: {choice.mean_gain:+.4f} {choice.unit}."]
    else:
        lines += ["Not possible: every pair shows the same people."]
    return "\n".join(lines) + "\n"
