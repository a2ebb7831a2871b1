"""One step of `gpu_session.py`, in a process of its own: what it finds goes into a JSON file as it goes on.

python benchmarks/gpu_steps.py --device cuda:0 --output speed.json speed auto 192x160x192
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from common import ROOT, write_json
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.registry import LoadedEncoder, load_encoder
from dinoreg.encoders.vit.dinov2 import Dinov2Encoder, _empty_model
from dinoreg.encoders.vit.dinov2_keys import VARIANTS
from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.render import render
from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.pairs import PAIRS
from dinoreg.pipeline.register import register
from dinoreg.pipeline.registration import Registration
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.runtime import peak_memory_mib, reset_peak_memory
from dinoreg.settings.encoders import Dinov2, Encoder
from dinoreg.settings.load import load_preset
from dinoreg.space.kernels.choice import describe_kernels
from dinoreg.stage import StageBegins, StageEnded
from gpu_kernels import compare_kernels
from hash_fields import Case, cases, random_sam, random_vit_small
from image_pairs import read_image_pair
from regtask.dataset import read_dataset
from regtask.grid import Grid

_EXTENT_MM = (380.0, 300.0, 336.0)
_RENDERED_VOXELS = (
    200_000  # of an image; a larger one is interpolated, since rendering takes 10 s per million
)
_REAL = "AbdomenMRCT"
_SHORT = ("adam.0.iterations=5",)  # in a dry run
_DRY_CASES = ("convexadam", "ssd", "dinoreg-cpu")


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """What all steps are told: where to compute and to write, and how small a dry run is."""

    device: torch.device
    output: Path
    dry_run: bool
    data: Path | None

    def write(self, **found: Any) -> None:
        """Write what was found so far."""
        write_json(self.output, {"machine": machine(str(self.device)), "dry_run": self.dry_run, **found})

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    session = Session(torch.device(options.device), options.output, options.dry_run, options.data)
    ACTIONS[options.action](session, *options.arguments)


def machine(device: str) -> dict[str, Any]:
    """Return the card, its driver, versions and the commit; nothing of it has to be there."""
    found: dict[str, Any] = {
        "commit": _answer("git", "-C", str(ROOT), "rev-parse", "HEAD")
        or os.environ.get("DINOREG_REVISION", "unknown"),
        "device": device,
        "driver": _answer("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
    }
    if device.startswith("cuda") and torch.cuda.is_available():
        found["card"] = torch.cuda.get_device_name(device)
    else:
        found["card"] = platform.processor() or platform.machine()
    return found


def _answer(*command: str) -> str | None:
    """Return what a command says, if it is there and succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def run_tests(session: Session) -> None:
    """Run the tests that ask for a GPU."""
    marked = sorted(
        str(path) for path in (ROOT / "test").rglob("test_*.py") if "pytest.mark.gpu" in path.read_text()
    )
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
        # Other versions than the pinned ones warn of other things.
        command += ["-W", "default", f"--junitxml={report}", *marked]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        suite = ET.parse(report).getroot().find("testsuite") if report.is_file() else None
    counts = (
        {}
        if suite is None
        else {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    )
    session.write(counts=counts, files=[Path(path).name for path in marked])
    if code:
        sys.exit(code)


def compare_devices(session: Session) -> None:
    """Compare the fields of CPU and device, case by case, and the device with itself."""
    rows: list[dict[str, Any]] = []
    pairs = [
        phantom_pair((20, 18, 20) if session.dry_run else (64, 52, 56), number)
        for number in range(1 if session.dry_run else 2)
    ]
    with tempfile.TemporaryDirectory() as folder:
        vit, sam = Path(folder) / "dinov2_vits14_reg4_pretrain.pth", Path(folder) / "sam_vit_b_01ec64.pth"
        torch.save(random_vit_small(), vit)
        torch.save(random_sam(), sam)
        for case in cases(vit, sam):
            if session.dry_run and case.name not in _DRY_CASES:
                continue
            rows += _compare(session, case, pairs)
            session.write(cases=rows)
    if any("error" in row for row in rows):
        sys.exit("some cases failed")


def _compare(session: Session, case: Case, pairs: list[ImagePair]) -> list[dict[str, Any]]:
    config = load_preset(case.preset, (*case.overrides, *(_SHORT if session.dry_run else ())))
    rows = []
    for number, pair in enumerate(pairs):
        row: dict[str, Any] = {"case": case.name, "pair": PAIRS[number].name}
        try:
            on_cpu = register(pair, config, device=torch.device("cpu")).displacement
            first, second = (register(pair, config, device=session.device).displacement for _ in range(2))
        except Exception as error:  # the other cases are worth having
            row["error"] = f"{type(error).__name__}: {error}"[:500]
        else:
            distance = np.linalg.norm(first - on_cpu, axis=-1)
            row |= {
                "largest_voxels": float(distance.max()),
                "median_voxels": float(np.median(distance)),
                "percentile_99_voxels": float(np.percentile(distance, 99)),
                "moved_median_voxels": float(np.median(np.linalg.norm(on_cpu, axis=-1))),
                "repeats_bit_for_bit": bool(np.array_equal(first, second)),
                "repeat_largest_voxels": float(np.abs(first - second).max()),
            }
        print(row, flush=True)
        rows.append(row)
    return rows


def measure_speed(session: Session, preset: str, shape: str) -> None:
    """Register one pair twice, the first time to warm up, and report the stages."""
    pair, source = _pair(session, shape)
    kernels = describe_kernels(session.device)
    runs: list[dict[str, Any]] = []
    for run in ("first",) if session.dry_run else ("first", "second"):
        found, peaks, seconds = _register(session, preset, pair)
        runs.append(
            {
                "run": run,
                "seconds": round(seconds, 3),
                "peak_memory_mib": max(peaks.values()),
                "stages": [
                    stage.as_dict() | {"peak_memory_mib": peaks[number]}
                    for number, stage in enumerate(found.stages)
                ],
                "verdict": None if found.verdict is None else str(found.verdict),
            }
        )
        session.write(
            preset=preset, shape=list(pair.fixed.values.shape), pair=source, kernels=kernels, runs=runs
        )


def profile_stage(session: Session, preset: str, shape: str) -> None:
    """Write torch's table of operations of the slowest stage."""
    pair, source = _pair(session, shape)
    found, _, _ = _register(session, preset, pair)
    number = max(range(len(found.stages)), key=lambda n: found.stages[n].seconds)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if session.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    profiler, begun = torch.profiler.profile(activities=activities), 0

    def follow(event: StageBegins | StageEnded) -> None:
        nonlocal begun
        if isinstance(event, StageBegins):
            begun += 1
            if begun == number + 1:
                profiler.start()
        elif begun == number + 1:
            session.wait()
            profiler.stop()

    register(pair, _config(session, preset), device=session.device, on_stage=follow)
    order = "self_cuda_time_total" if session.device.type == "cuda" else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60)
    print(table)
    stage = found.stages[number]
    session.write(
        preset=preset,
        shape=list(pair.fixed.values.shape),
        pair=source,
        stage={"name": stage.name, "number": number, "seconds_unprofiled": stage.seconds},
        table=table.splitlines(),
    )


