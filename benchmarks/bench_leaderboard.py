"""The leaderboard of our presets on two real tasks: register, evaluate, rank, and take the page's picture.

    python benchmarks/bench_leaderboard.py --data ../shared/data --work /tmp/leaderboard

Fields and metrics are kept in the work folder, and a run that was interrupted goes on where it stopped. The
tables go to benchmarks/results, the picture (of the first task) to docs; it needs Chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import ROOT, provenance, write_json

TASKS = ("HippocampusMR", "AbdomenMRMR")
PRESETS = ("identity", "start-only", "convexadam", "mind")
METHODS = ("l2r", "wilcoxon-holm")
PICTURE_SIZE = "1280,1290"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def main() -> None:
    """Do what is missing in the work folder, then rank and print both leaderboards of each task."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--work", type=Path, required=True, help="folder for fields, metrics and pages")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="pairs evaluated at once")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/leaderboard")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/leaderboard.png")
    options = parser.parse_args()

    for task in options.tasks:
        runs = [f"{preset}={_metrics(task, preset, options)}" for preset in options.presets]
        for method in METHODS:
            board = options.work / task / f"leaderboard-{method}"
            _call("regeval", "rank", *runs, "--method", method, "--output", str(board))
            options.results.mkdir(parents=True, exist_ok=True)
            shutil.copy(board / "leaderboard.csv", options.results / f"{task}-{method}.csv")
        write_json(options.results / f"{task}-provenance.json", provenance())
    page = options.work / options.tasks[0] / "leaderboard-wilcoxon-holm" / "leaderboard.html"
    take_picture(page, options.picture)
    print(f"{page}\n{options.picture}")


def take_picture(page: Path, picture: Path) -> None:
    """Write the top of a page as PNG.

    Raises:
        RuntimeError: without a browser.
    """
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise RuntimeError("no Chromium for the picture: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        profile, raw = f"--user-data-dir={folder}/profile", Path(folder, "page.png")
        command = [browser, *_BROWSER_FLAGS, profile, f"--window-size={PICTURE_SIZE}", f"--screenshot={raw}"]
        subprocess.run([*command, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        shutil.move(raw, picture)


def _metrics(task: str, preset: str, options: argparse.Namespace) -> Path:
    """Register and evaluate, unless that was done before."""
    data = options.data / task
    fields, metrics = options.work / task / preset, options.work / task / f"{preset}.json"
    if not metrics.is_file():
        description = str(data / f"{task}_dataset.json")
        fields.parent.mkdir(parents=True, exist_ok=True)
        _call(
            "dinoreg.cli.main",
            *("run", "--dataset", description, "--output", str(fields), "--preset", preset),
            *("--device", options.device, "--resume"),
        )
        _call(
            "regeval",
            *("evaluate", "--dataset", description, "--predictions", str(fields)),
            *("--output", str(metrics), "--jobs", str(options.jobs)),
        )
    return metrics


def _call(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    main()
