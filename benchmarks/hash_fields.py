"""Hash the displacement fields of every preset that needs no download, to show that a change moves no bit.

    python benchmarks/hash_fields.py --data ../shared/data --output before.json
    python benchmarks/hash_fields.py --data ../shared/data --compare before.json

Two pairs of the small phantom by every preset and by settings that no preset uses (DINOv2 and SAM of random
weights under official names), and one real pair by the presets that matter most. The last digits of a field
depend on the processor and on the number of threads: compare on one machine only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from common import ROOT, provenance, write_json
from regtask.dataset import Dataset, read_dataset
from regtask.digest import file_sha256
from regtask.fields import read_field

sys.path.insert(0, str(ROOT / "test/container"))
from random_weights import random_sam, random_vit_small

_PHANTOM_PAIRS = slice(0, 2)  # CT to CT, CT to MR
_REAL = "AbdomenMRCT"
_REAL_PRESETS = ("auto", "mind", "convexadam", "dino3d+mind", "mind+intensity")
_SMALL_VIT = ("features.encoders.0.variant=vits14-reg", "features.encoders.0.up_sampling=1.0")


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration on one task."""

    name: str
    preset: str
    overrides: tuple[str, ...] = ()


def cases(vit: Path, sam: Path) -> Iterator[Case]:
    """Yield every configuration that runs on the phantom."""
    for preset in ("auto", "mind", "mind+intensity", "ssd", "convexadam", "convexadam-published", "identity"):
        yield Case(preset, preset)
    for preset in ("start-only", "dino3d", "dino3d+mind"):
        yield Case(preset, preset)
    short = "ffd.0.iterations=8"
    for preset in ("ffd-ncc", "ffd-mind"):
        yield Case(preset, preset, (short,))
    yield Case("ffd-mind static", "ffd-mind", (short, "ffd.0.order=static", "ffd.0.distance=l1"))
    by_vit = (
        *_SMALL_VIT,
        f"features.encoders.0.weights={vit}",
        f"features.encoders.0.sha256={file_sha256(vit)}",
    )
    by_sam = (f"features.encoders.0.weights={sam}", f"features.encoders.0.sha256={file_sha256(sam)}")
    coarse = ("features.cell_mm=4", "adam.0.cell_mm=4", "adam.0.iterations=60", "adam.0.learning_rate=1")
    yield Case("dinoreg-cpu", "dinoreg-cpu", by_vit)
    for preset in ("dinoreg", "dinoreg-oncoreg", "dinoreg-s3", "dinoreg-mrct"):
        yield Case(preset, preset, (*by_vit, *coarse))
    average = (*by_vit, *coarse, "features.ensemble=average", "adam.0.similarity=ssd")
    yield Case("dinoreg-oncoreg average", "dinoreg-oncoreg", average)
    frontal = ("features.encoders.0.axis=1", "start.0.axis=1", "features.encoders.0.projection=uncentred")
    yield Case("dinoreg-cpu frontal", "dinoreg-cpu", (*by_vit, *frontal))
    yield Case("ffd-sam", "ffd-sam", (*by_sam, "ffd.0.iterations=1", "ffd.0.feature_grid=4"))
    starts = 'start=[{kind="centres"},{kind="slices",descriptor="features"},{kind="affine"}]'
    yield Case("mind, other starts", "mind", (starts, "adam.0.stop_below=0.02"))
    yield Case("mind, unmasked", "mind", ("masked=false", 'preprocess.foreground="none"', "start=[]"))


def main() -> None:
    """Hash, write, and compare where there is something to compare with."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of task folders; without it, the phantom alone")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases alone")
    parser.add_argument("--output", type=Path, metavar="JSON", help="where to write the hashes")
    parser.add_argument("--compare", type=Path, metavar="JSON", help="hashes of another state of the code")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        hashes = _hash_all(Path(name), options.data, options.only)
    if options.output:
        write_json(options.output, {"provenance": provenance(), "hashes": hashes})
    if options.compare:
        before = json.loads(options.compare.read_text(encoding="utf-8"))["hashes"]
        changed = [case for case, found in hashes.items() if before.get(case) != found]
        print(f"{len(hashes) - len(changed)} of {len(hashes)} fields are the same")
        sys.exit(f"changed: {', '.join(changed)}" if changed else 0)


def _hash_all(folder: Path, data: Path | None, only: list[str] | None) -> dict[str, str]:
    vit, sam = folder / "dinov2_vits14_reg4_pretrain.pth", folder / "sam_vit_b_01ec64.pth"
    torch.save(random_vit_small(), vit)
    torch.save(random_sam(), sam)
    _dinoreg("phantom", "--output", str(folder / "phantom"), "--size", "small")
    phantom = _cut(read_dataset(folder / "phantom/Phantom_dataset.json"), _PHANTOM_PAIRS, folder / "phantom")
    todo = [(phantom, folder / "phantom", case) for case in cases(vit, sam)]
    if data:
        root = data / _REAL
        real = _cut(read_dataset(root / f"{_REAL}_dataset.json"), slice(0, 1), folder)
        todo += [(real, root, Case(f"{_REAL} {preset}", preset)) for preset in _REAL_PRESETS]
    hashes = {}
    for number, (description, root, case) in enumerate(todo):
        if only and case.name not in only:
            continue
        output = folder / f"run{number}"
        settings = [part for override in case.overrides for part in ("--set", override)]
        _dinoreg(
            "run", "--dataset", str(description), "--data-dir", str(root), "--output", str(output),
            "--preset", case.preset, "--device", "cpu", *settings,
        )  # fmt: skip
        for path in sorted(output.glob("disp_*.nii.gz")):
            key = f"{case.name} {path.name.removeprefix('disp_').removesuffix('.nii.gz')}"
            hashes[key] = hashlib.sha256(read_field(path).tobytes()).hexdigest()[:16]
            print(f"{hashes[key]}  {key}", flush=True)
    return hashes


def _cut(dataset: Dataset, which: slice, folder: Path) -> Path:
    """Describe a few pairs of a task."""
    pairs = [
        {
            role: f"./{path.relative_to(dataset.root)}"
            for role, path in zip(("fixed", "moving"), both, strict=True)
        }
        for both in ((pair.fixed, pair.moving) for pair in dataset.pairs()[which])
    ]
    content = {"name": dataset.name, "modality": dataset.raw["modality"], "registration_val": pairs}
    path = folder / f"{dataset.name}_cut.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _dinoreg(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dinoreg.cli.main", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"dinoreg {' '.join(arguments)}\n{done.stderr}")


if __name__ == "__main__":
    main()
