"""JSON and TOML from strangers: one reader, with limits on size, depth and the length of numbers.

What it returns can be walked by recursion, printed, and used as the name of a file.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regtask.errors import DataError, Fault
from regtask.untrusted.opening import open_regular, reading_fault

# The largest published description has some thousand pairs, a metrics file of it some megabytes.
MAX_JSON_BYTES = 16 << 20
# A configuration with every key has some thousand characters.
MAX_TOML_BYTES = 1 << 18
# Descriptions and configurations nest by 6 at most.
MAX_DEPTH = 64
# A float64 takes 25 characters, a file's digest 64.
MAX_DIGITS = 100

# Strings and comments of TOML, one that is not closed up to where it would have to be.
_TOML_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)|'
    r"'''.*?(?:'''|\Z)|"
    r'"(?:\\[^\n]|[^"\\\n])*(?:"|$)|'
    r"'[^'\n]*(?:'|$)|"
    r"#[^\n]*",
    re.DOTALL | re.MULTILINE,
)
_TOML_BRACKETS = re.compile(r"[\[{]|[\]}]")
_NO_KEY = re.compile(r"[^\w\-\"' \t.]+")
_LONG_WORD = re.compile(rf"[\w+\-]{{{MAX_DIGITS + 1}}}")


def read_json(path: Path, what: str = "JSON", max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON document in UTF-8.

    Args:
        path: the file.
        what: named in the message of a file that is none.
        max_bytes: the largest that is read.

    Raises:
        DataError: no regular file, too large, not JSON, nested too deeply, a number of too many digits, or
            text that nothing can be called by.
    """
    text = read_text(path, max_bytes, what)
    try:
        value = json.loads(text, parse_int=_parse_int, parse_float=_parse_float)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise DataError(Fault(f"not {what}", where, got=error.msg)) from error
    except RecursionError as error:
        raise DataError(_too_deep(str(path))) from error
    except ValueError as error:
        raise DataError(_long_number(str(path), str(error))) from error
    _refuse_contents(value, str(path))
    return value


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON document that has to be an object.

    Args:
        path: the file.
        what: it should be, such as "a dataset description".

    Raises:
        DataError: as for `read_json`, or another value than an object.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(Fault(f"not {what}", str(path), "a JSON object", type(value).__name__))
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML document in UTF-8.

    Raises:
        DataError: as for `read_json`.
    """
    return parse_toml(read_text(path, MAX_TOML_BYTES, "TOML"), str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Interpret a TOML document.

    Args:
        text: the document.
        where: named in the messages.

    Raises:
        DataError: as for `read_json`.
    """
    if len(text) > MAX_TOML_BYTES:
        raise DataError(_too_large(where, MAX_TOML_BYTES, f"{len(text)} characters"))
    # Before it is parsed: deep keys cost the parser memory and time with the square of their depth.
    bare = _TOML_TEXT.sub('""', text)
    if max(_toml_depths(bare), default=0) > MAX_DEPTH:
        raise DataError(_too_deep(where))
    if word := _LONG_WORD.search(bare):
        raise DataError(_long_number(where, word[0]))
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(Fault("not a TOML file", where, got=str(error))) from error
    except RecursionError as error:
        raise DataError(_too_deep(where)) from error
    except ValueError as error:  # of a date that is none
        raise DataError(Fault("not a TOML file", where, got=str(error))) from error
    _refuse_contents(value, where)
    return value


def read_text(path: Path, max_bytes: int, what: str) -> str:
    """Read a text file in UTF-8, with or without its mark.

    Args:
        path: the file.
        max_bytes: the largest that is read.
        what: it should be, such as "csv".

    Raises:
        DataError: no regular file, too large, or not UTF-8.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise DataError(reading_fault(path, error)) from error
    if len(content) > max_bytes:
        raise DataError(_too_large(str(path), max_bytes, f"{path.stat().st_size} bytes"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(Fault("not a text file", str(path), f"{what} in UTF-8", str(error))) from error


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(text)
    return int(text)


def _parse_float(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise ValueError(text)
    return float(text)


def _toml_depths(bare: str) -> Iterator[int]:
    """Yield how deep brackets nest, and how many parts dotted keys have, of a text without its strings."""
    depth = 0
    for bracket in _TOML_BRACKETS.finditer(bare):
        depth += 1 if bracket[0] in "[{" else -1
        yield depth
    for line in bare.split("\n"):
        yield from (run.count(".") for run in _NO_KEY.split(line))


def _refuse_contents(value: Any, where: str) -> None:
    """Refuse what is nested too deeply, and text with a NUL or a lone surrogate; without recursion."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise DataError(_too_deep(where))
        inner: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                for key in item:
                    _refuse_text(key, where)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str):
                _refuse_text(item, where)
        level, depth = inner, depth + 1


def _refuse_text(text: str, where: str) -> None:
    bad = "\0" in text
    if not bad and not text.isascii():
        bad = any("\ud800" <= letter <= "\udfff" for letter in text)
    if bad:
        raise DataError(Fault("impossible text", where, "text without NUL and lone surrogates", ascii(text)))


def _too_deep(where: str) -> Fault:
    return Fault("nested too deeply", where, f"at most {MAX_DEPTH} levels")


def _too_large(where: str, limit: int, got: str) -> Fault:
    return Fault("document too large", where, f"at most {limit} bytes", got)


def _long_number(where: str, text: str) -> Fault:
    got = f"{text[:20]}... of {len(text)} characters or more"
    return Fault("number or word too long", where, f"at most {MAX_DIGITS} characters", got)
