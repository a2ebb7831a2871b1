#!/usr/bin/env bash
# Builds the evaluation image.
#
#   evaluation/build.sh
#
# Environment: TAG (default regeval:VERSION), PIP_INDEX (a mirror of https://pypi.org/simple), BASE_IMAGE (default
# debian:bookworm-slim; debian@sha256:... pins it).
set -euo pipefail

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
readonly ROOT

case "${1:-}" in
    "") ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "evaluation/build.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/pyproject.toml")"
tag="${TAG:-regeval:$version}"

docker build --platform linux/amd64 --tag "$tag" --file "$ROOT/evaluation/Dockerfile" \
    --build-arg "PIP_INDEX_URL=${PIP_INDEX:-https://pypi.org/simple}" \
    --build-arg "BASE_IMAGE=${BASE_IMAGE:-debian:bookworm-slim}" \
    --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)" \
    "$ROOT"

bytes="$(docker image inspect --format '{{.Size}}' "$tag")"
echo "evaluation/build.sh: $tag, $((bytes / 1000000)) MB"
