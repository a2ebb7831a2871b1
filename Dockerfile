# The registration as a container, for people and for every platform in docs/submitting.md.
# Build with ./build.sh. Plain Dockerfile syntax only, so that the classic builder can build it as well.

ARG BASE_IMAGE=debian:bookworm-slim

# ------------------------------------------------------------------------------------------------ builder
FROM ${BASE_IMAGE} AS builder

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

# pip lives in a venv of its own and installs into the product's venv, which therefore contains no pip.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/dinoreg

# Where packages come from (a mirror: --build-arg PIP_INDEX_URL=...).
ARG PIP_INDEX_URL=https://pypi.org/simple
# The torch variant is the index its wheel comes from: .../whl/cpu, or .../whl/cu126 for NVIDIA GPUs.
# That index is asked for torch alone, and then no other index is: neither can put a package in the other's
# place.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ARG TORCH_VERSION=2.13.0
# The wheel has to have this digest; empty: any.
ARG TORCH_SHA256=""
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# Dependencies first: they change seldom, and these layers stay cached when the code changes.
WORKDIR /src
COPY constraints.txt pyproject.toml ./
COPY locks/*.txt locks/
RUN sed "s/^torch==.*/torch==${TORCH_VERSION}/" constraints.txt > /opt/build/constraints.txt \
    && echo "torch==${TORCH_VERSION}${TORCH_SHA256:+ --hash=sha256:${TORCH_SHA256}}" > /opt/build/torch.txt \
    && /opt/build/bin/pip --python /opt/dinoreg/bin/python install --no-deps --retries 2 \
        --index-url "${TORCH_INDEX_URL}" --requirement /opt/build/torch.txt
# All others are exactly the files whose digests are in locks; then what this variant of torch demands beyond
# them (nothing for CPUs, NVIDIA's libraries for GPUs, in the versions that torch pins), which no digest pins.
RUN /opt/build/bin/pip --python /opt/dinoreg/bin/python install --no-deps --require-hashes --only-binary :all: \
        --requirement locks/registration.txt \
    && /opt/build/bin/python -c 'import tomllib; \
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > /opt/build/requirements.txt \
    && /opt/build/bin/pip --python /opt/dinoreg/bin/python install \
        --constraint /opt/build/constraints.txt --requirement /opt/build/requirements.txt

# What only compiling against torch, testing a library, or another model of transformers would need. Of those
# models the encoders need dinov2*, dinov3* and sam, and peft needs auto, bloom and encoder_decoder.
RUN cd /opt/dinoreg/lib/python3*/site-packages \
    && rm -rf torch/include torch/share torch/test torch/bin/*Test torch/bin/protoc* torch/bin/test_* \
    && find torch -name '*.a' -delete \
    && find numba scipy networkx sympy nibabel mpl_toolkits matplotlib \
        -type d -name tests -prune -exec rm -rf {} + \
    && find transformers/models -mindepth 1 -maxdepth 1 -type d \
        ! -name 'dinov2*' ! -name 'dinov3*' ! -name sam ! -name auto ! -name bloom ! -name encoder_decoder \
        -exec rm -rf {} +

# Byte code that is never checked against its source: nothing is to be written at run time.
# Left out: torch's own test helpers, some of which are written for a later Python.
RUN /opt/dinoreg/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/torch/testing/_internal/' /opt/dinoreg/lib

COPY LICENSE NOTICE README* ./
COPY algorithm algorithm
COPY evaluation evaluation
COPY datasets_json datasets_json
# The build backend is pinned by its digest too: it is installed before, so that pip fetches none itself.
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: --requirement locks/build.txt \
    && /opt/build/bin/pip wheel --no-index --no-build-isolation --no-deps --wheel-dir /opt/build/wheels . \
    && /opt/build/bin/pip --python /opt/dinoreg/bin/python install --no-index --no-deps /opt/build/wheels/*.whl \
    && /opt/dinoreg/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        /opt/dinoreg/lib/python3*/site-packages/dinoreg \
        /opt/dinoreg/lib/python3*/site-packages/regtask \
        /opt/dinoreg/lib/python3*/site-packages/regeval \
    && /opt/build/bin/pip --python /opt/dinoreg/bin/python check

