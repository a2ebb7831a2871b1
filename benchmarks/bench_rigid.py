"""Rigid registration from far off, beside ANTs and elastix: error of known maps, captures, seconds.

    python -m venv PEERS && PEERS/bin/pip install antspyx==0.6.3 itk-elastix==0.25.4
    python benchmarks/bench_rigid.py --data ../shared/data [--peers PEERS/bin/python] [--draws 4]

`contrasts`: T1 and FLAIR of one head, one of them turned by 11 degrees and shifted by 14 mm, both ways round.
`capture`: a CT and an MR, each with itself turned by up to 30 degrees about each axis and shifted by up to
80 mm along each, with noise, on the grid that it was on, so that a part of the body leaves the image. Every
method runs as a process of its own at its defaults, from files to the written transform. The error is the
mean over points of the fixed body that the moving image shows. Rows that are there already are kept.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from common import ROOT, provenance, run_process, write_json
from dinoreg.desk.linear import matrix_of
from dinoreg.preprocess.foreground import threshold_foreground
from pair_rows import Row, read_rows

RESULTS = ROOT / "benchmarks" / "results" / "rigid.json"
METHODS = ("dinoreg", "ants", "elastix")
TITLES = {"dinoreg": "`rigid`", "ants": "ANTs 0.6.3, `Rigid`", "elastix": "itk-elastix 0.25.4, `rigid`"}
CAPTURED_MM = 2.0
_CONTRASTS = {"T1 fixed": ("brain_T1pre", "brain_FLAIR"), "FLAIR fixed": ("brain_FLAIR", "brain_T1pre")}
_BODIES = {"CT": "ct_abdomen_3mm", "MR": "mr_abdomen_t2"}
_NOISE = 0.05  # of the standard deviation of the image
_POINTS = 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A pair under a known map, (4, 4) from RAS mm of fixed to RAS mm of moving."""

    group: str
    name: str
    fixed: nib.Nifti1Image
    moving: nib.Nifti1Image
    truth: NDArray[np.float64]


def cases(native: Path, draws: int) -> Iterator[Case]:
    """Yield every pair."""
    for name, (fixed, moving) in _CONTRASTS.items():
        images = [nib.load(native / f"{part}.nii.gz") for part in (fixed, moving)]
        truth = about_centre(images[0], (5.0, -6.0, 8.0), (9.0, -8.0, 7.0))
        yield Case("contrasts", name, images[0], turned(images[1], truth, 0.0, 0), truth)
    for name, file in _BODIES.items():
        image = nib.load(native / f"{file}.nii.gz")
        rng = np.random.default_rng(7)
        for number in range(draws):
            truth = about_centre(image, rng.uniform(-30, 30, 3), rng.uniform(-80, 80, 3))
            yield Case("capture", f"{name} {number}", image, turned(image, truth, _NOISE, number), truth)


def about_centre(
    image: nib.Nifti1Image, degrees: Sequence[float], shift_mm: Sequence[float]
) -> NDArray[np.float64]:
    """Return the map that turns about the centre of an image and shifts."""
    centre = image.affine[:3, :3] @ ((np.array(image.shape) - 1) / 2) + image.affine[:3, 3]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = centre + shift_mm - matrix[:3, :3] @ centre
    return matrix


def turned(image: nib.Nifti1Image, truth: NDArray[np.float64], noise: float, seed: int) -> nib.Nifti1Image:
    """Return an image whose content a map has carried along, on the grid that it had."""
    values = np.asarray(image.dataobj, dtype=np.float32)
    back = np.linalg.inv(image.affine) @ np.linalg.inv(truth) @ image.affine
    moved = ndimage.affine_transform(values, back, order=1, cval=float(values.min()))
    if noise:
        rng = np.random.default_rng(seed)
        moved = moved + rng.normal(0, noise * float(values.std()), moved.shape)
    return nib.Nifti1Image(moved.astype(np.float32), image.affine)


