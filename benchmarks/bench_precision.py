"""How far the tokens of a ViT in float16 and bfloat16 are from those in float32.

    python benchmarks/bench_precision.py

A ViT-S/14 with random weights on a slice of noise, on the CPU, whose autocast rounds as a GPU's does but adds
up in another order. Results: benchmarks/results/precision.json.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from common import ROOT, provenance, write_json
from dinoreg.encoders.pca import fit_basis
from dinoreg.encoders.registry import load_encoder
from dinoreg.settings.encoders import Dinov2
from hash_fields import random_vit_small

_CPU = torch.device("cpu")
_SIDE = 14 * 20  # pixels
_COMPONENTS = 24


def main() -> None:
    """Measure, write and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dinov2_vits14_reg4_pretrain.pth"
        torch.save(random_vit_small(), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        loaded = load_encoder(Dinov2(variant="vits14-reg", weights=str(path), sha256=digest), _CPU)
    torch.manual_seed(0)
    slices = F.interpolate(torch.rand(2, 1, 20, 20), size=(_SIDE, _SIDE), mode="bicubic").clamp(0, 1)
    tokens = {dtype: _tokens(loaded.encoder, slices, dtype) for dtype in ("float32", "float16", "bfloat16")}
    basis = fit_basis([tokens["float32"]], _COMPONENTS)
    rows = []
    for dtype in ("float16", "bfloat16"):
        row = {"dtype": dtype, "tokens_percent": _percent(tokens[dtype], tokens["float32"])}
        projected = [basis.project(tokens[name]) for name in (dtype, "float32")]
        rows.append(row | {"components_percent": _percent(*projected)})
    results: dict[str, Any] = {"provenance": provenance(), "rows": rows}
    write_json(ROOT / "benchmarks/results/precision.json", results)
    print(rows)


@torch.no_grad()
def _tokens(encoder: Any, slices: torch.Tensor, dtype: str) -> torch.Tensor:
    """(N, D) float32."""
    with torch.autocast("cpu", dtype=getattr(torch, dtype), enabled=dtype != "float32"):
        patches = encoder(slices).patches
    return patches.float().movedim(1, -1).flatten(0, 2)


def _percent(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean squared difference, as a share of the spread around the mean token."""
    spread = (expected - expected.mean(dim=0)).square().mean().sqrt()
    return float(100 * (found - expected).square().mean().sqrt() / spread)


if __name__ == "__main__":
    main()
