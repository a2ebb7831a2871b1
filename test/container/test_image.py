"""What the image is, before it runs."""

from importlib import metadata

import pytest

pytestmark = pytest.mark.container

BASE = "debian:bookworm-slim"
LARGEST_ADDED_BYTES = 1_250_000_000  # beyond the base image, CPU variant; two thirds of it are torch and LLVM
LARGEST_PLATFORM_BYTES = 10_000_000_000  # what Grand Challenge takes


def test_user_is_not_root(inspected):
    user = inspected["Config"]["User"].split(":")[0]
    assert user.isdecimal()
    assert int(user) >= 1000


def test_runs_where_the_platforms_run_it(inspected):
    assert (inspected["Os"], inspected["Architecture"]) == ("linux", "amd64")
    assert inspected["Config"]["Entrypoint"] == ["python", "-m", "dinoreg.cli.batch"]  # exec form
    assert not inspected["Config"]["Cmd"]


def test_says_what_it_is(inspected):
    labels = inspected["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "dinoreg"
    assert labels["org.opencontainers.image.version"] == metadata.version("dinoreg")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_size(docker, inspected):
    assert inspected["Size"] < LARGEST_PLATFORM_BYTES
    base = docker("image", "inspect", "--format", "{{.Size}}", BASE)
    assert inspected["Size"] - int(base.out) < LARGEST_ADDED_BYTES


def test_holds_no_build_tools_and_nothing_of_the_checkout(docker, image):
    script = (
        "command -v pip pip3 gcc git make; find / -xdev -path /proc -prune -o -name 'pyproject.toml' -print"
    )
    found = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script)
    assert found.out == ""


def test_caches_lie_in_the_writable_folder(inspected):
    environment = dict(entry.split("=", 1) for entry in inspected["Config"]["Env"])
    caches = ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TORCH_HOME")
    assert all(environment[name].startswith("/tmp") for name in caches)


def test_entry_explains_itself(docker, image):
    shown = docker("run", "--rm", "--network", "none", image, "--help")
    assert shown.code == 0
    assert "--preset" in shown.out
