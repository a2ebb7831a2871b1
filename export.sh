#!/usr/bin/env bash
# Writes what is handed in: the registration image as one .tar.gz, the weights as a second one for
# /opt/ml/model, and the evaluation image, where it was built, as a third.
#
#   ./export.sh [FOLDER]        default: dist
#
# Environment: TAG (default dinoreg:VERSION), WEIGHTS (folder, default ./weights), EVALUATION_TAG (default
# regeval:VERSION), GROUND_TRUTH (see evaluation/export.sh).
set -euo pipefail

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
readonly ROOT
readonly MODEL_MOUNT="/opt/ml/model"   # where the platform unpacks the weights

case "${1:-}" in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "export.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

folder="${1:-$ROOT/dist}"
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/pyproject.toml")"
tag="${TAG:-dinoreg:$version}"
weights="${WEIGHTS:-$ROOT/weights}"
evaluation_tag="${EVALUATION_TAG:-regeval:$version}"
stamp="${version}_$(date -u +%Y%m%d)"

docker image inspect "$tag" >/dev/null 2>&1 \
    || { echo "export.sh: there is no image $tag; run ./build.sh first, or set TAG" >&2; exit 1; }

mkdir -p "$folder"
unfinished=""
trap '[ -z "$unfinished" ] || rm -f -- "$unfinished"' EXIT

image_file="$folder/dinoreg_${stamp}.tar.gz"
unfinished="$image_file.part"
# One tag only: the archive must hold exactly one image. gzip -n leaves the time out of the header.
docker save "$tag" | gzip -n -c >"$unfinished"
mv -- "$unfinished" "$image_file"
echo "export.sh: image    $image_file ($(du -h "$image_file" | cut -f1))"

if [ -d "$weights" ] && [ -n "$(find "$weights" -type f -print -quit)" ]; then
    weights_file="$folder/dinoreg_weights_${stamp}.tar.gz"
    unfinished="$weights_file.part"
    tar -C "$weights" --owner=0 --group=0 --mode=a+rX --sort=name -czf "$unfinished" .
    mv -- "$unfinished" "$weights_file"
    echo "export.sh: weights  $weights_file ($(du -h "$weights_file" | cut -f1)), unpacked at $MODEL_MOUNT"
else
    echo "export.sh: weights  none: $weights has no files; presets that need no weights work without them"
fi

if docker image inspect "$evaluation_tag" >/dev/null 2>&1; then
    TAG="$evaluation_tag" "$ROOT/evaluation/export.sh" "$folder"
else
    echo "export.sh: evaluation none: there is no image $evaluation_tag (evaluation/build.sh makes it)"
fi
