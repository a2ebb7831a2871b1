"""What the images are, before they run."""

from importlib import metadata

import pytest

pytestmark = pytest.mark.container

BASE = "debian:bookworm-slim"
# Beyond the base image, CPU variant; half of the registration is torch and LLVM, a seventh ITK.
LARGEST_ADDED_BYTES = {"dinoreg": 1_620_000_000, "regeval": 230_000_000}
ENTRIES = {"dinoreg": "dinoreg.cli.platforms.entry", "regeval": "regeval.cli.container"}
LARGEST_PLATFORM_BYTES = 10_000_000_000  # what Grand Challenge takes


def title(inspected):
    return inspected["Config"]["Labels"]["org.opencontainers.image.title"]


def test_user_is_not_root(inspected):
    user = inspected["Config"]["User"].split(":")[0]
    assert user.isdecimal()
    assert int(user) >= 1000


def test_runs_where_the_platforms_run_it(inspected):
    assert (inspected["Os"], inspected["Architecture"]) == ("linux", "amd64")
    assert inspected["Config"]["Entrypoint"] == ["python", "-m", ENTRIES[title(inspected)]]  # exec form
    assert not inspected["Config"]["Cmd"]


def test_says_what_it_is(inspected):
    labels = inspected["Config"]["Labels"]
    assert title(inspected) in inspected["RepoTags"][0]
    assert labels["org.opencontainers.image.version"] == metadata.version("dinoreg")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.parametrize("which", ["image", "evaluation_image"])
def test_each_says_its_version(docker, request, which):
    done = docker("run", "--rm", "--network", "none", request.getfixturevalue(which), "--version")
    assert (done.code, done.out.strip()) == (0, metadata.version("dinoreg"))


def test_size(docker, inspected):
    assert inspected["Size"] < LARGEST_PLATFORM_BYTES
    base = docker("image", "inspect", "--format", "{{.Size}}", BASE)
    assert inspected["Size"] - int(base.out) < LARGEST_ADDED_BYTES[title(inspected)]


@pytest.mark.parametrize("which", ["image", "evaluation_image"])
def test_holds_no_build_tools_and_nothing_of_the_checkout(docker, request, which):
    script = (
        "command -v pip pip3 gcc git make; find / -xdev -path /proc -prune -o -name 'pyproject.toml' -print"
    )
    found = docker(
        "run", "--rm", "--network", "none", "--entrypoint", "sh", request.getfixturevalue(which), "-c", script
    )
    assert found.out == ""


def test_presets_weights_and_kernels_are_in_it(docker, image):
    script = (
        "import pathlib; from dinoreg.settings.load import preset_names; print(len(preset_names()) > 9,"
        "len(list(pathlib.Path('/opt/dinoreg/share/dinoreg/weights').glob('*.safetensors'))) > 0,"
        "pathlib.Path('/opt/dinoreg/kernels').is_dir())"
    )
    found = docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", script)
    assert found.out == "True True True\n", found.err


def test_evaluation_holds_nothing_of_the_registration(docker, evaluation_image):
    script = (
        "import importlib.util as u; print([n for n in ('dinoreg', 'torch', 'pandas') if u.find_spec(n)])"
    )
    found = docker(
        "run", "--rm", "--network", "none", "--entrypoint", "python", evaluation_image, "-c", script
    )
    assert found.out == "[]\n", found.err


def test_caches_lie_in_the_writable_folder(inspected):
    environment = dict(entry.split("=", 1) for entry in inspected["Config"]["Env"])
    assert environment["HOME"] == "/tmp"
    if title(inspected) == "dinoreg":
        caches = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TORCH_HOME", "HF_HOME")
        assert all(environment[name].startswith("/tmp") for name in caches)
        assert environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(("which", "option"), [("image", "--preset"), ("evaluation_image", "--ground-truth")])
def test_entry_explains_itself(docker, request, which, option):
    shown = docker("run", "--rm", "--network", "none", request.getfixturevalue(which), "--help")
    assert shown.code == 0
    assert option in shown.out
