"""Examples, a line or two for every verb, at the end of its `--help`."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType

_WIDTH = 78
# Verb, and action where it has some -> calls that work as they stand, but for the names of files.
EXAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": (
            "dinoreg run --dataset TASK_dataset.json --output OUT",
            "dinoreg run --dataset TASK_dataset.json --output OUT --preset mind --set adam.0.iterations=50",
        ),
        "register": (
            "dinoreg register --fixed plan.nii.gz --moving ct2.mha --labels organs.mha --output OUT",
            "dinoreg register --fixed FOLDER --fixed-series 1.2.840.1 --moving m.nrrd --output OUT --inverse",
        ),
        "apply": (
            "dinoreg apply --transform OUT/transform.h5 --labels l.mha --reference plan.mha --output o.mha",
            "dinoreg apply --transform OUT/transform.h5 --rtstruct RS.dcm --moving CT1 --reference CT2"
            " --output RS2.dcm",
            "dinoreg apply --transform OUT/transform.h5 --points tips.fcsv --output tips_in_moving.fcsv",
        ),
        "judge": (
            "dinoreg judge --fixed plan.mha --moving ct2.mha --transform 1Warp.nii.gz",
            "dinoreg judge --fixed f.nii.gz --moving m.nii.gz --transform OUT/transform.h5 --json --strict",
        ),
        "report": (
            "dinoreg report OUT",
            "dinoreg report OUT --dataset TASK_dataset.json",
        ),
        "transform info": (
            "dinoreg transform info OUT/transform.h5",
            "dinoreg transform info 1Warp.nii.gz --fixed fixed.nii.gz --json",
        ),
        "transform convert": (
            "dinoreg transform convert --transform OUT/transform.h5 --output 1Warp.nii.gz",
            "dinoreg transform convert --transform TransformParameters.1.txt --output t.h5",
            "dinoreg transform convert --transform disp.npz --fixed f.mha --moving m.mha --output t.h5",
        ),
        "transform invert": (
            "dinoreg transform invert --transform OUT/transform.h5 --moving moving.mha --output inverse.h5",
        ),
        "transform compose": (
            "dinoreg transform compose --transform 1Warp.nii.gz 0GenericAffine.mat --output both.h5",
        ),
        "transform jacobian": (
            "dinoreg transform jacobian --transform OUT/transform.h5 --output det.nii.gz --strain s.nrrd",
        ),
        "warp": (
            "dinoreg warp --field disp_0001_0000_0001_0001.nii.gz --image m.nii.gz --output warped.nii.gz",
            "dinoreg warp --field F.nii.gz --landmarks p.csv --space voxel --output moved.csv --learn2reg",
        ),
        "presets": ("dinoreg presets",),
        "config show": ("dinoreg config show auto > mine.toml",),
        "config check": ("dinoreg config check mine.toml",),
        "ablate": ("dinoreg ablate --dataset TASK_dataset.json --output OUT --preset mind",),
        "tune": (
            "dinoreg tune --dataset TASK_dataset.json --output task.toml --trials 20",
            "dinoreg run --dataset TASK_dataset.json --output OUT --config task.toml",
        ),
        "motion train": ("dinoreg motion train --dataset CINE.json --output RUN",),
        "motion track": (
            "dinoreg motion track --weights RUN --frames cine.nii.gz --template 0 --labels first.nii.gz"
            " --output OUT",
        ),
        "motion evaluate": ("dinoreg motion evaluate --dataset CINE.json --weights RUN --output OUT",),
        "pretrain": ("dinoreg pretrain --output RUN --set training.steps=20000",),
        "weights list": ("dinoreg weights list",),
        "weights verify": ("dinoreg weights verify vits14-reg",),
        "weights fetch": ("dinoreg weights fetch vits14-reg --output weights",),
        "job": ("dinoreg job --fixed plan.mha --moving ct2.mha --output JOB --socket fixed=planning-ct",),
        "phantom": ("dinoreg phantom --output TASK --size small",),
    }
)


def verbs_of(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every verb and action below a parser, and its own parser, groups before what is in them."""
    if name:
        yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from verbs_of(below, f"{name} {word}".strip())


def add_examples(parser: argparse.ArgumentParser) -> None:
    """End the help of each verb with its examples, that of a group with those of its actions."""
    for name, one in verbs_of(parser):
        calls = [
            call
            for verb, found in EXAMPLES.items()
            if verb == name or verb.startswith(f"{name} ")
            for call in found
        ]
        if calls:
            # The lines of the examples stay as they are, so the rest is wrapped here.
            one.formatter_class = argparse.RawDescriptionHelpFormatter
            one.description = _wrapped(one.description)
            examples = "\n".join(f"  {call}" for call in calls)
            one.epilog = "\n\n".join(filter(None, (_wrapped(one.epilog), f"examples:\n{examples}")))


def _wrapped(text: str | None) -> str | None:
    return textwrap.fill(" ".join(text.split()), _WIDTH) if text else text
