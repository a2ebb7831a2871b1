"""What `judge_field` says of fields that several presets found, on right pairs and on pairs made wrong.

    python benchmarks/bench_judge.py --data ../shared/data [--presets ...] [--wrong-presets ...] [--pairs N]

A preset may be followed by "+ N mm": its field with smooth waves of so many millimetres in the mean on top.
Rows that are there already are kept. Prints, per preset, how often the run itself gave which grade, and how
often the judge did, of the final field; and where landmarks are known, by how much the field errs, and what
remains by the judge.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench_verdict import CPU, GRADES, PAIRS, cases, made
from common import ROOT, provenance, write_json
from dinoreg.field_verdict import judge_field
from dinoreg.pipeline.register import register
from dinoreg.settings.load import load_preset
from pair_rows import read_rows
from regtask.dataset import read_dataset
from stored_otherwise import Case, score

RESULTS = ROOT / "benchmarks" / "results" / "judge.json"
_WAVE_MM = 25.0


def judged(case: Case, preset: str) -> dict[str, Any]:
    """Register a case by a preset; return what the run and the judge say, and the score where it is known."""
    name, _, waves = preset.partition(" + ")
    result = register(case.images, load_preset(name), device=CPU)
    field = result.displacement
    if waves:
        field = field + smooth_waves(
            field.shape[:3], case.images.fixed.grid.spacing_mm, float(waves.split()[0])
        )
    known = case.labels is not None or case.points is not None
    return {
        "score": round(score(case, field), 4) if known else None,
        "unit": case.unit,
        "run": result.verdict.grade if result.verdict and not waves else None,
        **judge_field(case.images, field).as_dict(),
    }


def smooth_waves(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], mean_mm: float
) -> NDArray[np.float32]:
    """Return a displacement of a length in the mean, (I, J, K, 3) voxels, that varies over some 25 mm."""
    rng = np.random.default_rng(1)
    sigmas = [_WAVE_MM / mm for mm in spacing_mm]
    waves = [ndimage.gaussian_filter(rng.standard_normal(shape), sigmas) for _ in spacing_mm]
    vectors = np.stack(waves, axis=-1)
    vectors *= mean_mm / np.linalg.norm(vectors, axis=-1).mean()
    return np.asarray(vectors / np.array(spacing_mm), dtype=np.float32)


def summary(rows: list[dict[str, Any]]) -> str:
    """Return how often each grade was given, of right and of wrong pairs, as Markdown."""
    lines = [
        "| preset | pairs | the run: good / doubtful / failed | the judge: good / doubtful / failed |",
        "|---|---|---|---|",
    ]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        for right in (True, False):
            group = [row for row in rows if row["preset"] == preset and (row["kind"] == "right") == right]
            if group:
                counts = [
                    " / ".join(str(sum(row[key] == grade for row in group)) for grade in GRADES)
                    for key in ("run", "verdict")
                ]
                kind = "right" if right else "made wrong"
                lines.append(f"| `{preset}` | {len(group)} {kind} | {counts[0]} | {counts[1]} |")
    return "\n".join(lines)


def remaining(rows: list[dict[str, Any]]) -> str:
    """Return, where landmarks are known, their error and what the judge says remains, as Markdown."""
    lines = [
        "| task | preset | landmarks mm | remaining mm | a tenth, mm | the judge |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        evidence = row["verdict_evidence"]
        if row["unit"] == "mm" and row["score"] is not None and evidence.get("remaining_mm") is not None:
            numbers = (row["score"], evidence["remaining_mm"], evidence["remaining_most_mm"])
            cells = " | ".join(f"{number:.1f}" for number in numbers)
            lines.append(f"| {row['task']} | `{row['preset']}` | {cells} | {row['verdict']} |")
    return "\n".join(lines)


def main() -> None:
    """Judge what is missing, a line each, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--presets", nargs="+", default=["auto", "mind", "convexadam"], help="on right pairs")
    parser.add_argument("--wrong-presets", nargs="*", default=["auto"], help="on pairs made wrong")
    parser.add_argument("--pairs", type=int, default=1, help="of each task and kind")
    parser.add_argument("--tasks", nargs="+", default=list(PAIRS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = read_rows(arguments.output)
    tasks = {name: read_dataset(arguments.data / name / f"{name}_dataset.json") for name in PAIRS}
    for task, number, kind in cases(tasks):
        if number >= arguments.pairs or task not in arguments.tasks:
            continue
        name = tasks[task].pairs("val")[number].case_key
        for preset in arguments.presets if kind == "right" else arguments.wrong_presets:
            what = {"task": task, "case": name, "kind": kind, "preset": preset}
            if any(what.items() <= row.items() for row in rows):
                continue
            found = judged(made(tasks, task, number, kind), preset)
            rows.append(what | {"commit": provenance()["commit"]} | found)
            print({key: value for key, value in rows[-1].items() if key != "verdict_reasons"}, flush=True)
            write_json(arguments.output, {"provenance": provenance(), "rows": rows})
    print(summary(rows))
    print()
    print(remaining(rows))


if __name__ == "__main__":
    main()
