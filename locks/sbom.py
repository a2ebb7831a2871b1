"""List what is installed here, Python's packages and Debian's, as CycloneDX JSON on standard output.

    python sbom.py NAME IDENTIFIER          # inside an image; the standard library is all it needs

Format: CycloneDX 1.5 and package URLs. The list depends on the image alone, so that two lists differ only
where two images do.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path

_STATUS = Path("/var/lib/dpkg/status")
_RELEASE = Path("/etc/os-release")


def components() -> list[dict]:
    """Return every package, sorted by its package URL."""
    found = [*_of_python(), *_of_debian(_read(_STATUS), _read(_RELEASE))]
    return sorted(found, key=lambda one: one["purl"])


def document(name: str, identifier: str) -> dict:
    """Return the list.

    Args:
        name: of the image.
        identifier: its digest, from which the list's own number is made.
    """
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identifier)}",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "name": name, "version": identifier, "bom-ref": identifier}
        },
        "components": components(),
    }


def _of_python() -> list[dict]:
    found = {}
    for one in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        found[name] = _component(name, one.version, f"pkg:pypi/{name}@{one.version}", _licence(one.metadata))
    return list(found.values())


def _licence(fields: metadata.PackageMetadata) -> str:
    """Return what a package says of its licence, in a line; empty where it says nothing."""
    said = fields.get("License-Expression") or fields.get("License") or ""
    classes = [text for text in fields.get_all("Classifier") or () if text.startswith("License ::")]
    lines = said.strip().splitlines() or [text.rpartition(" :: ")[2] for text in classes]
    return lines[0][:200] if lines else ""


def _of_debian(status: str, release: str) -> list[dict]:
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release, re.MULTILINE))
    distribution = f"{system.get('ID', 'debian')}-{system.get('VERSION_ID', 'unknown')}"
    found = []
    for text in status.split("\n\n"):
        fields = dict(re.findall(r"^(\S+): (.*)$", text, re.MULTILINE))
        if "Package" not in fields or not fields.get("Status", "").endswith(" installed"):
            continue
        name, version = fields["Package"], fields["Version"]
        quoted = version.replace("+", "%2B").replace(":", "%3A")
        architecture = fields.get("Architecture", "all")
        purl = f"pkg:deb/debian/{name}@{quoted}?arch={architecture}&distro={distribution}"
        found.append(_component(name, version, purl, ""))
    return found


def _component(name: str, version: str, purl: str, licence: str) -> dict:
    entry = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return entry | ({"licenses": [{"license": {"name": licence}}]} if licence else {})


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    json.dump(document(*sys.argv[1:3]), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
