"""Entry of the container: what a challenge platform mounts becomes one call of `regeval evaluate`.

Zip phase: the fields lie in /input, or one .zip or .tar.gz with them does. Algorithm phase: predictions.json
in /input lists jobs and their outputs. The ground truth is a Learn2Reg task, with its configuration where it
has one. Scores go to /output/metrics.json. A verb is run instead, if one is given.
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regeval.cli.command_line import VERBS, version
from regeval.cli.command_line import main as run_command
from regeval.inputs.algorithm_phase import PREDICTIONS, gather_fields
from regeval.inputs.config import read_config
from regeval.inputs.tar_archive import is_tar
from regtask.dataset import read_dataset
from regtask.documents import read_json
from regtask.errors import DataError, Fault
from regtask.pair import Pair
from regtask.untrusted.edge import run_guarded
from regtask.verify import raise_for

# Platforms start a container without arguments: those of this variable come before any that are given.
ARGUMENTS_VARIABLE = "REGEVAL_ARGUMENTS"
_CONFIG_NAME = "evaluation_config.json"
_ROLES = ("fixed", "moving", "field")


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate what is mounted, or run a verb.

    Args:
        arguments: options of `regeval evaluate`, beside those of the container, or a verb with its own; None:
            the process's.

    Returns:
        Exit status of `regeval evaluate`, or of the error that came before it.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in VERBS:
        return run_command(given)
    words = [*shlex.split(os.environ.get(ARGUMENTS_VARIABLE, "")), *given]
    options, others = _parser().parse_known_args(words)

    def job() -> int:
        truth = find_truth(options.ground_truth)
        with tempfile.TemporaryDirectory(prefix="regeval-") as folder:
            submission, unusable = options.input, None
            if (options.input / PREDICTIONS).is_file():
                submission = Path(folder)
                found = gather_fields(options.input, truth.pairs, _slugs(options.socket), submission)
                raise_for(found.unassigned)
                unusable = found.by_case
            elif archive := _only_archive(options.input):
                submission = archive
            mounted = ["--predictions", str(submission), "--output", str(options.output / "metrics.json")]
            mounted += truth.arguments
            return run_command(["evaluate", *mounted, "--strict-json", *others], unusable=unusable)

    return run_guarded("regeval", job, vars(options).values())


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth: how `regeval evaluate` is told of it, and its pairs."""

    arguments: list[str]
    pairs: tuple[Pair, ...]


def find_truth(folder: Path) -> Truth:
    """Return what the folder of the ground truth offers.

    It is `evaluation_config.json`, or the one JSON file there that lists evaluation methods; where there is
    none, the one `*_dataset.json`, of whose pairs is judged what lies beside the images.

    Raises:
        DataError: there is neither, or more than one.
    """
    configs = [path for path in sorted(folder.glob("*.json")) if _lists_methods(path)]
    if (folder / _CONFIG_NAME).is_file():
        configs = [folder / _CONFIG_NAME]
    if len(configs) == 1:
        arguments = ["--config", str(configs[0]), "--data", str(folder)]
        return Truth(arguments, read_config(configs[0], folder).pairs)
    datasets = sorted(folder.glob("*_dataset.json"))
    if not configs and len(datasets) == 1:
        return Truth(["--dataset", str(datasets[0])], read_dataset(datasets[0]).pairs("auto"))
    raise DataError(
        Fault(
            "one evaluation configuration is needed",
            str(folder),
            f"{_CONFIG_NAME}, one JSON file with evaluation_methods, or one *_dataset.json",
            ", ".join(path.name for path in configs or datasets) or "none",
            "make one with `regeval config`, and mount the ground truth there",
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="regeval",
        description=__doc__,
        epilog=f"Other options: those of `regeval evaluate`. Those in ${ARGUMENTS_VARIABLE} are read first. "
        f"Or a verb with its own options: {', '.join(VERBS)}; `rank --help` explains that one.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version())
    parser.add_argument("--input", type=Path, default=Path("/input"), metavar="DIR")
    parser.add_argument("--output", type=Path, default=Path("/output"), metavar="DIR")
    parser.add_argument(
        "--ground-truth", type=Path, default=Path("/opt/ml/input/data/ground_truth"), metavar="DIR"
    )
    parser.add_argument(
        "--socket",
        action="append",
        default=[],
        metavar="PART=SLUG",
        help=f"algorithm phase: slug of {', '.join(_ROLES)}; default: found by the slugs' words",
    )
    return parser


def _slugs(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    faults = [
        Fault("not a socket", f"--socket {''.join(pair)}", f"PART=SLUG, PART one of {', '.join(_ROLES)}")
        for pair in pairs
        if pair[0] not in _ROLES or not pair[2]
    ]
    raise_for(faults)
    return {part: slug for part, _, slug in pairs}


def _lists_methods(path: Path) -> bool:
    try:
        content = read_json(path)
    except DataError:
        return False
    return isinstance(content, dict) and "evaluation_methods" in content


def _only_archive(folder: Path) -> Path | None:
    """Return the archive of a folder that holds one, and nothing else but files of file managers."""
    files = [path for path in folder.glob("*") if not path.name.startswith((".", "__MACOSX"))]
    if len(files) == 1 and (files[0].suffix.lower() == ".zip" or is_tar(files[0])):
        return files[0]
    return None


if __name__ == "__main__":
    sys.exit(main())