def _register(session: Session, preset: str, pair: ImagePair) -> tuple[Registration, dict[int, float], float]:
    peaks: dict[int, float] = {}

    def follow(event: StageBegins | StageEnded) -> None:
        if isinstance(event, StageBegins):
            reset_peak_memory(session.device)
        else:
            peaks[len(peaks)] = round(peak_memory_mib(session.device), 1)

    pool = EncoderPool(session.device, load=lambda one, device: _load(one, device, small=session.dry_run))
    config = _config(session, preset)
    pool.sources(config.features.encoders)  # loading is no part of a registration
    session.wait()
    begin = time.perf_counter()
    found = register(pair, config, device=session.device, pool=pool, on_stage=follow)
    return found, peaks, time.perf_counter() - begin


def _config(session: Session, preset: str) -> Any:
    coarse = ("features.cell_mm=8", "adam.0.cell_mm=8")
    coarse += ("features.encoders.0.up_sampling=1",) if preset.startswith("dinoreg") else ()
    return load_preset(preset, (*_SHORT, *coarse) if session.dry_run else ())


def _load(settings: Encoder, device: torch.device, *, small: bool) -> LoadedEncoder:
    """Load an encoder; a DINOv2 with random weights, since its official ones may not be there."""
    if not isinstance(settings, Dinov2):
        return load_encoder(settings, device)
    architecture = VARIANTS[settings.variant]
    if small:
        architecture = dataclasses.replace(architecture, width=64, depth=1, heads=2)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.device(device):
        torch.manual_seed(0)
        model = _empty_model(architecture)
    encoder = Dinov2Encoder(model, architecture, settings.normalisation).eval().requires_grad_(False)
    return LoadedEncoder(encoder.to(device))


