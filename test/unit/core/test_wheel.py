"""What an installation from a plain wheel gets."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = {"regtask": "datasets_json", "regeval": "evaluation", "dinoreg": "algorithm"}
NAMES = {"tomli_w": "tomli-w", "PIL": "pillow"}  # of distributions that are not named like their module
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def third_party(package):
    """Names of the distributions that a package imports, at the top or late."""
    names = set()
    for path in (ROOT / SOURCES[package] / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return {NAMES.get(name, name) for name in names - set(SOURCES) - sys.stdlib_module_names}


def plain_name(requirement):
    return requirement.split(">")[0].split("=")[0].strip().lower()


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel of the committed files and those beside them, and its metadata."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(ROOT / name)
    call = [sys.executable, "-W", "ignore", "-c", BUILD, str(folder)]
    built = subprocess.run(call, cwd=source, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(folder / built.stdout.splitlines()[-1]) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.namelist(), archive.read(metadata).decode()


@pytest.mark.parametrize("package", SOURCES)
def test_all_that_is_imported_is_installed(project, package):
    brought_along = {"llvmlite", "triton"}  # by numba, and by torch where it is built for a GPU
    installed = {plain_name(line) for line in project["dependencies"]} | brought_along
    assert {name.lower() for name in third_party(package)} <= installed


def test_the_evaluation_image_gets_what_it_imports_and_no_more(project):
    lines = (ROOT / "evaluation" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if not line.startswith("#")}
    assert listed == third_party("regtask") | third_party("regeval")
    assert listed <= {plain_name(line) for line in project["dependencies"]}


def test_wheel_holds_the_licence_and_the_terms_of_weights(wheel):
    held = {Path(name).name for name in wheel[0] if ".dist-info/licenses/" in name}
    assert held == {"LICENSE", "NOTICE"}


def test_the_image_is_built_from_files_that_its_context_holds():
    """What pyproject.toml names has to be there when the package is installed in the image."""
    named = {"LICENSE", "NOTICE", "README.md", "pyproject.toml", "constraints.txt"}
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert named <= {line.removeprefix("!") for line in lines if line.startswith("!")}
    (copied,) = [
        line.split()[1:-1]
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY LICENSE")
    ]
    assert {"LICENSE", "NOTICE"} <= set(copied)


def test_wheel_holds_presets_weights_and_templates(wheel):
    names, _ = wheel
    presets = {path.name for path in (ROOT / "algorithm" / "dinoreg" / "presets").glob("*.toml")}
    assert presets == {Path(name).name for name in names if name.startswith("dinoreg/presets/")}
    assets = ROOT / "algorithm" / "dinoreg" / "report" / "page" / "assets"
    assert {f"dinoreg/report/page/assets/{path.name}" for path in assets.iterdir()} <= set(names)
    pages = {path.name for path in (ROOT / "evaluation" / "regeval" / "ranking").glob("page.*")}
    assert pages <= {Path(name).name for name in names if name.startswith("regeval/ranking/")}
    assert any(name.endswith(".data/data/share/dinoreg/weights/dino3d.safetensors") for name in names)


@pytest.mark.parametrize("package", SOURCES)
def test_wheel_holds_every_module(wheel, package):
    source = ROOT / SOURCES[package]
    modules = {path.relative_to(source).as_posix() for path in (source / package).rglob("*.py")}
    assert modules <= set(wheel[0])


def test_wheel_asks_for_everything_without_an_extra(wheel, project):
    asked = [
        line for line in wheel[1].splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    assert len(asked) == len(project["dependencies"])
    assert {"torch", "jinja2", "peft"} <= {plain_name(line.removeprefix("Requires-Dist:")) for line in asked}
