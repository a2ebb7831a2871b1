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
case "$*" in
    *RepoDigests*) echo "$DIGEST" ;;
    run*) cat > /dev/null; [ -z "$BROKEN" ] || exit 1; echo ' "purl": "pkg:pypi/numpy@1.0"' ;;
    *) echo 1000000 ;;
esac
"""
# What pip-audit does: writes what it found, says so on standard error; or cannot reach the index.
AUDIT = """#!/bin/sh
if [ -n "$OFFLINE" ]; then echo 'connection refused' >&2; exit 1; fi
while [ $# -gt 0 ]; do
    [ "$1" = --output ] && echo "$FOUND" > "$2"
    [ "$1" = --requirement ] && cat "$2" >> "$CALLS"
    shift
done
echo "Found $KNOWN known vulnerabilities" >&2
exit "$KNOWN"
"""
CLEAN, SKIPPED = '{"name": "numpy", "vulns": []}', '{"name": "torch", "skip_reason": "not found"}'


@pytest.fixture
def said():
    """What build.sh said, a text a call."""
    return []


@pytest.fixture
def build(tmp_path, said):
    """Call build.sh; returns its exit code, the calls of docker, and what is left of temporary files."""
    stand_in, calls, temporary = tmp_path / "bin" / "docker", tmp_path / "calls", tmp_path / "tmp"
    for folder in (stand_in.parent, temporary):
        folder.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"

    def run(*options, audit=False, **more):
        if audit:
            (stand_in.parent / "pip-audit").write_text(AUDIT)
            (stand_in.parent / "pip-audit").chmod(0o755)
        environment = {"PATH": path, "CALLS": str(calls), "TMPDIR": str(temporary), **more}
        done = subprocess.run(
            [str(ROOT / "build.sh"), *options],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        said.append(done.stdout)
        return done.returncode, calls.read_text().splitlines(), list(temporary.iterdir())

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


@pytest.mark.parametrize(("api", "labelled"), [("exec", False), ("invoke", True)])
def test_the_label_of_invoke_mode_is_set_where_it_is_asked_for(build, api, labelled):
    code, calls, _ = build("--api", api, "--only", "registration")
    assert code == 0
    assert ("--label org.grand-challenge.api-method=invoke" in calls[0]) is labelled
    assert f"--build-arg API={api} " in calls[0]
    assert build("--api", "invok")[0] == 2


def test_what_the_tag_of_the_base_means_is_said(build, said):
    digest = "debian@sha256:0123"
    build("--only", "evaluation", DIGEST=digest)
    build("--only", "evaluation", DIGEST="")
    build("--only", "evaluation", "--base", digest)
    assert f"pin it with --base {digest}" in said[0]
    assert "no registry digest here" in said[1]
    assert "digest" not in said[2]


def test_a_list_and_a_scan_of_both_images(build, said, tmp_path):
    folder = tmp_path / "lists"
    call = ("--tag", "a/dinoreg:1", "--evaluation-tag", "regeval:1", "--sbom", str(folder))
    code, calls, left = build(*call, audit=True, KNOWN="1", FOUND=CLEAN)
    assert (code, left) == (1, [])
    assert "numpy==1.0" in calls
    names = ["a_dinoreg_1", "regeval_1"]
    kinds = ["cdx.json", "vulnerabilities.json"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{n}.{k}" for n in names for k in kinds]
    assert "Found 1 known" in said[0]
    for image in ("a/dinoreg:1", "regeval:1"):
        assert f"{image}: Debian's packages, and libraries inside Python's, are NOT scanned" in said[0]
        assert f"with network: grype docker:{image}" in said[0]
    assert build(*call, audit=True, KNOWN="0", FOUND=CLEAN)[0] == 0


def test_what_was_not_scanned_is_said(build, said, tmp_path):
    code, _, left = build("--only", "evaluation", "--sbom", str(tmp_path / "lists"), audit=True, OFFLINE="1")
    assert (code, left) == (0, [])
    assert "NOT scanned: pip-audit could not ask PyPI: connection refused" in said[0]
    assert len(list((tmp_path / "lists").iterdir())) == 1


def test_packages_that_the_index_does_not_know_are_not_said_to_be_clean(build, said, tmp_path):
    call = ("--only", "evaluation", "--sbom", str(tmp_path / "lists"))
    assert build(*call, audit=True, KNOWN="0", FOUND=SKIPPED)[0] == 0
    assert "NOT scanned: pip-audit could not ask PyPI: no answer about any of 1 packages" in said[0]
    assert len(list((tmp_path / "lists").iterdir())) == 1
    assert build(*call, audit=True, KNOWN="0", FOUND=CLEAN + SKIPPED)[0] == 0
    assert "1 of 2 packages NOT scanned" in said[1]


def test_a_list_that_fails_leaves_nothing(build, tmp_path):
    code, _, left = build("--only", "evaluation", "--sbom", str(tmp_path / "lists"), BROKEN="1")
    assert code != 0
    assert left == []
    assert list((tmp_path / "lists").iterdir()) == []