def _pair(session: Session, shape: str) -> tuple[ImagePair, str]:
    """Return a real pair where there is one, or else the phantom's, and what it is."""
    size = (int(n) for n in shape.split("x"))
    if session.dry_run:
        return _noise_pair((next(size), next(size), next(size))), "smooth noise"
    path = session.data / _REAL / f"{_REAL}_dataset.json" if session.data else None
    if path is None or not path.is_file() or shape != "192x160x192":
        return phantom_pair((next(size), next(size), next(size)), 1), "phantom, MR to CT"
    dataset = read_dataset(path)
    first = dataset.pairs()[0]
    return read_image_pair(dataset, first), f"{_REAL} {first.case_key}"


def phantom_pair(shape: tuple[int, int, int], number: int) -> ImagePair:
    """Return a pair of the phantom at a size."""
    plan, rng = PAIRS[number], np.random.default_rng((0, number))
    factor = max(1.0, (np.prod(shape) / _RENDERED_VOXELS) ** (1 / 3))
    coarse = tuple(round(n / factor) for n in shape)
    lattices = [
        Lattice.centred(size, tuple(mm / n for mm, n in zip(_EXTENT_MM, size, strict=True)), (0.0, -5.0, 8.0))
        for size in (coarse, shape)
    ]
    bodies = plan.patients(rng)
    motions = plan.deformation(rng), SmoothDeformation()
    scans = []
    for body, motion, (_, modality) in zip(bodies, motions, (plan.fixed, plan.moving), strict=True):
        image = render(modality, Anatomy.of(body), motion, lattices[0], rng).intensities
        scans.append(Scan(_resized(image, shape), Grid(shape, lattices[1].affine), modality=modality))
    return ImagePair(*scans)


def _noise_pair(shape: tuple[int, int, int]) -> ImagePair:
    """Return a volume and the same moved by one voxel, for a dry run: the phantom takes seconds."""
    rng = np.random.default_rng(0)
    values = 1000 * ndimage.gaussian_filter(rng.standard_normal(shape), 2).astype(np.float32)
    grid = Grid(shape, np.diag([4.0, 4.5, 5.0, 1.0]))
    return ImagePair(*(Scan(np.roll(values, shift, axis=0), grid, modality="MR") for shift in (0, 1)))


def _resized(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if image.shape == shape:
        return image.astype(np.float32)
    ratio = [n / m for n, m in zip(shape, image.shape, strict=True)]
    resized: NDArray[np.float32] = ndimage.zoom(
        image.astype(np.float32), ratio, order=1, mode="nearest", grid_mode=True
    )
    return resized


ACTIONS: dict[str, Callable[..., None]] = {
    "tests": run_tests,
    "kernels": compare_kernels,
    "agreement": compare_devices,
    "speed": measure_speed,
    "profile": profile_stage,
}

if __name__ == "__main__":
    main()
