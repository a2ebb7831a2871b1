#!/bin/bash
# Fill benchmarks/wheels with what a bare CUDA machine lacks (it has torch, numba, scipy), at the versions of
# constraints.txt:
#   benchmarks/gpu_wheels.sh [PYTHON_VERSION]      of that machine; by default 3.12
set -euo pipefail

readonly PACKAGES=(nibabel isal pydantic pydantic_core typing-inspection annotated-types simpleitk)
readonly PYTHON_VERSION="${1:-3.12}"

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
platforms=(--platform manylinux1_x86_64 --platform manylinux2014_x86_64)
for minor in 17 24 26 27 28 31 34 35; do
    platforms+=(--platform "manylinux_2_${minor}_x86_64")
done
rm -rf "$root/benchmarks/wheels"
"${PYTHON:-python3}" -m pip download --no-deps --only-binary=:all: --implementation cp \
    --python-version "$PYTHON_VERSION" "${platforms[@]}" \
    --constraint "$root/constraints.txt" --dest "$root/benchmarks/wheels" "${PACKAGES[@]}"