# Nothing that is needed may be among what was left out: every module, and what is imported late.
RUN /opt/dinoreg/bin/python -B -c 'import importlib, pkgutil, dinoreg, regeval, jinja2, peft; \
[importlib.import_module(found.name) for package in (dinoreg, regeval) \
for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".") \
if not found.name.endswith("__main__")]'

# The CPU kernels, for a target that nearly every machine is: see space/kernels/cache.py.
RUN /opt/dinoreg/bin/python -B -c 'import pathlib; from dinoreg.space.kernels import cache as kernel_cache; \
kernel_cache.build_kernels(pathlib.Path("/opt/dinoreg/kernels"))'

# Where torch brought Triton, its link to the driver of a card: the image has no compiler to make it with.
RUN if /opt/dinoreg/bin/python -B -c 'import triton' 2> /dev/null; then \
        apt-get update \
        && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
            gcc libc6-dev python3-dev \
        && rm -rf /var/lib/apt/lists/* \
        && /opt/dinoreg/bin/python -B -c 'import pathlib; from dinoreg.space.kernels.gpu import driver_link; \
driver_link.build_link(pathlib.Path("/opt/dinoreg/triton"))'; \
    fi

# -------------------------------------------------------------------------------------------------- final
FROM ${BASE_IMAGE}

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/* \
    && groupadd --gid 10001 dinoreg \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin --no-log-init \
        dinoreg \
    && mkdir --parents /input /output /opt/ml/model /app/input /app/output \
        /oncoreg/data /oncoreg/model /oncoreg/results \
    && chmod 1777 /output /app/output /oncoreg/results

COPY --from=builder /opt/dinoreg /opt/dinoreg
COPY datasets_json/*.json /opt/dinoreg/datasets_json/
# Called as ./test.sh and ./train.sh in the working directory by challenges of OncoReg's kind.
COPY algorithm/container/test.sh algorithm/container/train.sh /oncoreg/

# /tmp is the only place beside /output that may be written, by whatever uid the container runs as.
# PYTHONSAFEPATH: no module is imported from the working directory.
ENV PATH=/opt/dinoreg/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    MPLBACKEND=Agg \
    NUMBA_CACHE_DIR=/tmp/numba \
    DINOREG_KERNELS=/opt/dinoreg/kernels \
    TORCH_HOME=/tmp/torch \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor \
    TRITON_CACHE_DIR=/tmp/triton \
    DINOREG_TRITON_LINK=/opt/dinoreg/triton \
    HF_HOME=/tmp/huggingface \
    HF_HUB_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1

# Platforms limit the processes and threads of a container, often to 256; each of these libraries starts one
# thread per core. The limits act on large machines only.
# OMP_WAIT_POLICY: waiting threads sleep instead of spinning, which on cores shared with other work made the
# same pairs take 22 to 145 s instead of 15 to 18 s.
ENV OMP_WAIT_POLICY=PASSIVE \
    OMP_THREAD_LIMIT=32 \
    NUMBA_NUM_THREADS=32 \
    OPENBLAS_NUM_THREADS=8

# Read by the NVIDIA container runtime; without it they have no effect.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# How Grand Challenge runs the image, exec or invoke; for invoke, build.sh also sets the label that it looks for.
ARG API=exec
ENV DINOREG_API="${API}"

# Arguments that every run begins with, for platforms that give none.
ARG ARGUMENTS=""
ENV DINOREG_ARGUMENTS="${ARGUMENTS}"

ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
# Every manifest states it.
ENV DINOREG_REVISION="${REVISION}"
LABEL org.opencontainers.image.title="dinoreg" \
      org.opencontainers.image.description="Medical image registration: a Learn2Reg task in /input, displacement fields in /output" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

WORKDIR /oncoreg
USER 10001:10001
ENTRYPOINT ["python", "-m", "dinoreg.cli.platforms.entry"]
