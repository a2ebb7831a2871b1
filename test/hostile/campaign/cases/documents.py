"""JSON and TOML documents: too deep, too long, of the wrong form, with text that nothing can be called by."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from campaign import commands
from campaign.case import DATA, USAGE, Case, words
from campaign.task import CONFIG, DESCRIPTION, METRICS, PAIR

Command = Callable[[Path], list[str]]
# Who reads which document.
READERS: dict[str, tuple[str, str, Command, Any]] = {
    "dataset": ("task/Knee_dataset.json", "dinoreg", commands.run, DESCRIPTION),
    "dataset to score": ("task/Knee_dataset.json", "regeval", commands.evaluate, DESCRIPTION),
    "configuration": ("task/config.json", "regeval", commands.evaluate_config, CONFIG),
    "metrics": ("task/a.json", "regeval", commands.rank, METRICS),
    "inputs": ("input/inputs.json", "container", commands.job, []),
    "predictions": ("input/predictions.json", "evaluation", commands.phase, []),
}
TEXTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "a brace": b"{",
    "single quotes": b"{'a': 1}",
    "trailing comma": b'{"a": 1,}',
    "two documents": b"{} {}",
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "not UTF-8": b"\xff\xfe{\x00}\x00",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zeros": bytes(10_000),
    "arrays nested 20,000 times": b"[" * 20_000 + b"]" * 20_000,
    "objects nested 20,000 times": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "objects nested 500 times": b'{"a":' * 500 + b"1" + b"}" * 500,
    "integer of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "float of 5,000 digits": b'{"a": 0.' + b"9" * 5000 + b"}",
    "exponent of 5,000 digits": b'{"a": 1e' + b"9" * 5000 + b"}",
    "NUL": b'{"name": "a\\u0000b"}',
    "lone surrogate": b'{"name": "\\ud800"}',
    "lone surrogate as a key": b'{"\\udfff": 1}',
    "20 MB": b" " * (20 << 20),
}
# A change of a sound description, and what has to be said.
DESCRIPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "pairs in an object": ({"registration_val": {"a": PAIR}}, "not a list of pairs"),
    "pairs in a text": ({"registration_val": "all"}, "not a list of pairs"),
    "pairs that are numbers": ({"registration_val": [1, 2]}, "pair without"),
    "no pairs": ({"registration_val": []}, "no pairs"),
    "a pair twice": ({"registration_val": [PAIR, PAIR]}, "pair listed twice"),
    "a pair of one image": ({"registration_val": [{"fixed": PAIR["fixed"]}]}, "pair without 'moving'"),
    "path that is a list": ({"registration_val": [PAIR | {"fixed": ["a"]}]}, "pair without 'fixed'"),
    "path of 5,000 characters": (
        {"registration_val": [PAIR | {"fixed": "x" * 5000 + "_0001_0000.nii.gz"}]},
        "name too long",
    ),
    "path of 5,000 folders": (
        {"registration_val": [PAIR | {"fixed": "x/" * 5000 + "T_0001_0000.nii.gz"}]},
        "name too long",
    ),
    "path out of the folder": (
        {"registration_val": [PAIR | {"fixed": "../T_0001_0000.nii.gz"}]},
        "leaves the data folder",
    ),
    "absolute path": (
        {"registration_val": [PAIR | {"fixed": "/etc/T_0001_0000.nii.gz"}]},
        "leaves the data folder",
    ),
    "path with an escape": (
        {"registration_val": [PAIR | {"fixed": "./\x1b[31m/T_0001_0000.nii.gz"}]},
        "\\x1b",
    ),
    "path with a line break": ({"registration_val": [PAIR | {"fixed": "./a\nb/T_0001_0000.nii.gz"}]}, "\\n"),
    "name of another form": (
        {"registration_val": [PAIR | {"fixed": "./imagesTr/knee.nii.gz"}]},
        "without case",
    ),
    "modality that is no number": ({"modality": {"MR": "0"}}, "not a number"),
    "modality of 4,000 digits": ({"modality": {"9" * 4000: "MR"}}, ""),
    "modality of 5,000 digits": ({"modality": {"9" * 5000: "MR"}}, ""),
    "label that is no number": ({"labels": {"0": {"bone": "1"}}}, "not a number"),
    "label of 5,000 digits": ({"labels": {"0": {"1" * 5000: "bone"}}}, ""),
}
CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "shape of 5 numbers": ({"expected_shape": [1, 2, 3, 4, 5]}, "impossible expected_shape"),
    "shape of text": ({"expected_shape": ["1", 2, 3, 3]}, "impossible expected_shape"),
    "shape of a google": ({"expected_shape": [10**90, 1, 1, 3]}, ""),
    "another shape": ({"expected_shape": [5, 5, 5, 3]}, ""),
    "methods in a text": ({"evaluation_methods": "all"}, "no evaluation methods"),
    "unknown metric": ({"evaluation_methods": [{"name": "a", "metric": "magic"}]}, "unknown metric"),
    "label of 90 digits": ({"evaluation_methods": [{"name": "a", "metric": "dice", "labels": [10**90]}]}, ""),
    "label of 5,000 digits in a text": (
        {"evaluation_methods": [{"name": "a", "metric": "dice", "labels": ["9" * 5000]}]},
        "no labels",
    ),
    "label that is infinite": (
        {"evaluation_methods": [{"name": "a", "metric": "dice", "labels": [float("inf")]}]},
        "no labels",
    ),
    "pairs in a text": ({"eval_pairs": "all"}, ""),
}
METRICS_FILES: dict[str, dict[str, Any]] = {
    "cases in a list": {"cases": []},
    "cases of text": {"cases": {"a": "b"}},
    "scores of text": {"cases": {"a": {"DSC": "good"}}},
    "scores in a list": {"cases": {"a": {"DSC": [1]}}},
    "no cases": {"cases": {}},
    "metrics in a list": {"metrics": [1]},
    "reference without cases": {"reference": {"cases": 1}},
}
TOMLS: dict[str, str] = {
    "half a line": "masked = ",
    "two of a key": "masked = true\nmasked = true",
    "unknown key": "maskd = true",
    "wrong type": 'masked = "perhaps"',
    "date that is none": "name = 2026-13-45",
    "integer of 5,000 digits": "a = " + "9" * 5000,
    "hexadecimal of 10,000 digits": "a = 0x" + "f" * 10_000,
    "float of 5,000 digits": "a = 0." + "9" * 5000,
    "infinite": "[preprocess]\nct_width_hu = inf",
    "not a number": "[preprocess]\nct_width_hu = nan",
    "arrays nested 20,000 times": "a = " + "[" * 20_000 + "]" * 20_000,
    "tables nested 20,000 times": "a = " + "{a = " * 20_000 + "1" + "}" * 20_000,
    "key of 20,000 parts": ".".join("a" * 20_000) + " = 1",
    "header of 20,000 parts": f"[{'.'.join('a' * 20_000)}]",
    "key of 100,000 letters": "a" * 100_000 + " = 1",
    "NUL": 'name = "\\u0000"',
    "1 MB of comments": "# x\n" * 250_000,
    "weights with NUL": '[[features.encoders]]\nname = "dinov2"\nweights = "a\\u0000b"',
}
OVERRIDES: dict[str, str] = {
    "no value": "masked",
    "no key": "=1",
    "unknown key": "a.b.c=1",
    "key of 5,000 parts": ".".join("a" * 5000) + "=1",
    "integer of 5,000 digits": "adam.0.iterations=" + "9" * 5000,
    "nested 20,000 times": "adam.0.iterations=" + "[" * 20_000,
    "stage of 5,000 digits": f"adam.{'9' * 5000}.iterations=1",
    "surrogate": "name=\udc80",
    "NUL": "name=a\0b",
    "line break": "name=a\nb = 1",
    "infinite": "adam.0.learning_rate=inf",
}


def _written(reader: str, content: bytes) -> Command:
    path, _, command, _ = READERS[reader]

    def make(folder: Path) -> list[str]:
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return command(folder)

    return make


def _changed(reader: str, change: dict[str, Any]) -> Command:
    return _written(reader, json.dumps(copy.deepcopy(READERS[reader][3]) | change).encode())


def _toml(text: str, verb: str) -> Command:
    def make(folder: Path) -> list[str]:
        path = folder / "x.toml"
        path.write_text(text)
        return words("config", "check", path) if verb == "check" else commands.run(folder, "--config", path)

    return make


def _override(text: str) -> Command:
    return lambda folder: commands.run(folder, "--preset", "mind", "--set", text)


def cases() -> Iterator[Case]:
    for reader, (_, program, _, _) in READERS.items():
        for name, content in TEXTS.items():
            yield Case(f"json: {name}: {reader}", program, _written(reader, content), frozenset({DATA}))
    for name, (change, says) in DESCRIPTIONS.items():
        for reader in ("dataset", "dataset to score"):
            # Images need not be there for a score: the field tells the shape.
            absent = reader == "dataset to score" and name in (
                "path with an escape",
                "path with a line break",
            )
            codes = frozenset({0, DATA} if absent else {DATA})
            yield Case(
                f"description: {name}: {reader}", READERS[reader][1], _changed(reader, change), codes, says
            )
    for name, (change, says) in CONFIGS.items():
        codes = frozenset({0, DATA} if name == "label of 90 digits" else {DATA})
        yield Case(f"configuration: {name}", "regeval", _changed("configuration", change), codes, says)
    for name, change in METRICS_FILES.items():
        codes = frozenset({0, DATA} if name == "metrics in a list" else {DATA})
        yield Case(f"metrics: {name}", "regeval", _changed("metrics", change), codes)
    for name, text in TOMLS.items():
        for verb in ("check", "run"):
            yield Case(f"toml: {name}: {verb}", "dinoreg", _toml(text, verb), frozenset({USAGE}))
    for name, text in OVERRIDES.items():
        fine = name in ("surrogate", "line break", "NUL")
        codes = frozenset({0, USAGE} if fine else {USAGE})
        yield Case(f"override: {name}", "dinoreg", _override(text), codes)
