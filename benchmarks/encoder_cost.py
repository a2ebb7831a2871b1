"""What it costs to train `dino3d` by each preset: operations counted, seconds of a step measured.

    python benchmarks/bench_encoder.py cost                        # counts, and two steps of small views
    python benchmarks/bench_encoder.py cost --size 128 --batch 4 --presets vit --device cuda:0

Operations are two per multiply-add, counted on tensors without content, for one view of the preset's size:
those of the network, forward and backward, without heads and drawing. A step sees two views per pair; with
self-distillation the teacher sees them too. Seconds are those of loss, gradient and update on noise, median,
the first left out: of the clock on a GPU, of the processor on a CPU, which others may use as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common import ROOT, provenance, write_json
from dinoreg.pretrain.objective.branch import build_network
from dinoreg.pretrain.objective.learner import Learner
from dinoreg.pretrain.presets import PRESETS
from dinoreg.pretrain.settings import PretrainConfig, load_pretrain_config
from dinoreg.pretrain.views.pair import ViewPair
from dinoreg.runtime import choose_device, peak_memory_mib

_POINTS = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this measurement."""
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--size", type=int, default=48, help="voxels per axis of the views that are timed")
    parser.add_argument("--batch", type=int, default=1, help="pairs per step that is timed")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/encoder_cost.json")


def run(options: argparse.Namespace) -> None:
    """Count, measure, write and print."""
    found, device = provenance(), choose_device(options.device)
    rows = []
    for preset in options.presets:
        config = load_pretrain_config(None, options.set, preset=preset)
        small = (f"views.size={options.size}", f"training.batch={options.batch}")
        timed = load_pretrain_config(None, [*options.set, *small], preset=preset).on(device.type)
        seconds = measure(timed, device, options.steps)
        rows.append({"preset": preset, **count(config), **timing(config, timed, seconds)})
    threads = torch.get_num_threads()
    write_json(
        options.output,
        {
            "provenance": found,
            "device": str(device),
            "threads": threads,
            "peak_mib": peak_memory_mib(device),
            "rows": rows,
        },
    )
    print(f"{device}, {threads} threads", format_table(rows), sep="\n")


def count(config: PretrainConfig) -> dict[str, Any]:
    """Return parameters and operations of one view, one step and the whole training."""
    forward, both = operations(config)
    views = 2 * config.training.batch
    step = views * (both + (forward if config.dino.weight else 0))
    with torch.device("meta"):
        network = build_network(config)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "size": config.views.size,
        "batch": config.training.batch,
        "steps": config.training.steps,
        "view_tera": forward / 1e12,
        "step_tera": step / 1e12,
        "training_exa": step * config.training.steps / 1e18,
    }


def operations(config: PretrainConfig) -> tuple[int, int]:
    """Return the operations of one view forward, and forward and backward."""
    found = []
    for backward in (False, True):
        with torch.device("meta"):
            network = build_network(config)
            image = torch.zeros(1, 1, *[config.views.size] * 3)
        counter = FlopCounterMode(display=False)
        with sdpa_kernel(SDPBackend.MATH), counter:
            features = network.head(network.levels(image)[0])
            if backward:
                features.sum().backward()
        found.append(counter.get_total_flops())
    return found[0], found[1]


def measure(config: PretrainConfig, device: torch.device, steps: int) -> float:
    """Return the seconds of a step, median."""
    learner = Learner(config, device)
    optimiser = torch.optim.AdamW(learner.student.parameters(), lr=config.training.learning_rate)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds = []
    for step in range(steps + 1):
        pairs = [
            _noise(config.views.size, step * config.training.batch + n) for n in range(config.training.batch)
        ]
        begin = clock()
        loss, _ = learner.loss(pairs, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        learner.follow(step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(clock() - begin)
    return statistics.median(seconds[1:])


def timing(config: PretrainConfig, timed: PretrainConfig, seconds: float) -> dict[str, Any]:
    """Return what was timed, and how long the whole would take at that rate."""
    rate = count(timed)["step_tera"] / seconds
    return {
        "timed_size": timed.views.size,
        "timed_batch": timed.training.batch,
        "seconds": seconds,
        "tera_per_second": rate,
        "training_days": count(config)["step_tera"] / rate * config.training.steps / 86_400,
    }


def format_table(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table."""
    lines = [
        "| preset | parameters | view | TFLOP per view | per step | EFLOP, all steps |"
        " timed step | s | days at that rate |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        lines.append(
            f"| `{row['preset']}` | {row['parameters'] / 1e6:.1f} M | {row['size']}^3 |"
            f" {row['view_tera']:.2f} | {row['step_tera']:.1f} ({row['batch']} pairs) |"
            f" {row['training_exa']:.3g} ({row['steps']} steps) |"
            f" {row['timed_batch']} x {row['timed_size']}^3 | {row['seconds']:.2f} |"
            f" {row['training_days']:.3g} |"
        )
    return "\n".join(lines)


def _noise(size: int, seed: int) -> ViewPair:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, size, size, size, generator=generator)
    points = torch.rand(2, _POINTS, 3, generator=generator) * (size - 1)
    return ViewPair(images, torch.ones_like(images, dtype=torch.bool), points)
