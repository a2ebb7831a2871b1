#!/usr/bin/env bash
# Runs the registration image on the small phantom task as a challenge platform would, with that platform's own
# flags, and the evaluation image on its fields. Needs Docker only; the phantom is written in a container as well.
#
#   ./test.sh [--platform NAME] [OPTION OF dinoreg run ...]        e.g. ./test.sh --platform gc --preset mind
#
#   learn2reg  a task in /input, shut in as tightly as any platform does (the default)
#   gc         Grand Challenge: exec mode, or invoke mode where the image is labelled so (build.sh --api invoke)
#   oncoreg    ./train.sh and ./test.sh in /oncoreg
#   l2r2026    Learn2Reg 2026 (PSMAReg): one pair a call, five paths
#   lumir      LUMIR 2025: description, images and fields mounted in /app
#
# Environment: TAG (default dinoreg:VERSION), EVALUATION_TAG (default regeval:VERSION), OUTPUT (folder that keeps
# the fields; default: a temporary one), TASK (folder of a phantom that was written before), REQUIRE (what the
# scores must fulfil; default DSC.mean>=0.5). All but the first register two pairs of the phantom.
set -euo pipefail

readonly PIDS_LIMIT=256
readonly MEMORY="8g"
readonly TMPFS="/tmp:rw,nosuid,nodev,size=2g"
readonly ANY_USER="12345:12345"   # a uid that the image has never heard of
readonly PAIRS=2                  # of the phantom, for the platforms that are called per pair
readonly PORT=4743
readonly HEALTH_TRIES=60 HEALTH_SECONDS=5 INVOKE_SECONDS=300
ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
readonly ROOT

