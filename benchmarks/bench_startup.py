"""How long the container images take to start: to say their version, to help, to do a first pair.

    python benchmarks/bench_startup.py [--image dinoreg:VERSION] [--evaluation-image regeval:VERSION]

Median over some starts, each a `docker run` as shut in as on a platform, in turn, so that other work on the
machine meets all alike; and the processor time of one, which such work changes less. Pairs are done once.
`true` is a container that does nothing: what Docker itself takes. The pair is the small phantom's, of
64 x 52 x 56 voxels, with and without the kernels that the image brings. Needs a Docker engine, and the images
that ./build.sh makes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from common import ROOT, provenance, write_json
from dinoreg.phantom import write_phantom_task
from regtask import read_dataset, read_header, write_field
from regtask.names import field_names

_SHUT_IN = ("--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/output")
_PAIR = ("--preset", "mind")
_TRUTH = "/opt/ml/input/data/ground_truth"
_COMPILED = (
    "import json; from dinoreg.space.kernels.cache import compile_kernels;"
    "print(json.dumps(compile_kernels()))"
)
# Does what the entry of the image does, and says its processor time.
_CLOCKED = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", *sys.argv[1:]], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
sys.exit(done.returncode)
"""
_ENTRIES = {"dinoreg": "dinoreg.cli.platforms.entry", "regeval": "regeval.cli.container"}
# What is started, in words, in the order of the table.
WHAT = {
    "true": "`true`: what Docker takes",
    "version": "`IMAGE --version`",
    "help": "`IMAGE --help`",
    "pair": "one small pair, `--preset mind`",
    "pair compiled": "the same without the image's kernels",
    "evaluation": "scores of a field for that pair",
}


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    version = metadata.version("dinoreg")
    parser.add_argument("--image", default=f"dinoreg:{version}")
    parser.add_argument("--evaluation-image", default=f"regeval:{version}")
    parser.add_argument("--starts", type=int, default=5, help="of each")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/startup.json")
    options = parser.parse_args()
    before = provenance()
    tags = {"dinoreg": options.image, "regeval": options.evaluation_image}
    with tempfile.TemporaryDirectory() as name:
        calls = prepare(Path(name), options.image, options.evaluation_image)
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
        for number in range(options.starts + 1):
            for key, command in calls.items():
                if key[1].startswith("pair"):
                    continue
                taken = start(command)
                if number:  # the first start reads the image's files from the disk
                    seconds[key].append(taken)
                print(f"{taken:6.2f} s  {' '.join(key)}{'' if number else ', not counted'}", flush=True)
        processor: dict[tuple[str, str], float | None] = {}
        for key, command in calls.items():
            begin = time.perf_counter()
            processor[key] = processor_seconds(key[0], tags[key[0]], command)
            if not seconds[key]:
                seconds[key].append(time.perf_counter() - begin)
            print(f"processor: {processor[key]} s  {' '.join(key)}", flush=True)
        compiled = json.loads(_output(["run", *_SHUT_IN, *_python(options.image, _COMPILED)]))
    rows = [
        {
            "image": image,
            "what": what,
            "seconds": [round(one, 3) for one in values],
            "cpu_seconds": processor[image, what],
        }
        for (image, what), values in seconds.items()
    ]
    write_json(options.output, {"provenance": before, "kernels_compiled": compiled, "rows": rows})
    print(table(rows))


def prepare(folder: Path, image: str, evaluation_image: str) -> Mapping[tuple[str, str], Sequence[str]]:
    """Write a task of one pair and a field; returns what is started: (image, what) -> arguments of docker."""
    description = write_phantom_task(folder / "task", size="small")
    content = json.loads(description.read_text(encoding="utf-8"))
    content["registration_val"] = content["registration_val"][:1]
    content["numRegistration_val"] = 1
    description.write_text(json.dumps(content), encoding="utf-8")
    (pair,) = read_dataset(description).pairs("val")
    (folder / "fields").mkdir()
    grid = read_header(pair.fixed).grid
    for name in field_names(pair.fixed_id, pair.moving_id, "long"):
        write_field(folder / "fields" / name, np.zeros((*grid.shape, 3), np.float32), grid)
    for place in (folder, *folder.rglob("*")):  # the images' users are none of this machine's
        place.chmod(0o755 if place.is_dir() else 0o644)
    task, truth = ("--volume", f"{description.parent}:/input:ro"), f"{description.parent}:{_TRUTH}:ro"
    calls: dict[tuple[str, str], Sequence[str]] = {}
    for kind, one in (("dinoreg", image), ("regeval", evaluation_image)):
        calls[kind, "true"] = ("--entrypoint", "true", one)
        calls[kind, "version"] = (one, "--version")
        calls[kind, "help"] = (one, "--help")
    calls["dinoreg", "pair"] = (*task, image, *_PAIR)
    calls["dinoreg", "pair compiled"] = (*task, "--env", "DINOREG_KERNELS=", image, *_PAIR)
    judged = ("--volume", f"{folder / 'fields'}:/input:ro", "--volume", truth)
    calls["regeval", "evaluation"] = (*judged, evaluation_image)
    return {key: ("run", *_SHUT_IN, *call) for key, call in calls.items()}


def start(arguments: Sequence[str]) -> float:
    """Run a container to its end; returns seconds."""
    begin = time.perf_counter()
    _output(arguments)
    return time.perf_counter() - begin


def processor_seconds(kind: str, tag: str, arguments: Sequence[str]) -> float | None:
    """Run the entry of an image under a clock of processor time; None where another entry is asked for."""
    if "--entrypoint" in arguments:
        return None
    image = arguments.index(tag)
    clocked = ("--entrypoint", "python", tag, "-c", _CLOCKED, _ENTRIES[kind])
    said = _output((*arguments[:image], *clocked, *arguments[image + 1 :]))
    return round(float(said.splitlines()[-1]), 2)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as Markdown: the median, the range in brackets, and processor time."""
    images = tuple(dict.fromkeys(row["image"] for row in rows))
    cells = {
        (row["image"], row["what"]): f"{statistics.median(row['seconds']):.1f} s"
        + (f" ({min(row['seconds']):.1f} to {max(row['seconds']):.1f})" if len(row["seconds"]) > 1 else "")
        + (f"; {row['cpu_seconds']:.1f} s" if row["cpu_seconds"] is not None else "")
        for row in rows
    }
    lines = [f"| start | {' | '.join(images)} |", "|---" * (len(images) + 1) + "|"]
    for what, words in WHAT.items():
        lines.append(f"| {words} | {' | '.join(cells.get((image, what), '') for image in images)} |")
    return "\n".join(lines)


def _python(image: str, code: str) -> tuple[str, ...]:
    return ("--entrypoint", "python", image, "-c", code)


def _output(arguments: Sequence[str]) -> str:
    """Call Docker; returns what it printed.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"docker {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-2000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    main()
