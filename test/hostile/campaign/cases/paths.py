"""Paths that no file can have, or hardly any, in every option."""

from collections.abc import Callable, Iterator
from pathlib import Path

from campaign import commands
from campaign.case import Case, words

PATHS: dict[str, str] = {
    "NUL": "a\0b",
    "lone surrogate": "a\ud800b",
    "byte that is no text": "a\udc80b",
    "5,000 characters": "x" * 5000,
    "5,000 folders": "x/" * 5000 + "x",
    "empty": "",
    "line break": "a\nb",
    "escape": "a\x1b[31mb",
    "root": "/",
    "folder behind a file": "task/config.json/x",
    "in the system": "/proc/self/mem",
    "in the system, endless": "/dev/zero",
}
# Option -> program, and the arguments with a path in it.
OPTIONS: dict[str, tuple[str, Callable[[Path, str], list[str]]]] = {
    "run --dataset": (
        "dinoreg",
        lambda f, p: words("run", "--dataset", p, "--output", f / "out", "--preset", "identity"),
    ),
    "run --config": ("dinoreg", lambda f, p: commands.run(f, "--config", p)),
    "run --data-dir": ("dinoreg", lambda f, p: commands.run(f, "--data-dir", p)),
    "run --output": (
        "dinoreg",
        lambda f, p: words(
            "run", "--dataset", f / "task/Knee_dataset.json", "--preset", "identity", "--output", p
        ),
    ),
    "config check": ("dinoreg", lambda f, p: words("config", "check", p)),
    "warp --image": ("dinoreg", lambda f, p: commands.warp(f, "image", Path(p))),
    "warp --landmarks": ("dinoreg", lambda f, p: commands.warp(f, "landmarks", Path(p))),
    "evaluate --config": (
        "regeval",
        lambda f, p: words("evaluate", "--config", p, "--predictions", f / "task/fields"),
    ),
    "evaluate --dataset": (
        "regeval",
        lambda f, p: words("evaluate", "--dataset", p, "--predictions", f / "task/fields"),
    ),
    "evaluate --data": ("regeval", lambda f, p: commands.evaluate(f, "--data", p)),
    "evaluate --predictions": (
        "regeval",
        lambda f, p: words("evaluate", "--dataset", f / "task/Knee_dataset.json", "--predictions", p),
    ),
    "evaluate --output": (
        "regeval",
        lambda f, p: words(
            "evaluate",
            "--dataset",
            f / "task/Knee_dataset.json",
            "--predictions",
            f / "task/fields",
            "--output",
            p,
        ),
    ),
    "config --output": (
        "regeval",
        lambda f, p: words("config", "--dataset", f / "task/Knee_dataset.json", "--output", p),
    ),
    "rank": (
        "regeval",
        lambda f, p: words("rank", f"a={p}", f"b={f / 'task/b.json'}", "--output", f / "board"),
    ),
    "rank --output": (
        "regeval",
        lambda f, p: words(
            "rank", f"a={f / 'task/a.json'}", f"b={f / 'task/b.json'}", "--output", p, "--bootstrap", 5
        ),
    ),
    "job --input": (
        "container",
        lambda f, p: words("--input", p, "--output", f / "out", "--preset", "identity"),
    ),
    "mounted --input": (
        "evaluation",
        lambda f, p: words("--input", p, "--output", f / "out", "--ground-truth", f / "task"),
    ),
    "mounted --ground-truth": (
        "evaluation",
        lambda f, p: words("--input", f / "task/fields", "--output", f / "out", "--ground-truth", p),
    ),
}


def _maker(arguments: Callable[[Path, str], list[str]], text: str) -> Callable[[Path], list[str]]:
    return lambda folder: arguments(folder, text)


def cases() -> Iterator[Case]:
    for option, (program, arguments) in OPTIONS.items():
        writes = "--output" in option
        for name, text in PATHS.items():
            if writes and text.startswith("/"):
                continue  # as root they would be written to
            refused = frozenset({2, 3, 4})
            # Odd names are names: what can be written there is written; "" is the folder itself.
            possible = name in (
                "byte that is no text",
                "line break",
                "escape",
                "empty",
                "folder behind a file",
            )
            codes = refused | {0} if writes and possible else refused
            yield Case(f"path: {name}: {option}", program, _maker(arguments, text), codes)
