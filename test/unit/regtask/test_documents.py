"""Documents that are too large, too deep or unspeakable, refused before they cost anything."""

import os
import time
import tracemalloc

import pytest

from regtask import DataError, documents
from regtask.documents import parse_toml, read_json, read_json_object, read_text, read_toml

DEEP_TOML = {
    "arrays": "a = " + "[" * 20_000 + "]" * 20_000,
    "tables": "a = " + "{a = " * 20_000,
    "key": ".".join("a" * 20_000) + " = 1",
    "header": f"[{'.'.join('a' * 20_000)}]",
    "spaced key": " . ".join("a" * 20_000) + " = 1",
    "quoted key": ".".join(['"a"'] * 20_000) + " = 1",
    "key in a table behind a string that ends in four quotes": (
        'a = ["""x"""", {' + ".".join("a" * 20_000) + ' = 1}, "y"]'
    ),
    "key behind a quote that is not closed": 'a = "x\n' + ".".join("a" * 20_000) + " = 1",
}


@pytest.fixture
def file(tmp_path):
    def write(content, name="x"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def test_what_is_sound(file):
    assert read_json(file('\ufeff{"a": [1, -2.5e3, null, "\\u00e4"], "b": {"c": NaN}}'))["a"] == [
        1,
        -2500,
        None,
        "ä",
    ]
    assert read_toml(file('a.b = [[1, 2], [3]] # "\n[c]\nd = """x"""')) == {
        "a": {"b": [[1, 2], [3]]},
        "c": {"d": "x"},
    }
    depth = documents.MAX_DEPTH
    assert read_json(file("[" * depth + "]" * depth))
    assert parse_toml(f"a = [{', '.join(['1.5'] * 1000)}]", "x")["a"][999] == 1.5


@pytest.mark.parametrize("depth", [65, 500, 20_000, 200_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_deep_json(file, depth, begin, end):
    with pytest.raises(DataError, match="nested too deeply"):
        read_json(file(begin * depth + "1" + end * depth))


@pytest.mark.parametrize("text", DEEP_TOML.values(), ids=DEEP_TOML)
def test_deep_toml_costs_nothing(text):
    tracemalloc.start()
    begin = time.perf_counter()
    with pytest.raises(DataError, match="nested too deeply"):
        parse_toml(text, "x")
    seconds, peak = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 20_000_000


@pytest.mark.parametrize(
    "text", ['"""\\' * 60_000, "'" * 200_001, '"\\"' * 60_000, "#" * 200_000, "a." * 100_000]
)
def test_the_look_at_toml_takes_no_square_of_its_length(text):
    begin = time.perf_counter()
    with pytest.raises(DataError):
        parse_toml(f"a = {text}", "x")
    assert time.perf_counter() - begin < 2


@pytest.mark.parametrize("text", ["1" * 101, "-" + "1" * 5000, "1." + "1" * 5000, "1e" + "9" * 5000])
def test_numbers_of_thousands_of_digits(file, text):
    for read in (read_json, read_toml):
        with pytest.raises(DataError, match="number or word too long"):
            read(file(text if read is read_json else f"a = {text}"))


def test_hexadecimal_numbers_of_thousands_of_digits():
    with pytest.raises(DataError, match="number or word too long"):
        parse_toml("a = 0x" + "f" * 10_000, "x")


@pytest.mark.parametrize(
    "text", ['"a\\u0000"', '"a\\ud800"', '["\\udfff"]', '{"\\u0000": 1}', '{"a": ["ä\\udc80"]}']
)
def test_text_that_nothing_can_be_called_by(file, text):
    with pytest.raises(DataError, match="impossible text") as caught:
        read_json(file(text))
    assert str(caught.value).isascii()


def test_nul_in_toml():
    with pytest.raises(DataError, match="impossible text"):
        parse_toml('a = "\\u0000"', "x")


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "[1,]", "1 2"])
def test_not_json(file, text):
    with pytest.raises(DataError, match=r"not JSON: .*x, line 1, column"):
        read_json(file(text))


@pytest.mark.parametrize("text", ["a", "a = ", "a = 2026-13-45", "a = 1\na = 2", "[a]\n[a]"])
def test_not_toml(file, text):
    with pytest.raises(DataError, match="not a TOML file"):
        read_toml(file(text))


def test_not_text(file):
    for read in (read_json, read_toml):
        with pytest.raises(DataError, match="not a text file"):
            read(file(b"\xff\xfe{"))


def test_too_large(file, monkeypatch):
    monkeypatch.setattr(documents, "MAX_TOML_BYTES", 9)
    for read in (
        lambda path: read_json(path, max_bytes=9),
        read_toml,
        lambda path: read_text(path, 9, "csv"),
    ):
        with pytest.raises(DataError, match="at most 9 bytes; got 10 bytes"):
            read(file("1234567890"))
    with pytest.raises(DataError, match="document too large"):
        parse_toml("a=12345678", "x")


def test_a_sparse_file_of_a_terabyte_is_not_read(file):
    path = file("{}")
    os.truncate(path, 1 << 40)
    for read in (read_json, read_toml):
        with pytest.raises(DataError, match="document too large"):
            read(path)


def test_an_object_is_asked_for(file):
    with pytest.raises(DataError, match=r"not a description: .*expected a JSON object; got list"):
        read_json_object(file("[]"), "a description")