platform="learn2reg"
case "${1:-}" in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --platform) platform="${2:-}"; shift $(($# > 1 ? 2 : 1)) ;;
esac
case "$platform" in
    learn2reg | gc | oncoreg | l2r2026 | lumir) ;;
    *) echo "test.sh: --platform takes learn2reg, gc, oncoreg, l2r2026 or lumir, got '$platform'" >&2; exit 2 ;;
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
named="dinoreg-test-$$"   # of the containers, network and volume that are made here
# The container's user is not ours: it deletes its files itself before the folder goes.
cleanup() {
    docker rm --force "$named-server" "$named-tester" >/dev/null 2>&1 || true
    docker network rm "$named" >/dev/null 2>&1 || true
    docker volume rm "$named" >/dev/null 2>&1 || true
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
# GPUs only where the engine has them; the platforms always ask for them.
gpus() { if docker info 2>/dev/null | grep -q 'Runtimes:.*nvidia'; then echo "--gpus $1"; fi; }
# The options given here take the place of those that `build.sh --arguments` builds in.
options=()
if (($#)); then options=(--env "DINOREG_ARGUMENTS=$(printf '%q ' "$@")"); fi

# The first pairs of the phantom, a line each: fixed and moving as their case numbers. The task is cut down to
# them, and described as LUMIR does beside it.
few_pairs() {
    mkdir -p "$work/lumir"
    chmod 777 "$work/lumir"
    docker run "${restrictions[@]}" --interactive --volume "$task:/task" --volume "$work/lumir:/lumir" \
        --entrypoint python "$tag" - "$PAIRS" <<'PY'
import json, pathlib, sys
path = pathlib.Path("/task/Phantom_dataset.json")
content = json.loads(path.read_text())
pairs = content["registration_val"] = content["registration_val"][:int(sys.argv[1])]
path.write_text(json.dumps(content))
lumir = {"name": "LUMIR", "validation": pairs, "numValidation": len(pairs)}
pathlib.Path("/lumir/LUMIR25_dataset.json").write_text(json.dumps(lumir))
for pair in pairs:
    print(*(pair[role][-16:-7] for role in ("fixed", "moving")))
PY
}

# Grand Challenge's own test: a noop volume as /tmp, the model folder, outputs made readable afterwards.
gc_prepare() {   # folder, fixed case, moving case
    mkdir -p "$1/input" "$1/output" "$work/model"
    chmod 777 "$1" "$1/input" "$1/output"
    docker run "${restrictions[@]}" --volume "$task:/task:ro" --volume "$1/input:/job" --entrypoint dinoreg "$tag" \
        job --fixed "/task/imagesTr/Phantom_$2.nii.gz" --moving "/task/imagesTr/Phantom_$3.nii.gz" --output /job
}

gc_exec() {   # folder of the job
    docker run --rm --platform=linux/amd64 --network none $(gpus all) ${options[@]+"${options[@]}"} \
        --volume "$1/input":/input:ro --volume "$1/output":/output --volume "$named":/tmp \
        --volume "$work/model":/opt/ml/model:ro "$tag"
}

# Asks the server from a second container, since the network between them leads nowhere else.
gc_status() {   # method, seconds, path
    docker exec "$named-tester" python -c '
import sys, urllib.error, urllib.request
method, seconds, url = sys.argv[1:]
try:
    request = urllib.request.Request(url, method=method)
    print(urllib.request.urlopen(request, timeout=float(seconds)).status)
except urllib.error.HTTPError as error:
    print(error.code, file=sys.stdout)
except OSError:
    print("000")' "$1" "$2" "http://$named-server:$PORT$3"
}

gc_start_server() {   # folder that holds input and output
    docker network create --internal "$named" >/dev/null
    docker run --detach --name "$named-tester" --network "$named" --entrypoint sleep "$tag" infinity >/dev/null
    docker run --detach --name "$named-server" $(gpus all) --platform=linux/amd64 ${options[@]+"${options[@]}"} \
        --volume "$work/model":/opt/ml/model:ro --volume "$1/input":/input:ro --volume "$1/output":/output \
        --volume "$named":/tmp --network "$named" "$tag" >/dev/null
    local try status
    for ((try = 1; try <= HEALTH_TRIES; try++)); do
        status="$(gc_status GET 10 /health)"
        if [ "$status" = 200 ]; then echo "test.sh: healthy after $try tries"; return; fi
        if [ "$status" = 302 ]; then break; fi
        sleep "$HEALTH_SECONDS"
    done
    docker logs "$named-server" >&2
    echo "test.sh: the server never was healthy" >&2
    exit 1
}

gc_invoke() {   # folder of the job; its files take the place of those that are mounted
    local here="$work/staged" status
    docker exec --user root "$named-server" sh -c 'rm -rf /output/*'
    rm -rf -- "${here:?}/input"/*
    cp -r "$1/input/." "$here/input/"
    status="$(gc_status POST "$INVOKE_SECONDS" /invoke)"
    docker logs --tail 20 "$named-server" >&2
    if [ "$status" != 201 ]; then echo "test.sh: /invoke answered $status, not 201" >&2; exit 1; fi
    docker exec --user root "$named-server" sh -c 'chmod -R -f o+rX /output/*'
    cp -r "$here/output/." "$1/output/"
}

run_gc() {
    local api fixed moving folder number=0 list=""
    api="$(docker image inspect --format '{{index .Config.Labels "org.grand-challenge.api-method"}}' "$tag")"
    echo "test.sh: Grand Challenge, ${api:-exec} mode"
    docker volume create "$named" >/dev/null
    if [ "$api" = invoke ]; then
        mkdir -p "$work/staged/input" "$work/staged/output" "$work/model"
        chmod 777 "$work/staged/output"
        gc_start_server "$work/staged"
    fi
    while read -r fixed moving; do
        number=$((number + 1))
        folder="$output/job-$number"
        gc_prepare "$folder" "$fixed" "$moving"
        if [ "$api" = invoke ]; then gc_invoke "$folder"; else gc_exec "$folder"; fi
        list+="${list:+,}{\"pk\":\"job-$number\",\"status\":\"Succeeded\",\"inputs\":$(cat "$folder/input/inputs.json"),
\"outputs\":[{\"socket\":{\"slug\":\"displacement-field\",\"relative_path\":\"images/displacement-field\"}}]}"
    done < <(few_pairs)
    echo "[$list]" >"$output/predictions.json"
}

run_learn2reg() {
    docker run "${restrictions[@]}" ${options[@]+"${options[@]}"} --volume "$task:/input:ro" --volume "$output:/output" \
        "$tag"
}

run_oncoreg() {
    few_pairs >/dev/null
    mkdir -p "$work/model"
    docker run --rm $(gpus all) --entrypoint ./train.sh -v "$task":/oncoreg/data -v "$work/model":/oncoreg/model/ \
        "$tag" Phantom
    docker run --rm $(gpus all) ${options[@]+"${options[@]}"} --entrypoint ./test.sh -v "$task":/oncoreg/data \
        -v "$work/model":/oncoreg/model/ -v "$output":/oncoreg/results/ "$tag" Phantom Val
}

# Flags of both are those of the organisers' own scripts; memory is what the machine has, where that is less.
run_l2r2026() {
    local fixed moving
    while read -r fixed moving; do
        # The phantom has no PET: the CT stands in for it, and is not read as such.
        docker run --rm --ipc=host --memory 60g $(gpus device=0) --user "$(id -u):$(id -g)" --network=none \
            ${options[@]+"${options[@]}"} \
            --mount "type=bind,source=$task/imagesTr,target=/app/input,readonly" \
            --mount "type=bind,source=$output,target=/app/output" "$tag" \
            "/app/input/Phantom_$fixed.nii.gz" "/app/input/Phantom_$fixed.nii.gz" \
            "/app/input/Phantom_$moving.nii.gz" "/app/input/Phantom_$moving.nii.gz" \
            "/app/output/disp_${fixed}_$moving.nii.gz" </dev/null
    done < <(few_pairs)
}

run_lumir() {
    few_pairs >/dev/null
    docker run --rm --ipc=host --memory 256g $(gpus device=0) --user "$(id -u):$(id -g)" --network=none \
        ${options[@]+"${options[@]}"} \
        --mount "type=bind,source=$work/lumir/LUMIR25_dataset.json,target=/app/LUMIR25_dataset.json" \
        --mount "type=bind,source=$task,target=/app/input" \
        --mount "type=bind,source=$output,target=/app/output" "$tag"
}

if [ -n "${TASK:-}" ]; then
    cp -r "$TASK/." "$task/"
    chmod -R a+rwX "$task"
else
    echo "test.sh: writing the small phantom task"
    docker run "${restrictions[@]}" --volume "$task:/output" --entrypoint dinoreg "$tag" \
        phantom --output /output --size small
fi

echo "test.sh: registering it as $platform does"
start=$SECONDS
"run_$platform"
echo "test.sh: $((SECONDS - start)) s, start-up included"

echo "test.sh: scores"
scores="$work/scores"
mkdir -m 777 "$scores"
layout="channel-last"
if [ "$platform" = l2r2026 ]; then layout="channel-first"; fi
docker run "${restrictions[@]}" --volume "$task:/opt/ml/input/data/ground_truth:ro" --volume "$output:/input:ro" \
    --volume "$scores:/output" "$evaluation_tag" --layout "$layout" --require "${REQUIRE:-DSC.mean>=0.5}"
