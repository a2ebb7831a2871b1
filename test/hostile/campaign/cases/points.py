"""Landmarks files, as the score and `dinoreg warp` read them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from campaign import commands
from campaign.case import Case

# What it is -> content, and what has to be said.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no landmarks"),
    "blank lines": (b"\n" * 1000, "no landmarks"),
    "a header only": (b"i,j,k\n", "no landmarks"),
    "two columns": (b"1,2\n", "not a landmark"),
    "four columns": (b"1,2,3,4\n", "not a landmark"),
    "semicolons": (b"1;2;3\n4;5;6\n", ""),
    "words": (b"1,2,three\n", "not a landmark"),
    "NaN": (b"1,2,nan\n1,2,3\n", "not a landmark"),
    "infinite": (b"1,2,1e999\n1,2,3\n", "not a landmark"),
    "number of 5,000 digits": (b"1,2," + b"9" * 5000 + b"\n", "not a landmark"),
    "underscores": (b"1,2,__3\n", "not a landmark"),
    "a line of a megabyte": (b"1" * (1 << 20), "not a landmark"),
    "a million commas": (b"," * 1_000_000, ""),
    "too few points": (b"1,2,3\n", ""),
    "zeros": (bytes(1000), ""),
    "not UTF-8": (b"\xff\xfe1\x00,\x002\x00", "not a text file"),
    "an escape": (b"1,2,\x1b[31m3\n", "\\x1b"),
    "ten million lines": (b"\n" * 10_000_000 + b"1,2\n", "not a landmark"),
    "20 MB": (b"1,2,3\n" * 3_500_000, "document too large"),
}


def _score(content: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "task/landmarksTr/Knee_0001_0001.csv").write_bytes(content)
        return commands.evaluate(folder)

    return make


def _warp(content: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        path = folder / "points.csv"
        path.write_bytes(content)
        return commands.warp(folder, "landmarks", path)

    return make


def cases() -> Iterator[Case]:
    for name, (content, says) in FILES.items():
        yield Case(f"landmarks: {name}: score", "regeval", _score(content), says=says)
        codes = frozenset({0} if name == "too few points" else {3})
        yield Case(f"landmarks: {name}: warp", "dinoreg", _warp(content), codes, says)
    for name, line in (("far outside", b"1e300,1e300,1e300\n" * 2), ("negative", b"-5,-5,-5\n" * 2)):
        yield Case(f"landmarks: {name}: score", "regeval", _score(line), frozenset({0, 3}))
        yield Case(f"landmarks: {name}: warp", "dinoreg", _warp(line), frozenset({0, 3}))
