"""Encode one made-up volume by `dino3d` and print times and memory as JSON; bench_encoder.py runs it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from dinoreg.encoders.dino3d.encoder import Dino3dEncoder, encode_dino3d
from dinoreg.encoders.registry import load_encoder
from dinoreg.runtime import choose_device, peak_memory_mib
from dinoreg.settings.config import Dino3d
from dinoreg.space.lattice import make_lattice

CELL_MM = 4.0  # of the lattice that the preset keeps features on


def main(shape: tuple[int, ...], threads: int, weights: str, device_name: str) -> None:
    """Encode a volume of the voxels that the network was trained on."""
    torch.set_num_threads(threads)
    device = choose_device(device_name)
    imported_mib = peak_memory_mib(torch.device("cpu"))
    begin = time.perf_counter()
    loaded = load_encoder(Dino3d(weights=weights), device)
    encoder = loaded.encoder
    assert isinstance(encoder, Dino3dEncoder)
    assert loaded.weights is not None
    load_seconds = time.perf_counter() - begin
    coarse = np.random.default_rng(0).random([max(2, n // 4) for n in shape], dtype=np.float32)
    zoomed = ndimage.zoom(coarse, [n / m for n, m in zip(shape, coarse.shape, strict=True)], order=1)
    values = torch.from_numpy(zoomed).to(device)
    lattice = make_lattice(shape, [encoder.spacing_mm] * 3, CELL_MM)
    begin = time.perf_counter()
    with torch.no_grad():
        found = encode_dino3d(
            encoder,
            values,
            lattice,
            working_mm=encoder.spacing_mm,
            precision=torch.float16 if device.type == "cuda" else torch.float32,
        )
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - begin
    report = {
        "load_seconds": load_seconds,
        "encode_seconds": seconds,
        "imported_mib": imported_mib,
        "peak_mib": peak_memory_mib(device),
        "grid": list(found.grid),
        "tiles": found.tiles,
        "weights": loaded.weights.sha256,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    sizes, threads, path, device = sys.argv[1:]
    main(tuple(int(n) for n in sizes.split("x")), int(threads), path and str(Path(path).resolve()), device)