def error_mm(case: Case, found: NDArray[np.float64]) -> float:
    """Return the mean distance of where the found map and the true one lead, mm."""
    values = np.asarray(case.fixed.dataobj, dtype=np.float32)
    kind = "ct" if float(values.min()) < -200 else "mr"
    inside = np.argwhere(threshold_foreground(values, kind))
    index = np.random.default_rng(0).choice(inside, _POINTS)
    points = np.c_[index, np.ones(_POINTS)] @ case.fixed.affine.T
    there = points @ case.truth.T
    seen = there @ np.linalg.inv(case.moving.affine).T
    shown = ((seen[:, :3] >= 0) & (seen[:, :3] <= np.array(case.moving.shape) - 1)).all(axis=1)
    return float(np.linalg.norm((points @ found.T - there)[shown, :3], axis=1).mean())


def measure(case: Case, method: str, peers: Path | None) -> Row:
    """Register one pair by one method, from files to the written transform."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / "fixed.nii.gz", folder / "moving.nii.gz"]
        for path, image in zip(files, (case.fixed, case.moving), strict=True):
            nib.save(image, path)
        if method == "dinoreg":
            command = [sys.executable, "-m", "dinoreg.cli.main", "register", "--transform", "rigid"]
            command += ["--fixed", str(files[0]), "--moving", str(files[1]), "--output", str(folder / "out")]
            command += ["--no-report", "--device", "cpu"]
        else:
            script = ROOT / "benchmarks" / "rigid_peers.py"
            command = [str(peers), str(script), method, *map(str, files), str(folder / "matrix.txt")]
        cost = run_process(command, folder / "log.txt")
        if method == "dinoreg":
            matrix = matrix_of(sitk.ReadTransform(str(folder / "out" / "transform.h5")))
            assert matrix is not None
        else:
            matrix = np.loadtxt(folder / "matrix.txt")
        row = {"group": case.group, "case": case.name, "method": method}
        row |= {
            "error_mm": round(error_mm(case, matrix), 4),
            "before_mm": round(error_mm(case, np.eye(4)), 3),
        }
        return row | {"seconds": round(cost.seconds, 2), "cpu_seconds": round(cost.cpu_seconds, 2)}


def table(rows: list[Row]) -> str:
    """Return errors, captures and times as Markdown."""
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    lines = [
        f"| pair | before | {' | '.join(TITLES[m] for m in methods)} |",
        "|---" * (2 + len(methods)) + "|",
    ]
    for name in _CONTRASTS:
        of_case = {row["method"]: row for row in rows if row["case"] == name}
        cells = [f"{of_case[m]['error_mm']:.2f} mm" if m in of_case else "" for m in methods]
        lines.append(
            f"| T1, FLAIR: {name} | {of_case[methods[0]]['before_mm']:.1f} mm | {' | '.join(cells)} |"
        )
    for name in _BODIES:
        group = [row for row in rows if row["group"] == "capture" and row["case"].startswith(name)]
        before = statistics.fmean(row["before_mm"] for row in group)
        cells = []
        for method in methods:
            errors = [row["error_mm"] for row in group if row["method"] == method]
            caught = [error for error in errors if error < CAPTURED_MM]
            middle = f", {statistics.median(caught):.2f} mm" if caught else ""
            cells.append(f"{len(caught)} of {len(errors)}{middle}")
        lines.append(f"| {name}, far off | {before:.0f} mm | {' | '.join(cells)} |")
    cells = [
        f"{statistics.median(row['cpu_seconds'] for row in rows if row['method'] == m):.0f} s"
        for m in methods
    ]
    lines.append(f"| processor time of a pair, median | | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, help="the Python that has antspyx and itk-elastix")
    parser.add_argument("--draws", type=int, default=4, help="pairs of each body")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="by default, those that are there")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = read_rows(options.output)
    for case in cases(options.data / "native", options.draws):
        for method in options.methods or (METHODS if options.peers else METHODS[:1]):
            if not any((row["case"], row["method"]) == (case.name, method) for row in rows):
                rows.append(measure(case, method, options.peers))
                print(rows[-1], flush=True)
                write_json(options.output, {"provenance": provenance(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
