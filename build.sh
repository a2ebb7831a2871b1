#!/usr/bin/env bash
# Builds the image. Every option can also be given as an environment variable of the name in brackets.
#
#   ./build.sh [--tag NAME:TAG] [--torch-version X.Y.Z] [--torch-index URL] [--pip-index URL]
#
#   --tag            name of the image                      [TAG]            default dinoreg:VERSION
#   --torch-version  version of torch                       [TORCH_VERSION]  default as in constraints.txt
#   --torch-index    index of the torch variant             [TORCH_INDEX]    default .../whl/cpu; for NVIDIA GPUs
#                                                                            https://download.pytorch.org/whl/cu126
#   --pip-index      index of all other packages (a mirror) [PIP_INDEX]      default https://pypi.org/simple
set -euo pipefail

readonly PLATFORM="linux/amd64"
ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
readonly ROOT

version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/pyproject.toml")"
tag="${TAG:-dinoreg:$version}"
torch_version="${TORCH_VERSION:-$(sed -n 's/^torch==//p' "$ROOT/constraints.txt")}"
torch_index="${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
pip_index="${PIP_INDEX:-https://pypi.org/simple}"

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

while (($#)); do
    case "$1" in
        -h | --help) usage; exit 0 ;;
        --tag | --torch-version | --torch-index | --pip-index)
            (($# >= 2)) || { echo "build.sh: $1 needs a value" >&2; exit 2; }
            case "$1" in
                --tag) tag="$2" ;;
                --torch-version) torch_version="$2" ;;
                --torch-index) torch_index="$2" ;;
                --pip-index) pip_index="$2" ;;
            esac
            shift 2
            ;;
        *) echo "build.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    esac
done

revision="$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)"

arguments=(
    --platform "$PLATFORM"                        # what the challenge platforms run
    --tag "$tag"
    --build-arg "TORCH_VERSION=$torch_version"
    --build-arg "TORCH_INDEX_URL=$torch_index"
    --build-arg "PIP_INDEX_URL=$pip_index"
    --build-arg "VERSION=$version"                # both end up as labels
    --build-arg "REVISION=$revision"
)
docker build "${arguments[@]}" "$ROOT"

bytes="$(docker image inspect --format '{{.Size}}' "$tag")"
echo "build.sh: $tag, $((bytes / 1000000)) MB"
