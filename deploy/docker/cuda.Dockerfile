# treeroll on NVIDIA GPUs: cpu.Dockerfile with vLLM's CUDA build. CUDA's libraries come with the wheels, the driver with the
# container toolkit of its host, so that any Debian 12 is a base.
#
#   scripts/build-images --only cuda
#   docker build -f deploy/docker/cuda.Dockerfile -t treeroll-cuda .
ARG BASE=docker.io/library/debian:bookworm-slim

# libnuma is vLLM's; KubeRay probes nodes of Ray with wget; tini waits for processes that outlive their parents.
FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libnuma1 python3 tini wget \
 && rm -rf /var/lib/apt/lists/*

FROM python AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/locks /src/deploy/locks
# As in cpu.Dockerfile; the lock's torch is PyPI's CUDA build.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=pip.ca \
    python3 -m venv /opt/treeroll \
 && /opt/treeroll/bin/pip install -q --no-cache-dir --no-deps --no-compile -r /src/deploy/locks/cuda.txt \
 && grep -q "^cuda.* = '13" /opt/treeroll/lib/python3*/site-packages/torch/version.py \
 && { python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/treeroll/lib || true; }
COPY pyproject.toml README.md LICENSE /src/
COPY services /src/services
# The build back end is the locked one, too, and does not stay.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=pip.ca \
    PIP_CONSTRAINT="/src/deploy/locks/cuda.txt /src/deploy/locks/dev.txt" \
      /opt/treeroll/bin/pip wheel -q --no-cache-dir --no-deps --wheel-dir /tmp/wheels /src \
 && /opt/treeroll/bin/pip install -q --no-cache-dir --no-deps --no-index --no-compile /tmp/wheels/*.whl \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/treeroll/lib/python3*/site-packages/treeroll \
 && /opt/treeroll/bin/pip uninstall -q -y pip

# A compiler in an image that runs: Triton and FlashInfer build kernels, and what launches them, when they are first used.
FROM python
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ python3-dev \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/treeroll /opt/treeroll
RUN groupadd --gid 10001 treeroll \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin treeroll
# Nothing but /tmp is written: the root may be read-only.
ENV PATH=/opt/treeroll/bin:$PATH HOME=/tmp TMPDIR=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /tmp
VOLUME ["/tmp"]
ENTRYPOINT ["tini", "--", "treeroll"]
CMD ["--help"]
# Of a service with coordinator.health_port 7071; others, and replicas (--ready-file), say theirs themselves.
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --retries=6 CMD ["treeroll", "health"]
