"""The OncoReg call: `./test.sh TASK Val|Ts`, data in /oncoreg/data, fields to /oncoreg/results.

The task's description is taken from the data; where the data has none, from those that come with the program.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from dinoreg.cli.edge import guarded
from dinoreg.cli.platforms.options import container_arguments, container_parser
from dinoreg.cli.task_run import run
from dinoreg.weights.search import WEIGHTS_VARIABLE
from regtask.errors import DataError, Fault

_SPLITS = MappingProxyType({"Tr": "train", "Val": "val", "Ts": "test"})
_DESCRIPTIONS = Path("/opt/dinoreg/datasets_json")  # where the image keeps them


def main(arguments: Sequence[str] | None = None) -> int:
    """Register one part of a task; returns the exit code."""
    parser = container_parser(__doc__)
    parser.add_argument("task", metavar="TASK", help="such as ThoraxCBCT or OncoReg")
    parser.add_argument("part", choices=tuple(_SPLITS), help="training, validation or test pairs")
    parser.add_argument(
        "--root", type=Path, default=Path("/oncoreg"), metavar="DIR", help="of data and results"
    )
    parser.add_argument(
        "--descriptions",
        type=Path,
        default=_DESCRIPTIONS,
        metavar="DIR",
        help="descriptions for data without one",
    )
    options = parser.parse_args(container_arguments(arguments))

    def job() -> None:
        options.output = options.root / "results"
        options.split = _SPLITS[options.part]
        options.data_dir = options.data_dir or options.root / "data"
        options.dataset = find_description(options.task, options.data_dir, options.descriptions)
        _use_mounted_weights(options.root / "model")
        run(options)

    return guarded(job, options)


def find_description(task: str, data: Path, descriptions: Path) -> Path:
    """Return `TASK_dataset.json` of the data, else of the descriptions.

    Raises:
        DataError: neither has one.
    """
    name = f"{task}_dataset.json"
    found = next((folder / name for folder in (data, descriptions) if (folder / name).is_file()), None)
    if found is None:
        known = sorted(
            path.name.removesuffix("_dataset.json") for path in descriptions.glob("*_dataset.json")
        )
        raise DataError(
            Fault(
                "no description of the task",
                f"{data / name} or {descriptions / name}",
                f"a task among {', '.join(known)}" if known else "",
                task,
                "add the dataset JSON to the data",
            )
        )
    if found.parent == descriptions:
        logging.getLogger(__name__).warning("the data has no %s: using %s", name, found)
    return found


def _use_mounted_weights(model: Path) -> None:
    """Let weights in the folder that this call mounts for models count, unless others were named."""
    if model.is_dir() and any(model.iterdir()):
        os.environ.setdefault(WEIGHTS_VARIABLE, str(model))


if __name__ == "__main__":
    sys.exit(main())
