"""build.sh, with a stand-in for docker that notes how it is called."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Fails where the context comes through a pipe: that is the layer of weights.
STAND_IN = """#!/bin/sh
echo "$@" >> "$CALLS"
for last; do :; done
[ "$last" = - ] && { cat > /dev/null; exit 1; }
echo 1000000
"""


@pytest.fixture
def build(tmp_path):
    """Call build.sh; returns its exit code, the calls of docker, and what is left of temporary files."""
    stand_in, calls, temporary = tmp_path / "bin" / "docker", tmp_path / "calls", tmp_path / "tmp"
    for folder in (stand_in.parent, temporary):
        folder.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"

    def run(*options):
        environment = os.environ | {"PATH": path, "CALLS": str(calls), "TMPDIR": str(temporary)}
        code = subprocess.run(
            [str(ROOT / "build.sh"), *options], env=environment, capture_output=True, check=False
        ).returncode
        return code, calls.read_text().splitlines(), list(temporary.iterdir())

    return run


def test_nothing_is_left_behind_where_the_engine_fails(build, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "vits14.pth").write_bytes(b"weights")
    code, calls, left = build("--weights", str(weights), "--only", "registration")
    assert code != 0
    assert calls[-1].endswith(" -")
    assert left == []


def test_both_images_begin_with_the_base_that_is_asked_for(build):
    code, calls, _ = build("--base", "debian@sha256:0123", "--torch-sha256", "4567")
    assert code == 0
    builds = [call for call in calls if call.startswith("build ")]
    assert ["BASE_IMAGE=debian@sha256:0123" in call for call in builds] == [True, True]
    assert ["TORCH_SHA256=4567" in call for call in builds] == [True, False]


def test_the_image_knows_the_commit_it_was_built_from(build):
    _, calls, _ = build("--only", "registration")
    head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    found = subprocess.run(head, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    given = next(part for part in calls[0].split() if part.startswith("REVISION="))
    assert given.removeprefix("REVISION=").removesuffix("-dirty") == found
    assert 'ENV DINOREG_REVISION="${REVISION}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["Dockerfile", "Makefile", "evaluation/Dockerfile"])
def test_no_package_is_looked_for_in_two_indexes_at_once(file):
    """pip takes the highest version of all indexes that it may ask, whoever put it there."""
    assert "extra-index" not in (ROOT / file).read_text(encoding="utf-8")
