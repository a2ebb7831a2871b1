"""Time and memory of `regeval leaderboard`, and of the official evaluator on the same submissions.

    python benchmarks/bench_challenge.py [--official L2R/evaluation --official-python PYTHON]

A synthetic task of 192 x 160 x 192 voxels with 4 labels and 50 landmarks, a few cases, two teams whose fields
are smooth over 16 voxels. One leaderboard with fewer cases and one with more tell what a case of a team
costs; ranking is timed on metrics files of 20 teams and 30 cases, scattered around one that was measured.
From these follows, openly, an estimate for 20 teams x 30 cases: 600 such fields would take 40 GB. With
--official, Learn2Reg's evaluation.py (its folder, and a Python that has its packages) is run on both teams,
in turn with ours.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from common import ROOT, ProcessCost, provenance, run_process, write_json
from regtask import Grid, write_field, write_landmarks, write_volume

SHAPE, SPACING_MM = (192, 160, 192), (2.0, 1.8, 2.2)
LABELS, LANDMARKS = 4, 50
TEAMS, CASES = 20, 30  # what is estimated
FEW, MORE = 1, 2  # cases that are measured
MEASURED_TEAMS = ("one", "other")


def main() -> None:
    """Measure, estimate, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", type=Path, metavar="DIR", help="folder of Learn2Reg's evaluation.py")
    parser.add_argument("--official-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/challenge.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        descriptions = make_challenge(folder)
        kinds = ("few", "more", "task few", "task more", "official", "rank")
        rows: dict[str, list[ProcessCost]] = {kind: [] for kind in kinds}
        for repetition in range(options.repetitions):
            for kind, count in (("few", FEW), ("more", MORE)):
                site = folder / f"site-{kind}-{repetition}"
                call = ("--submissions", str(folder / f"teams-{count}"), "--output", str(site))
                call = ("leaderboard", "--dataset", str(descriptions[count]), *call, "--bootstrap", "0")
                rows[kind].append(_run(folder, sys.executable, "-m", "regeval", *call, "--method", "l2r"))
                check = ("check", "--task", str(descriptions[count]))
                rows[f"task {kind}"].append(_run(folder, sys.executable, "-m", "regeval", *check))
            if options.official is not None:
                rows["official"] += [_official(folder, team, options) for team in MEASURED_TEAMS]
        metrics = next((folder / "site-more-0/Bench/results").glob("one-*.json"))
        runs = scattered(json.loads(metrics.read_text(encoding="utf-8")), folder / "runs")
        call = ("rank", *runs, "--method", "l2r", "--output", str(folder / "board"))
        rows["rank"].append(_run(folder, sys.executable, "-m", "regeval", *call))
    results = {"provenance": provenance(), "shape": SHAPE, "labels": LABELS, **summary(rows)}
    write_json(options.output, results)
    print(table(results))


def summary(rows: dict[str, list[ProcessCost]]) -> dict[str, Any]:
    """Return what was measured, and what follows from it for all teams and cases.

    Args:
        rows: costs of leaderboards of FEW and MORE cases, of checking the tasks, of the official script with
            MORE cases (may be empty), and of ranking all.
    """
    teams = len(MEASURED_TEAMS)
    few, more, task_few, task_more = (
        _median(rows[kind]) for kind in ("few", "more", "task few", "task more")
    )
    # A further case is checked once in the task, and checked and scored once a team.
    of_task = (task_more - task_few) / (MORE - FEW)
    per_case = ((more - few) / (MORE - FEW) - of_task) / teams
    fixed = max(0.0, few - FEW * (teams * per_case + of_task)) / teams
    measured = {kind: [_numbers(cost) for cost in costs] for kind, costs in rows.items() if costs}
    ours = TEAMS * (fixed + CASES * per_case) + CASES * of_task + _median(rows["rank"])
    found = {
        "measured": measured,
        "cpu_seconds_per_team": round(fixed, 2),
        "cpu_seconds_per_case_of_the_task": round(of_task, 2),
        "cpu_seconds_per_case": round(per_case, 2),
        "cpu_seconds_estimated": round(ours),
        "peak_memory_mib": round(max(cost.peak_memory_mib for cost in rows["more"])),
    }
    if rows["official"]:
        official = _median(rows["official"]) / MORE
        found |= {
            "official_cpu_seconds_per_case": round(official, 2),
            "official_cpu_seconds_estimated": round(TEAMS * CASES * official),
            "official_peak_memory_mib": round(max(cost.peak_memory_mib for cost in rows["official"])),
        }
    return found


def table(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"| | processor seconds per case | {TEAMS} teams x {CASES} cases, estimated | peak MiB |",
        "|---|---|---|---|",
    ]
    rows = (("`regeval leaderboard`", ""), ("official `evaluation.py`", "official_"))
    for name, key in rows:
        if f"{key}cpu_seconds_per_case" in results:
            minutes = results[f"{key}cpu_seconds_estimated"] / 60
            lines.append(
                f"| {name} | {results[f'{key}cpu_seconds_per_case']:.1f} | {minutes:.0f} min |"
                f" {results[f'{key}peak_memory_mib']} |"
            )
    return "\n".join(lines)


def make_challenge(folder: Path) -> dict[int, Path]:
    """Write the task with FEW and with MORE cases, and the submissions to both; count -> description."""
    rng = np.random.default_rng(7)
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
    for kind in ("images", "labels", "landmarks"):
        (folder / f"{kind}Tr").mkdir()
    pairs = []
    for number in range(1, MORE + 1):
        moving = _ellipsoids(rng)
        field = _smooth_field(rng)
        at = np.indices(SHAPE, np.float32) + np.moveaxis(field, -1, 0)
        fixed = ndimage.map_coordinates(moving, at, order=0, mode="nearest")
        texture = ndimage.gaussian_filter(rng.normal(size=SHAPE).astype(np.float32), 2) * 300
        points = rng.choice(np.argwhere(fixed), LANDMARKS, replace=False).astype(float)
        there = points + np.stack(
            [ndimage.map_coordinates(field[..., axis], points.T, order=1) for axis in range(3)], axis=-1
        )
        for modality, labels, landmarks in (("0000", fixed, points), ("0001", moving, there)):
            case = f"Bench_{number:04d}_{modality}"
            write_volume(folder / f"imagesTr/{case}.nii.gz", 100.0 * labels + texture, grid)
            write_volume(folder / f"labelsTr/{case}.nii.gz", labels, grid, np.uint8)
            write_landmarks(folder / f"landmarksTr/{case}.csv", landmarks)
        pairs.append(
            {
                "fixed": f"./imagesTr/Bench_{number:04d}_0000.nii.gz",
                "moving": f"./imagesTr/Bench_{number:04d}_0001.nii.gz",
            }
        )
        for team, share in zip(MEASURED_TEAMS, (0.9, 0.6), strict=True):
            for count in (FEW, MORE):
                if number <= count:
                    place = folder / f"teams-{count}" / team
                    place.mkdir(parents=True, exist_ok=True)
                    write_field(
                        place / f"disp_{number:04d}_0000_{number:04d}_0001.nii.gz", share * field, grid
                    )
    descriptions = {}
    for count in (FEW, MORE):
        descriptions[count] = folder / f"few{count}_dataset.json"
        content = {"name": "Bench", "registration_val": pairs[:count]}
        descriptions[count].write_text(json.dumps(content), encoding="utf-8")
    return descriptions


def scattered(document: dict[str, Any], folder: Path) -> list[str]:
    """Write metrics files of TEAMS runs with CASES cases, around a measured one; returns words for `rank`."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    first = next(iter(document["cases"]))
    keys = [f"{number:04d}_0000<--{number:04d}_0001" for number in range(1, CASES + 1)]
    words = []
    for team in range(TEAMS):
        run = copy.deepcopy(document)
        run["cases"] = {key: _shaken(document["cases"][first], rng) for key in keys}
        if "reference" in run:
            of_identity = next(iter(document["reference"]["cases"].values()))
            run["reference"]["cases"] = {key: _shaken(of_identity, rng) for key in keys}
        if "files" in run:
            run["files"] = dict.fromkeys(keys, "field")
        path = folder / f"team{team}.json"
        path.write_text(json.dumps(run), encoding="utf-8")
        words.append(f"team{team}={path}")
    return words


def _shaken(values: Any, rng: np.random.Generator) -> Any:
    """Multiply every number by about one."""
    if isinstance(values, dict):
        return {key: _shaken(value, rng) for key, value in values.items()}
    if isinstance(values, list):
        return [_shaken(value, rng) for value in values]
    return float(values * rng.normal(1, 0.05)) if isinstance(values, float) else values


def _official(folder: Path, team: str, options: argparse.Namespace) -> ProcessCost:
    numbers = list(range(1, LABELS + 1))
    path = folder / "evaluation_config.json"
    pairs = json.loads((folder / f"few{MORE}_dataset.json").read_text(encoding="utf-8"))["registration_val"]
    methods = [
        {"name": "LogJacDetStd", "metric": "sdlogj"},
        {"name": "DSC", "metric": "dice", "labels": numbers},
        {"name": "HD95", "metric": "hd95", "labels": numbers},
        {"name": "TRE_lm", "metric": "tre", "dest": "landmarks"},
    ]
    content = {"task_name": "Bench", "evaluation_methods": methods, "expected_shape": [*SHAPE, 3]}
    path.write_text(json.dumps(content | {"eval_pairs": pairs}), encoding="utf-8")
    fields = folder / f"teams-{MORE}" / team
    call = ("-i", str(fields), "-d", str(folder), "-c", str(path), "-o", str(folder / "official.json"))
    return _run(folder, options.official_python, str(options.official / "evaluation.py"), *call)


def _run(folder: Path, *command: str) -> ProcessCost:
    cost = run_process(command, folder / "log.txt")
    print(f"{cost.cpu_seconds:7.1f} s {cost.peak_memory_mib:6.0f} MiB  {' '.join(command[1:4])}", flush=True)
    return cost


def _median(costs: list[ProcessCost]) -> float:
    return statistics.median(cost.cpu_seconds for cost in costs)


def _numbers(cost: ProcessCost) -> dict[str, float]:
    return {
        "seconds": round(cost.seconds, 2),
        "cpu_seconds": round(cost.cpu_seconds, 2),
        "peak_memory_mib": round(cost.peak_memory_mib),
    }


def _ellipsoids(rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    at = np.ogrid[tuple(slice(size) for size in SHAPE)]
    for label in range(1, LABELS + 1):
        centre, radii = rng.uniform(0.3, 0.7, 3) * SHAPE, rng.uniform(20, 45, 3)
        distance = sum(((i - c) / r) ** 2 for i, c, r in zip(at, centre, radii, strict=True))
        labels[distance < 1] = label
    return labels


def _smooth_field(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.normal(size=(3, *(size // 16 + 1 for size in SHAPE)))
    fine = [ndimage.zoom(one, 16, order=3)[tuple(slice(size) for size in SHAPE)] for one in coarse]
    return 4 * np.stack(fine, axis=-1).astype(np.float32)


if __name__ == "__main__":
    main()
