"""Triton's link to the driver: compiled once without a card, then found where there is no compiler."""

import os
import shutil
import subprocess
import sys

import pytest
from triton_device import needs_triton

from dinoreg.space.kernels.gpu.driver_link import FOLDER_VARIABLE, prepare_link

BUILD = (
    "import pathlib; from dinoreg.space.kernels.gpu import driver_link as d; d.build_link(pathlib.Path({!r}))"
)
LOAD = """
from dinoreg.space.kernels.gpu.driver_link import prepare_link
prepare_link()
from triton.backends.nvidia.driver import CudaUtils
print(CudaUtils().launch)
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    ready, cache = tmp_path / "ready", tmp_path / "far" / "cache"
    (ready / "KEY").mkdir(parents=True)
    (ready / "KEY" / "cuda_utils.so").write_bytes(b"code")
    monkeypatch.setenv(FOLDER_VARIABLE, str(ready))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(cache))
    return ready, cache


def test_the_cache_gets_links_so_that_code_is_loaded_from_where_it_may_be(places):
    ready, cache = places
    prepare_link()
    prepare_link()
    found = cache / "KEY" / "cuda_utils.so"
    assert found.is_symlink()
    assert found.resolve() == (ready / "KEY" / "cuda_utils.so").resolve()


def test_what_is_in_the_cache_stays(places):
    _, cache = places
    (cache / "KEY").mkdir(parents=True)
    (cache / "KEY" / "cuda_utils.so").write_bytes(b"own")
    prepare_link()
    assert (cache / "KEY" / "cuda_utils.so").read_bytes() == b"own"


@pytest.mark.parametrize("missing", [FOLDER_VARIABLE, "TRITON_CACHE_DIR"])
def test_without_both_places_nothing_happens(places, missing, monkeypatch):
    _, cache = places
    monkeypatch.delenv(missing)
    prepare_link()
    assert not cache.exists()


def test_no_room_is_no_failure(places):
    _, cache = places
    cache.parent.write_text("a file where a folder belongs")
    prepare_link()


def run(script, **environment):
    given = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-c", script], env=given, capture_output=True, text=True, check=False
    )


@needs_triton
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_it_is_found_without_a_compiler(tmp_path):
    ready = tmp_path / "ready"
    built = run(BUILD.format(str(ready)), PATH=os.environ["PATH"])
    assert built.returncode == 0, built.stderr
    (library,) = ready.rglob("*.so")
    names = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True).stdout
    functions = sorted({word for word in names.split() if word.startswith("cu")})
    assert len(functions) > 5
    # The rest of a machine with a card: a driver, and what Python asks for the form of its executable.
    driver, tools = tmp_path / "driver", tmp_path / "tools"
    driver.mkdir()
    tools.mkdir()
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", driver / "libcuda.so.1", "-x", "c", "-"],
        input="".join(f"int {name}(void) {{ return 100; }}\n" for name in functions), text=True, check=True,
    )  # fmt: skip
    if shutil.which("file"):
        (tools / "file").symlink_to(shutil.which("file"))
    machine = {
        "PATH": str(tools),
        "LD_LIBRARY_PATH": str(driver),
        "TRITON_CACHE_DIR": str(tmp_path / "cache"),
    }
    assert "Failed to find C compiler" in run(LOAD, **machine).stderr
    found = run(LOAD, **machine, **{FOLDER_VARIABLE: str(ready)})
    assert found.stdout == "<built-in function launch>\n", found.stderr
