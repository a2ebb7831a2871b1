#!/usr/bin/env bash
# Writes what an organiser uploads: the evaluation image as one .tar.gz, and the ground truth as a second one.
#
#   evaluation/export.sh [FOLDER]        default: dist
#
# Environment: TAG (default regeval:VERSION), GROUND_TRUTH (folder with the task and its CONFIG json; default
# none).
set -euo pipefail

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
readonly ROOT
readonly GROUND_TRUTH_MOUNT="/opt/ml/input/data/ground_truth"   # where the platform unpacks it

case "${1:-}" in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "evaluation/export.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

folder="${1:-$ROOT/dist}"
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/pyproject.toml")"
tag="${TAG:-regeval:$version}"
truth="${GROUND_TRUTH:-}"
stamp="${version}_$(date -u +%Y%m%d)"

docker image inspect "$tag" >/dev/null 2>&1 \
    || { echo "evaluation/export.sh: there is no image $tag; run evaluation/build.sh first" >&2; exit 1; }

mkdir -p "$folder"
unfinished=""
trap '[ -z "$unfinished" ] || rm -f -- "$unfinished"' EXIT

image_file="$folder/regeval_${stamp}.tar.gz"
unfinished="$image_file.part"
# One tag only: the archive must hold exactly one image. gzip -n leaves the time out of the header.
docker save "$tag" | gzip -n -c >"$unfinished"
mv -- "$unfinished" "$image_file"
echo "evaluation/export.sh: image         $image_file ($(du -h "$image_file" | cut -f1))"

if [ -n "$truth" ]; then
    truth_file="$folder/regeval_ground_truth_${stamp}.tar.gz"
    unfinished="$truth_file.part"
    tar -C "$truth" --owner=0 --group=0 --mode=a+rX --sort=name -czf "$unfinished" .
    mv -- "$unfinished" "$truth_file"
    echo "evaluation/export.sh: ground truth  $truth_file ($(du -h "$truth_file" | cut -f1))," \
        "unpacked at $GROUND_TRUTH_MOUNT"
fi
