"""Scans of which moving shows a part: sought from fixed, and from moving and inverted as `auto` does it.

    python benchmarks/bench_part.py --data ../shared/data [--output FILE]

The CT pairs of bench_desk.py whose map is known, with moving cut: slices from 30 to 60 % and up to 40 % of
its length, and the middle half along each axis. And ThoraxCBCT with the CT fixed, the cone-beam CT cut at
each end and on a grid of its own, turned by 7 degrees. Rows that are there already are kept. The error is
that of the landmarks that lie in the cut.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy.spatial.transform import Rotation

from common import ROOT, provenance, write_json
from desk_pairs import DeskPair, Points, Volume, desk_pairs
from dinoreg.desk.register import register
from dinoreg.desk.transforms import transform_points
from dinoreg.linear.maps import about_centre
from pair_rows import Row, read_rows
from regtask.dataset import read_dataset
from regtask.grid import Grid
from stored_otherwise import read_case

RESULTS = ROOT / "benchmarks" / "results" / "part.json"
CONE_BEAM, WHOLE = "CT and cone-beam CT", "on its own grid"
# Name -> from and to, shares of the length; along the axis that runs up, or along all.
CUTS: Mapping[str, tuple[float, float, bool]] = MappingProxyType(
    {
        "slices, 30 to 60 %": (0.3, 0.6, False),
        "slices, to 40 %": (0.0, 0.4, False),
        "the middle half": (0.25, 0.75, True),
        WHOLE: (0.0, 1.0, False),
    }
)
GROUPS = "thorax CT", "abdomen CT"
_DEGREES, _OFF = 7.0, (4, 4, 20)  # header of the cone-beam CT, and voxels that it lacks at each end
WAYS = ("fixed", "evidence")
_LPS = np.array([-1.0, -1.0, 1.0])
_FROM_THE_CUT = 2  # voxels that a landmark lies inside it


def cut(volume: Volume, low: float, high: float, *, everywhere: bool) -> Volume:
    """Return a part of a volume on its own grid."""
    upward = int(np.abs(volume.grid.affine[2, :3]).argmax())
    window = tuple(
        slice(int(low * n), int(high * n)) if everywhere or axis == upward else slice(0, n)
        for axis, n in enumerate(volume.values.shape)
    )
    values = np.ascontiguousarray(volume.values[window])
    return Volume(values, volume.grid.cropped(tuple(one.start for one in window), values.shape))


def pairs(data: Path) -> Iterator[DeskPair]:
    """Yield the pairs, those with a cone-beam CT last."""
    yield from (pair for pair in desk_pairs(data / "native", large=False) if pair.group in GROUPS)
    dataset = read_dataset(data / "ThoraxCBCT" / "ThoraxCBCT_dataset.json")
    for number, pair in enumerate(dataset.pairs("val")):
        case = read_case(dataset, pair)
        assert case.points is not None
        cone_beam, whole = case.images.fixed, case.images.moving
        window = tuple(slice(off, n - off) for off, n in zip(_OFF, cone_beam.values.shape, strict=True))
        part = np.ascontiguousarray(cone_beam.values[window])
        centre = whole.grid.index_to_ras([(np.array(whole.values.shape) - 1) / 2])[0]
        turn = Rotation.from_euler("z", _DEGREES, degrees=True).as_matrix()
        affine = about_centre(turn, centre, centre) @ cone_beam.grid.cropped(_OFF, part.shape).affine
        grid = Grid(part.shape, affine)
        seen, there = case.points
        points = whole.grid.index_to_ras(there), grid.index_to_ras(seen - _OFF)
        yield DeskPair(
            CONE_BEAM, str(number), Volume(whole.values, whole.grid), Volume(part, grid), landmarks=points
        )


def inside(points: Points, volume: Volume) -> np.ndarray:
    """Tell which points lie in a volume, (N,) bool."""
    index = volume.grid.ras_to_index(points)
    last = np.array(volume.values.shape) - 1 - _FROM_THE_CUT
    return np.asarray(((index >= _FROM_THE_CUT) & (index <= last)).all(axis=1))


def measured(pair: DeskPair, name: str, way: str) -> Row:
    """Register a pair with moving cut, and measure it."""
    assert pair.landmarks is not None
    low, high, everywhere = CUTS[name]
    part = cut(pair.moving, low, high, everywhere=everywhere)
    scans = [(one.values, one.grid.affine) for one in (pair.fixed, part)]
    found = register(*scans, overrides=[f"sought_from={way}"], device="cpu")
    fixed, moving = (points[inside(pair.landmarks[1], part)] for points in pair.landmarks)
    reached = transform_points(found.transform, fixed * _LPS) * _LPS
    errors = np.linalg.norm(reached - moving, axis=1)
    verdict = found.verdict
    return {
        "group": pair.group,
        "pair": pair.name,
        "cut": name,
        "sought_from": way,
        "landmarks": len(errors),
        "tre_mm": round(float(errors.mean()), 3),
        "tre_95_mm": round(float(np.percentile(errors, 95)), 3),
        "exchanged": found.registration.exchanged,
        "verdict": verdict.grade if verdict else None,
    }


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown, a line per pair and cut."""
    lines = ["| pair | cut | sought from fixed | as `auto` does |", "|---|---|---|---|"]
    for row in rows:
        if row["sought_from"] != WAYS[0]:
            continue
        key = ("group", "pair", "cut")
        others = (r for r in rows if r["sought_from"] == WAYS[1] and all(r[k] == row[k] for k in key))
        cells = [f"{r['tre_mm']:.2f} mm, {r['verdict']}" for r in (row, *others)]
        lines.append(f"| {row['group']} {row['pair']} | {row['cut']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = read_rows(arguments.output)
    for pair in pairs(arguments.data):
        for name in CUTS:
            if (name == WHOLE) != (pair.group == CONE_BEAM):
                continue
            for way in WAYS:
                what = {"group": pair.group, "pair": pair.name, "cut": name, "sought_from": way}
                if any(what.items() <= row.items() for row in rows):
                    continue
                rows.append(measured(pair, name, way))
                print(rows[-1], flush=True)
                write_json(arguments.output, {"provenance": provenance(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
