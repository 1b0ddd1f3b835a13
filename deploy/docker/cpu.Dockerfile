# treeroll on processors: coordinator, fleet and replicas with vLLM or the simulated engine, scorers, dashboard.
#
#   scripts/build-images --only cpu
#   docker build -f deploy/docker/cpu.Dockerfile -t treeroll-cpu .
ARG BASE=docker.io/library/debian:bookworm-slim

# libnuma is vLLM's; KubeRay probes nodes of Ray with wget; tini waits for processes that outlive their parents.
FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libnuma1 python3 tini wget \
 && rm -rf /var/lib/apt/lists/*

FROM python AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/locks /src/deploy/locks
# Secret pip.conf, if there is one, says where else pip may look. PyPI's torch is a CUDA build: that would be refused here.
# The root will be read-only: modules are compiled now, without times of files, which layers may lose. Some files of others
# are no Python of this version, and nobody imports them.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=pip.ca \
    python3 -m venv /opt/treeroll \
 && grep -v '^torch==' /src/deploy/locks/cpu.txt > /tmp/rest.txt \
 && /opt/treeroll/bin/pip install -q --no-cache-dir --no-deps --no-compile -r /tmp/rest.txt \
 && /opt/treeroll/bin/pip install -q --no-cache-dir --no-deps --no-compile --extra-index-url "${TORCH_INDEX}" \
      "$(grep '^torch==' /src/deploy/locks/cpu.txt)" \
 && grep -q '^cuda.* = None$' /opt/treeroll/lib/python3*/site-packages/torch/version.py \
 && { python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/treeroll/lib || true; }
COPY pyproject.toml README.md LICENSE /src/
COPY services /src/services
# The build back end is the locked one, too, and does not stay.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=pip.ca \
    PIP_CONSTRAINT="/src/deploy/locks/cpu.txt /src/deploy/locks/dev.txt" \
      /opt/treeroll/bin/pip wheel -q --no-cache-dir --no-deps --wheel-dir /tmp/wheels /src \
 && /opt/treeroll/bin/pip install -q --no-cache-dir --no-deps --no-index --no-compile /tmp/wheels/*.whl \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/treeroll/lib/python3*/site-packages/treeroll \
 && /opt/treeroll/bin/pip uninstall -q -y pip

FROM python
COPY --from=build /opt/treeroll /opt/treeroll
RUN groupadd --gid 10001 treeroll \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin treeroll
# Nothing but /tmp is written: the root may be read-only. There is no compiler for what torch would compile.
ENV PATH=/opt/treeroll/bin:$PATH HOME=/tmp TMPDIR=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TORCHDYNAMO_DISABLE=1
USER 10001:10001
WORKDIR /tmp
VOLUME ["/tmp"]
ENTRYPOINT ["tini", "--", "treeroll"]
CMD ["--help"]
# Of a service with coordinator.health_port 7071; others, and replicas (--ready-file), say theirs themselves.
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --retries=6 CMD ["treeroll", "health"]
