"""The commands that read each part of a task, as arguments after the program's name."""

from pathlib import Path

from campaign.case import words

_RUN = ("--preset", "identity")


def run(folder: Path, *more: object) -> list[str]:
    """Of `dinoreg`: reads the description, images, label maps and masks."""
    description = folder / "task/Knee_dataset.json"
    preset = () if any(str(word) in ("--config", "--preset") for word in more) else _RUN
    return words("run", "--dataset", description, "--output", folder / "out", *preset, *more)


def evaluate(folder: Path, *more: object) -> list[str]:
    """Of `regeval`: reads the description, label maps, masks, points and fields."""
    common = ("--predictions", folder / "task/fields", "--output", folder / "metrics.json")
    return words("evaluate", "--dataset", folder / "task/Knee_dataset.json", *common, *more)


def evaluate_config(folder: Path, *more: object) -> list[str]:
    """Of `regeval`: reads an evaluation configuration."""
    common = ("--predictions", folder / "task/fields", "--output", folder / "metrics.json")
    return words("evaluate", "--config", folder / "task/config.json", *common, *more)


def check(folder: Path) -> list[str]:
    """Of `regeval`: looks at a submission."""
    description = folder / "task/Knee_dataset.json"
    return words("check", "--predictions", folder / "task/fields", "--dataset", description)


def rank(folder: Path) -> list[str]:
    """Of `regeval`: reads metrics files."""
    task = folder / "task"
    runs = (f"a={task / 'a.json'}", f"b={task / 'b.json'}", "--output", folder / "board", "--bootstrap", 10)
    return words("rank", *runs)


def warp(folder: Path, what: str, path: Path) -> list[str]:
    """Of `dinoreg`: reads a field and an image, a label map or landmarks."""
    field = folder / "task/fields/disp_0001_0000_0001_0001.nii.gz"
    suffix = ".csv" if what == "landmarks" else ".nii.gz"
    space = ("--space", "voxel") if what == "landmarks" else ()
    return words("warp", "--field", field, f"--{what}", path, "--output", folder / f"warped{suffix}", *space)


def job(folder: Path, *more: object) -> list[str]:
    """Of `container`: Grand Challenge's two images in MetaImage format."""
    return words(
        "--input", folder / "input", "--output", folder / "out", *_RUN, "--on-failure", "raise", *more
    )


def phase(folder: Path) -> list[str]:
    """Of `evaluation`: what a platform mounts."""
    truth = ("--ground-truth", folder / "task")
    return words("--input", folder / "input", "--output", folder / "out", *truth)
