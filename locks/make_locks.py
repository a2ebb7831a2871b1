"""Write which files the images are made of: every package but torch, with version and SHA-256.

    python3.11 locks/make_locks.py          # Python 3.11 on x86-64 Linux, as in the images; needs the index

Versions are those of constraints.txt; only the digests are asked for. Torch is left out: which wheel it is
depends on the index of its variant (`build.sh --torch-index`, `--torch-sha256`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
_HEAD = "# Made by locks/make_locks.py from {source} and constraints.txt, for Python 3.11 on x86-64 Linux.\n"
_ELSEWHERE = "torch"  # comes from an index of its own, before the others


def main() -> None:
    """Write all locks."""
    if sys.version_info[:2] != (3, 11) or sysconfig.get_platform() != "linux-x86_64":
        sys.exit("make_locks: Python 3.11 on x86-64 Linux is needed, as in the images")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    evaluation = (ROOT / "evaluation/requirements.txt").read_text(encoding="utf-8").splitlines()
    _write("registration", "pyproject.toml", project["dependencies"])
    _write("evaluation", "evaluation/requirements.txt", [line for line in evaluation if line[:1] not in "#"])
    _write("build", "the build backend", ["setuptools"])


def _write(name: str, source: str, requirements: list[str]) -> None:
    lines = [f"{package} --hash=sha256:{digest}\n" for package, digest in sorted(_resolved(requirements))]
    (HERE / f"{name}.txt").write_text(_HEAD.format(source=source) + "".join(lines), encoding="utf-8")
    sys.stdout.write(f"{name}: {len(lines)} packages\n")


def _resolved(requirements: list[str]) -> list[tuple[str, str]]:
    """Return what pip would install into an empty environment: `name==version` and SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        report = Path(folder, "report.json")
        subprocess.run(
            [
                *(
                    f"{folder}/bin/python",
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--dry-run",
                    "--only-binary=:all:",
                ),
                *("--ignore-installed", "--constraint", str(ROOT / "constraints.txt")),
                *("--report", str(report), *requirements),
            ],
            check=True,
        )
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        (f"{one['metadata']['name'].lower().replace('_', '-')}=={one['metadata']['version']}", _digest(one))
        for one in found
        if one["metadata"]["name"] != _ELSEWHERE
    ]


def _digest(found: dict) -> str:
    digest: str = found["download_info"]["archive_info"]["hashes"]["sha256"]
    return digest


if __name__ == "__main__":
    main()
