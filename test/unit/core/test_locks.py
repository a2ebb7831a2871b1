"""What the images are made of: pinned, complete, and listed."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+) --hash=sha256:[0-9a-f]{64}")


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "locks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sbom = load("sbom")


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {plain(name): version for name, version in pairs}


def locked(name):
    head, *lines = (ROOT / f"locks/{name}.txt").read_text(encoding="utf-8").splitlines()
    assert head.startswith("# Made by locks/make_locks.py")
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return {one["name"]: one["version"] for one in found}


def wanted(name):
    if name == "build":
        return {"setuptools"}
    if name == "evaluation":
        lines = (ROOT / "evaluation/requirements.txt").read_text(encoding="utf-8").splitlines()
    else:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lines = project["dependencies"]
    return {plain(re.split("[><=]", line)[0]) for line in lines if not line.startswith("#")} - {"torch"}


@pytest.mark.parametrize("name", ["registration", "evaluation", "build"])
def test_a_lock_has_every_dependency_in_the_version_of_the_constraints(name):
    found, versions = locked(name), pinned()
    assert wanted(name) <= set(found), "run locks/make_locks.py"
    assert {one: versions[one] for one in found} == found, "run locks/make_locks.py"
    assert "torch" not in found


@pytest.mark.parametrize("file", ["Dockerfile", "evaluation/Dockerfile"])
def test_images_install_by_digest(file):
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [line for line in re.split("&&|\n", text) if re.search(r"pip\b.* install ", line)]
    free = [line for line in installs if "--require-hashes" not in line]
    # Torch from its own index, its further packages, and what was built here.
    expected = {"Dockerfile": ["TORCH_INDEX_URL", "--constraint", "--no-index"], "evaluation/Dockerfile": []}
    assert len(free) == len(expected[file])
    assert all(word in line for word, line in zip(expected[file], free, strict=True))


STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14

Package: gone
Status: deinstall ok config-files
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2026a:1~deb12
Description: zones
 Version: not this one
"""


def test_debian_packages_are_listed_with_their_urls():
    found = sbom._of_debian(STATUS, 'ID=debian\nVERSION_ID="12"\n')
    assert [one["purl"] for one in found] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12",
        "pkg:deb/debian/tzdata@2026a%3A1~deb12?arch=all&distro=debian-12",
    ]


def test_the_list_is_cyclonedx_and_the_same_each_time():
    content = sbom.document("dinoreg:test", "sha256:0123")
    assert content == sbom.document("dinoreg:test", "sha256:0123")
    assert content["serialNumber"] != sbom.document("dinoreg:test", "sha256:4567")["serialNumber"]
    assert (content["bomFormat"], content["specVersion"], content["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", content["serialNumber"])
    numpy = next(one for one in content["components"] if one["name"] == "numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{numpy['version']}"
    references = [one["bom-ref"] for one in content["components"]]
    assert len(set(references)) == len(references)
