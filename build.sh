#!/usr/bin/env bash
# Builds both images: the registration and its evaluation. Every option can also be given as an environment
# variable of the name in brackets.
#
#   ./build.sh [--tag NAME:TAG] [--weights DIR] [--arguments 'OPTIONS'] [--torch-version X.Y.Z]
#              [--torch-index URL] [--torch-sha256 DIGEST] [--pip-index URL] [--base IMAGE]
#              [--api exec|invoke] [--sbom FOLDER] [--evaluation-tag NAME:TAG]
#              [--only registration|evaluation]
#
#   --tag             name of the registration image         [TAG]             default dinoreg:VERSION
#   --weights         folder whose files go into the image   [WEIGHTS]         default none
#   --arguments       what every run of the image begins with, for platforms that give no arguments,
#                     as in --arguments '--preset dinoreg'   [ARGUMENTS]       default none
#   --torch-version   version of torch                       [TORCH_VERSION]   default as in constraints.txt
#   --torch-index     index of the torch variant             [TORCH_INDEX]     default .../whl/cpu; for NVIDIA
#                                                            GPUs https://download.pytorch.org/whl/cu126
#   --torch-sha256    digest that torch's wheel must have    [TORCH_SHA256]    default any
#   --pip-index       index of all other packages (a mirror) [PIP_INDEX]       default https://pypi.org/simple
#   --base            image that both begin with, which a    [BASE_IMAGE]      default debian:bookworm-slim
#                     digest pins: debian@sha256:...
#   --api             how Grand Challenge runs the image     [API]             default exec, once per case; invoke:
#                                                            a server that loads everything once
#   --sbom            folder for a list of everything in the [SBOM]            default none
#                     images (CycloneDX), and for what a
#                     scan for known vulnerabilities finds
#   --evaluation-tag  name of the evaluation image           [EVALUATION_TAG]  default regeval:VERSION
#   --only            build one of the two                   [ONLY]            default both
set -euo pipefail

readonly PLATFORM="linux/amd64"
readonly WEIGHTS_IN_IMAGE="/opt/dinoreg/weights"   # the last folder that is searched for weights
ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
readonly ROOT

version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/pyproject.toml")"
tag="${TAG:-dinoreg:$version}"
weights="${WEIGHTS:-}"
run_arguments="${ARGUMENTS:-}"
torch_version="${TORCH_VERSION:-$(sed -n 's/^torch==//p' "$ROOT/constraints.txt")}"
torch_index="${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
torch_sha256="${TORCH_SHA256:-}"
pip_index="${PIP_INDEX:-https://pypi.org/simple}"
base="${BASE_IMAGE:-debian:bookworm-slim}"
api="${API:-exec}"
sbom="${SBOM:-}"
evaluation_tag="${EVALUATION_TAG:-regeval:$version}"
only="${ONLY:-both}"

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }
refuse() { echo "build.sh: $1" >&2; exit 2; }

while (($#)); do
    case "$1" in
        -h | --help) usage; exit 0 ;;
        --tag | --weights | --arguments | --torch-version | --torch-index | --torch-sha256 | --pip-index \
            | --base | --api | --sbom | --evaluation-tag | --only)
            (($# >= 2)) || refuse "$1 needs a value"
            case "$1" in
                --tag) tag="$2" ;;
                --weights) weights="$2" ;;
                --arguments) run_arguments="$2" ;;
                --torch-version) torch_version="$2" ;;
                --torch-index) torch_index="$2" ;;
                --torch-sha256) torch_sha256="$2" ;;
                --pip-index) pip_index="$2" ;;
                --base) base="$2" ;;
                --api) api="$2" ;;
                --sbom) sbom="$2" ;;
                --evaluation-tag) evaluation_tag="$2" ;;
                --only) only="$2" ;;
            esac
            shift 2
            ;;
        *) refuse "unknown option $1 (see --help)" ;;
    esac
done

case "$only" in
    both | registration | evaluation) ;;
    *) refuse "--only takes registration or evaluation, got $only" ;;
esac
case "$api" in
    exec | invoke) ;;
    *) refuse "--api takes exec or invoke, got $api" ;;
esac
if [ -n "$weights" ] && [ -z "$(find "$weights" -type f -print -quit 2>/dev/null)" ]; then
    refuse "there are no weights in $weights"
fi

context=""
trap '[ -z "$context" ] || rm -rf -- "$context"' EXIT

# The commit, with "-dirty" where files differ from it.
revision="$(git -C "$ROOT" describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || echo unknown)"

build_registration() {
    local arguments=(
        --platform "$PLATFORM"                        # what the challenge platforms run
        --tag "$tag"
        --build-arg "TORCH_VERSION=$torch_version"
        --build-arg "TORCH_INDEX_URL=$torch_index"
        --build-arg "TORCH_SHA256=$torch_sha256"
        --build-arg "PIP_INDEX_URL=$pip_index"
        --build-arg "BASE_IMAGE=$base"
        --build-arg "ARGUMENTS=$run_arguments"
        --build-arg "API=$api"
        --build-arg "VERSION=$version"                # labels; every manifest states the revision, too
        --build-arg "REVISION=$revision"
    )
    # The platform tells the two by this label; without it an image is run once per case.
    if [ "$api" = invoke ]; then arguments+=(--label "org.grand-challenge.api-method=invoke"); fi
    docker build "${arguments[@]}" "$ROOT"
    if [ -n "$weights" ]; then add_weights; fi
    local bytes
    bytes="$(docker image inspect --format '{{.Size}}' "$tag")"
    echo "build.sh: $tag, $((bytes / 1000000)) MB"
}

# One layer on top. The build context is made here, so that the folder may lie anywhere and every user can read
# the files, whatever their modes are.
add_weights() {
    context="$(mktemp -d)"   # removed on every way out
    printf 'FROM %s\nCOPY weights %s\n' "$tag" "$WEIGHTS_IN_IMAGE" >"$context/Dockerfile"
    tar -c --owner=0 --group=0 --mode=a+rX,go-w -C "$context" Dockerfile \
        -C "$(cd -- "$weights" && pwd)" --transform 's,^\.,weights,' . \
        | docker build --platform "$PLATFORM" --tag "$tag" -
}

# What the tag of the base image meant today, to build from the same again.
say_base() {
    case "$base" in *@sha256:*) return ;; esac
    local digest
    digest="$(docker image inspect --format '{{join .RepoDigests " "}}' "$base" 2>/dev/null || true)"
    if [ -n "$digest" ]; then
        echo "build.sh: base $base is now ${digest%% *}; pin it with --base ${digest%% *}"
    else
        echo "build.sh: base $base has no registry digest here (it was never pulled), so nothing pins it"
    fi
}

if [ "$only" != evaluation ]; then build_registration; fi
if [ "$only" != registration ]; then
    TAG="$evaluation_tag" PIP_INDEX="$pip_index" BASE_IMAGE="$base" "$ROOT/evaluation/build.sh"
fi
say_base
if [ -n "$sbom" ]; then
    images=()
    if [ "$only" != evaluation ]; then images+=("$tag"); fi
    if [ "$only" != registration ]; then images+=("$evaluation_tag"); fi
    "$ROOT/locks/sbom.sh" "$sbom" "${images[@]}"
fi
