#!/bin/bash
# Everything that is to be measured on a CUDA machine, in one command and without network:
#   OUT=results/gpu benchmarks/gpu_all.sh [--dry-run] [--data FOLDER]
# What the machine lacks comes from benchmarks/wheels (benchmarks/gpu_wheels.sh fills it).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
wheels="$root/benchmarks/wheels"
export PYTHONPATH="$root/algorithm:$root/evaluation:$root/datasets_json:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}"

if ! "${PYTHON:-python3}" -c "import nibabel, isal, pydantic, SimpleITK" 2> /dev/null; then
    site="$(mktemp -d)"
    trap 'rm -rf "$site"' EXIT
    "${PYTHON:-python3}" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
    PYTHONPATH="$PYTHONPATH:$site"
fi
"${PYTHON:-python3}" "$root/benchmarks/gpu_session.py" "$@"
