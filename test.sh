#!/usr/bin/env bash
# Runs the registration image on the small phantom task and the evaluation image on its fields, both shut in as
# tightly as any challenge platform does. Needs Docker only; the phantom is written in a container as well.
#
#   ./test.sh [OPTION OF dinoreg run ...]        e.g. ./test.sh --preset mind
#
# Environment: TAG (default dinoreg:VERSION), EVALUATION_TAG (default regeval:VERSION), OUTPUT (folder that keeps
# the fields; default: a temporary one), REQUIRE (what the scores must fulfil; default DSC.mean>=0.5).
set -euo pipefail

readonly PIDS_LIMIT=256
readonly MEMORY="8g"
readonly TMPFS="/tmp:rw,nosuid,nodev,size=2g"
readonly ANY_USER="12345:12345"   # a uid that the image has never heard of
ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
readonly ROOT

case "${1:-}" in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac

version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/pyproject.toml")"
tag="${TAG:-dinoreg:$version}"
evaluation_tag="${EVALUATION_TAG:-regeval:$version}"
for image in "$tag" "$evaluation_tag"; do
    docker image inspect "$image" >/dev/null 2>&1 \
        || { echo "test.sh: there is no image $image; run ./build.sh first, or set TAG and EVALUATION_TAG" >&2
             exit 1; }
done

work="$(mktemp -d)"
# The container's user is not ours: it deletes its files itself before the folder goes.
cleanup() {
    docker run --rm --user 0:0 --network none --entrypoint find --volume "$work:/work" "$tag" \
        /work -mindepth 1 -delete
    rm -rf -- "$work"
}
trap cleanup EXIT
task="$work/task"
output="${OUTPUT:-$work/output}"
mkdir -p "$task" "$output"
chmod 777 "$work" "$task" "$output"   # any uid writes here

restrictions=(
    --rm                                   # leave no container behind
    --platform linux/amd64
    --network none                         # nothing is downloaded at run time
    --user "$ANY_USER"                     # some platforms choose the uid themselves
    --read-only                            # only /output and /tmp can be written
    --tmpfs "$TMPFS"                       # empty at start
    --cap-drop ALL                         # no capability is needed
    --security-opt no-new-privileges       # nothing may gain any
    --pids-limit "$PIDS_LIMIT"             # processes and threads together
    --memory "$MEMORY" --memory-swap "$MEMORY"
)

echo "test.sh: writing the small phantom task"
docker run "${restrictions[@]}" --volume "$task:/output" --entrypoint dinoreg "$tag" \
    phantom --output /output --size small

echo "test.sh: registering it"
start=$SECONDS
docker run "${restrictions[@]}" --volume "$task:/input:ro" --volume "$output:/output" "$tag" "$@"
echo "test.sh: $((SECONDS - start)) s, start-up included"

echo "test.sh: scores"
docker run "${restrictions[@]}" --volume "$task:/truth:ro" --volume "$output:/predictions:ro" \
    --entrypoint python "$evaluation_tag" -m regeval evaluate --dataset /truth/Phantom_dataset.json \
    --predictions /predictions --require "${REQUIRE:-DSC.mean>=0.5}"
