"""What verdicts say of rigid registrations: of right pairs, and of pairs made wrong on purpose.

    python benchmarks/bench_rigid_verdict.py --data ../shared/data [--output FILE]

Right are the pairs of bench_rigid.py, a thorax with itself, and the pairs of desk_pairs.py, which no rigid
map fits everywhere; between the MR and the CT of two people none does anywhere. Wrong are other parts of the
body, mirror images, scans without any place in common, and right angles, out of reach of the search; all with
noise. Rows that are there already are kept, and graded anew by their evidence.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

import dinoreg
from bench_rigid import about_centre, turned
from bench_rigid import cases as rigid_cases
from bench_verdict import GRADES, area_under_curve, summary
from common import ROOT, provenance, write_json
from desk_pairs import desk_pairs
from dinoreg.guard.linear_verdict import judge_linear
from dinoreg.guard.verdict import LinearEvidence
from pair_rows import Row, read_rows

RESULTS = ROOT / "benchmarks" / "results" / "rigid_verdict.json"
_NOISE = 0.05
_BODIES = {
    "CT": ("ct_abdomen_3mm", "ct_abdomen_3mm"),
    "MR": ("mr_abdomen_t2", "mr_abdomen_t2"),
    "head": ("brain_T1pre", "brain_FLAIR"),
    "thorax": ("ct_thorax_crop_1p5mm", "ct_thorax_crop_1p5mm"),
}
_OTHERS = (
    ("CT", "head"), ("head", "CT"), ("MR", "head"), ("thorax", "head"),
    ("CT", "thorax"), ("thorax", "CT"), ("MR", "thorax"), ("head", "MR"),
)  # fmt: skip
_HALF = 0.45  # of the slices that each of two scans keeps that have no place in common

Image = nib.Nifti1Image


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A pair, and what was done to it."""

    kind: str
    name: str
    fixed: Image
    moving: Image


def cases(native: Path) -> Iterator[Case]:
    """Yield the right pairs and then the wrong ones."""
    for case in rigid_cases(native, 3):
        yield Case("right", f"{case.group}: {case.name}", case.fixed, case.moving)
    thorax = nib.load(native / "ct_thorax_crop_1p5mm.nii.gz")
    for number in range(2):
        rng = np.random.default_rng(20 + number)
        truth = about_centre(thorax, rng.uniform(-20, 20, 3), rng.uniform(-30, 30, 3))
        yield Case("right", f"thorax {number}", thorax, turned(thorax, truth, _NOISE, number))
    for pair in desk_pairs(native, large=False):
        images = [Image(part.values, part.grid.affine) for part in (pair.fixed, pair.moving)]
        if pair.labels is not None and pair.landmarks is None:
            yield Case("two people", f"{pair.group}: {pair.name}", *images)
        else:
            yield Case("right but deformed", f"{pair.group}: {pair.name}", *images)
    loaded = {
        body: [nib.load(native / f"{file}.nii.gz") for file in files] for body, files in _BODIES.items()
    }
    for one, other in _OTHERS:
        yield Case("another body", f"{one}, {other}", loaded[one][0], _changed(loaded[other][0], lambda v: v))
    for body, (fixed, moving) in loaded.items():
        for axis in range(3):
            flipped = _changed(moving, lambda v, axis=axis: np.flip(v, axis))
            yield Case(f"mirrored along axis {axis}", body, fixed, flipped)
        count = round(_HALF * fixed.shape[2])
        lower, upper = fixed.slicer[:, :, :count], moving.slicer[:, :, -count:]
        yield Case("nothing in common", body, lower, _changed(upper, lambda v: v))
        yield Case("turned by a right angle", body, fixed, _changed(moving, _quarter))


def _quarter(values: np.ndarray) -> np.ndarray:
    return ndimage.rotate(values, 90, axes=(0, 1), reshape=False, order=1, cval=float(values.min()))


def _changed(image: Image, change: Callable[[np.ndarray], np.ndarray]) -> Image:
    """Return an image with other values on its grid, and noise."""
    values = change(np.asarray(image.dataobj, dtype=np.float32))
    noise = np.random.default_rng(0).normal(0, _NOISE * float(values.std()), values.shape)
    return Image((values + noise).astype(np.float32), image.affine)


def judged(case: Case) -> Row:
    """Register a pair and return its verdict."""
    result = dinoreg.register(case.fixed, case.moving, preset="rigid", device="cpu")
    assert result.verdict is not None
    return {
        "kind": case.kind,
        "case": case.name,
        "commit": provenance()["commit"],
        **result.verdict.as_dict(),
    }


def regraded(row: Row) -> Row:
    """Return a row with the grade that the limits of today give its evidence."""
    return row | judge_linear(LinearEvidence(**row["verdict_evidence"])).as_dict()


def main() -> None:
    """Judge what is missing, a line each, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = read_rows(options.output)
    for case in cases(options.data / "native"):
        if not any((row["kind"], row["case"]) == (case.kind, case.name) for row in rows):
            rows.append(judged(case))
            print({key: value for key, value in rows[-1].items() if key != "verdict_reasons"}, flush=True)
            write_json(options.output, {"provenance": provenance(), "rows": rows})
    rows = [regraded(row) for row in rows]
    write_json(options.output, {"provenance": provenance(), "rows": rows})
    print(summary(rows))
    alone = [row for row in rows if row["kind"] not in ("two people", "right but deformed")]
    print(f"\narea under the curve, by grades, of {', '.join(GRADES)}: {area_under_curve(alone):.3f}")


if __name__ == "__main__":
    main()
