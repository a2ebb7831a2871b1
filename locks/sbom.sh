#!/usr/bin/env bash
# Lists everything in images as CycloneDX files, and scans the Python packages for known vulnerabilities.
#
#   locks/sbom.sh FOLDER IMAGE ...
#
# The lists need nothing but Docker. The scan needs pip-audit (pip install pip-audit) and the network: it asks PyPI
# about each package and version; without either it says that nothing was scanned. Never scanned here are Debian's
# packages, which are listed (the Python interpreter is one of them), and libraries inside Python's packages. A
# scanner that knows Debian, on a machine with network: grype docker:IMAGE
#
# Exit codes: 0 lists written, nothing known against the packages, or not scanned; 1 something is known; 2 usage.
set -euo pipefail

HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
readonly HERE

case "${1:-}" in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
(($# >= 2)) || { echo "sbom.sh: FOLDER IMAGE ... are needed (see --help)" >&2; exit 2; }
folder="$1"
shift
mkdir -p "$folder"

unfinished=""
work="$(mktemp -d)"
trap 'rm -rf -- "$work"; [ -z "$unfinished" ] || rm -f -- "$unfinished"' EXIT
known=0

# Python packages as pip writes them, from the list: name==version.
requirements() {
    sed -n 's,^ *"purl": "pkg:pypi/\([^@"]*\)@\([^"+]*\).*,\1==\2,p' "$1" | grep -v '^dinoreg=='
}

# How often a text is in a file, 0 where there is none.
count() { { grep -o -- "$1" "$2" 2>/dev/null || true; } | wc -l; }

for image; do
    file="$folder/$(echo "$image" | tr '/:' '__').cdx.json"
    unfinished="$file.part"
    docker run --rm --network none --interactive --entrypoint python "$image" - "$image" \
        "$(docker image inspect --format '{{.Id}}' "$image")" <"$HERE/sbom.py" >"$unfinished"
    mv -- "$unfinished" "$file"
    echo "sbom.sh: $file: $(grep -c '"purl": "pkg:pypi/' "$file") packages of Python," \
        "$(grep -c '"purl": "pkg:deb/' "$file") of Debian"
    echo "sbom.sh: $image: Debian's packages, and libraries inside Python's, are NOT scanned here;" \
        "with network: grype docker:$image"
    if ! command -v pip-audit >/dev/null; then
        echo "sbom.sh: $image NOT scanned: there is no pip-audit here (pip install pip-audit; it needs the network)"
        continue
    fi
    requirements "$file" >"$work/requirements.txt"
    rm -f -- "$work/found.json"
    code=0
    pip-audit --disable-pip --no-deps --requirement "$work/requirements.txt" --format json \
        --output "$work/found.json" 2>"$work/errors" || code=$?
    asked="$(count '"name"' "$work/found.json")"
    skipped="$(count '"skip_reason"' "$work/found.json")"
    if ((asked == skipped)); then   # what PyPI gives no answer about is skipped, and counts as clean
        reason="$(tail -n 1 "$work/errors")"
        if ((asked)); then reason="no answer about any of $asked packages"; fi
        echo "sbom.sh: $image NOT scanned: pip-audit could not ask PyPI: $reason"
        continue
    fi
    mv -- "$work/found.json" "${file%.cdx.json}.vulnerabilities.json"
    if ((code)); then known=1; fi
    echo "sbom.sh: ${file%.cdx.json}.vulnerabilities.json: $(tail -n 1 "$work/errors")"
    if ((skipped)); then echo "sbom.sh: $skipped of $asked packages NOT scanned, see skip_reason there"; fi
done
exit "$known"
