"""Pipes, folders, sockets, devices and links to nothing where files are expected."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from campaign import commands
from campaign.builders import mha
from campaign.case import Case, words
from campaign.cases.metaimages import write_job
from campaign.task import FIELD

Command = Callable[[Path], list[str]]


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket may have 107 characters
        one.bind(path.name)
        os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "socket": _socket,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a folder": lambda path: path.symlink_to("/"),
}


def _job(folder: Path) -> list[str]:
    write_job(folder, mha())
    return commands.job(folder)


def _jobs(folder: Path) -> list[str]:
    (folder / "input").mkdir()
    return commands.phase(folder)


def _config(folder: Path) -> list[str]:
    (folder / "x.toml").write_text("")
    return commands.run(folder, "--config", folder / "x.toml")


def _field_to_warp(folder: Path) -> list[str]:
    return commands.warp(folder, "image", folder / "task/imagesTr/Knee_0001_0001.nii.gz")


def _points_to_warp(folder: Path) -> list[str]:
    return commands.warp(
        folder, "landmarks", folder / "task/landmarksTr/Knee_0001_0000.csv", "--space", "voxel"
    )


def _archive(folder: Path) -> list[str]:
    (folder / "x.zip").write_bytes(b"")
    return words("check", "--predictions", folder / "x.zip", "--dataset", folder / "task/Knee_dataset.json")


# What is replaced -> its path, the program, the command, and its exit codes.
PLACES: dict[str, tuple[str, str, Command, frozenset[int]]] = {
    "dataset": ("task/Knee_dataset.json", "dinoreg", commands.run, frozenset({3})),
    "dataset to score": ("task/Knee_dataset.json", "regeval", commands.evaluate, frozenset({3})),
    "evaluation configuration": ("task/config.json", "regeval", commands.evaluate_config, frozenset({3})),
    "registration configuration": ("x.toml", "dinoreg", _config, frozenset({2})),
    "fixed image": ("task/imagesTr/Knee_0001_0000.nii.gz", "dinoreg", commands.run, frozenset({3})),
    "moving image to score": (
        "task/imagesTr/Knee_0001_0001.nii.gz",
        "regeval",
        commands.evaluate,
        frozenset({3}),
    ),
    "label map": ("task/labelsTr/Knee_0001_0001.nii.gz", "regeval", commands.evaluate, frozenset({3})),
    "mask": ("task/masksTr/Knee_0001_0000.nii.gz", "regeval", commands.evaluate, frozenset({3})),
    "mask to register with": ("task/masksTr/Knee_0001_0000.nii.gz", "dinoreg", commands.run, frozenset({3})),
    "landmarks": ("task/landmarksTr/Knee_0001_0001.csv", "regeval", commands.evaluate, frozenset({3})),
    "landmarks of a configuration": (
        "task/landmarksTr/Knee_0001_0000.csv",
        "regeval",
        commands.evaluate_config,
        frozenset({3}),
    ),
    "landmarks to warp": ("task/landmarksTr/Knee_0001_0000.csv", "dinoreg", _points_to_warp, frozenset({3})),
    "field": (f"task/fields/{FIELD}", "regeval", commands.evaluate, frozenset({3})),
    "field to check": (f"task/fields/{FIELD}", "regeval", commands.check, frozenset({1, 3})),
    "field to warp with": (f"task/fields/{FIELD}", "dinoreg", _field_to_warp, frozenset({3})),
    "archive": ("x.zip", "regeval", _archive, frozenset({1, 3})),
    "metrics": ("task/b.json", "regeval", commands.rank, frozenset({3})),
    "image of a job": ("input/images/moving-mr/moving.mha", "container", _job, frozenset({3})),
    "list of a job": ("input/inputs.json", "container", _job, frozenset({3})),
    "list of predictions": ("input/predictions.json", "evaluation", _jobs, frozenset({3})),
}
# Outputs in whose place something stands.
OUTPUTS: dict[str, tuple[str, str, Command]] = {
    "folder of fields": ("out", "dinoreg", commands.run),
    "metrics file": ("metrics.json", "regeval", commands.evaluate),
    "leaderboard": ("board", "regeval", commands.rank),
    "warped points": ("warped.csv", "dinoreg", _points_to_warp),
}


def _replaced(path: str, place: Callable[[Path], object], command: Command) -> Command:
    def make(folder: Path) -> list[str]:
        arguments = command(folder)
        target = folder / path
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        place(target)
        return arguments

    return make


def _may_be_accepted(kind: str, name: str) -> bool:
    # A folder, or a link to one, may be a submission; a link out of the submission is refused.
    return name == "archive" and "folder" in kind


def cases() -> Iterator[Case]:
    for kind, place in KINDS.items():
        for name, (path, program, command, codes) in PLACES.items():
            allowed = codes | {0} if _may_be_accepted(kind, name) else codes
            if name == "list of predictions" and kind != "endless device":
                allowed = frozenset({3})
            yield Case(f"{kind} in place of {name}", program, _replaced(path, place, command), allowed)
        for name, (path, program, command) in OUTPUTS.items():
            # What can be written to, or replaced whole, may be.
            codes = frozenset({0, 3, 4})
            yield Case(
                f"{kind} in place of the output: {name}", program, _replaced(path, place, command), codes
            )
