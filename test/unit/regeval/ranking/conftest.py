"""Metrics files of runs whose order is known, and the command."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from regeval.cli import main

CASES = [f"{2 * n + 1:04d}_0000<--{2 * n + 2:04d}_0000" for n in range(10)]


@pytest.fixture
def metrics_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a metrics file from metric -> one value per case."""

    def write(
        name: str,
        metrics: Mapping[str, Sequence[float | None]],
        task: str = "Knee",
        cases: Sequence[str] = CASES,
    ) -> Path:
        content = {
            "name": task,
            "aggregates": {metric: {} for metric in metrics},
            "cases": {
                case: {
                    metric: {"mean": values[n], "detailed": values[n]} for metric, values in metrics.items()
                }
                for n, case in enumerate(cases)
            },
            "eval_version": "2.0",
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def four(metrics_file) -> list[str]:
    """Arguments for four runs: `best` wins on accuracy, `identity` does not move."""
    steps = [0.001 * n for n in range(10)]
    runs = {
        "identity": (0.30, 20.0, 0.0),
        "poor": (0.32, 19.0, 0.30),
        "good": (0.70, 9.0, 0.35),
        "best": (0.80, 6.0, 0.32),
    }
    arguments = []
    for name, (dice, distance, spread) in runs.items():
        metrics = {
            "DSC": [dice + step for step in steps],
            "HD95": [distance - step for step in steps],
            "LogJacDetStd": [spread + step if spread else 0.0 for step in steps],
        }
        arguments.append(f"{name}={metrics_file(name, metrics)}")
    return arguments


@pytest.fixture
def rank(tmp_path: Path, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the verb into `board`; returns exit status, output and error text."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["rank", *map(str, arguments), "--output", str(tmp_path / "board")])
        return code, *capsys.readouterr()

    return call
