# What a trainer or an operator needs beside a service: the client library and the command line; no torch, vLLM, Ray, Redis.
#
#   scripts/build-images --only client
#   docker build -f deploy/docker/client.Dockerfile -t treeroll-client .
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/*

FROM python AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/locks /src/deploy/locks
COPY pyproject.toml README.md LICENSE /src/
COPY services /src/services
# As in cpu.Dockerfile, with another lock.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=pip.ca \
    python3 -m venv /opt/treeroll \
 && /opt/treeroll/bin/pip install -q --no-cache-dir --no-deps --no-compile -r /src/deploy/locks/client.txt \
 && PIP_CONSTRAINT="/src/deploy/locks/cpu.txt /src/deploy/locks/dev.txt" \
      /opt/treeroll/bin/pip wheel -q --no-cache-dir --no-deps --wheel-dir /tmp/wheels /src \
 && /opt/treeroll/bin/pip install -q --no-cache-dir --no-deps --no-index --no-compile /tmp/wheels/*.whl \
 && /opt/treeroll/bin/pip uninstall -q -y pip setuptools \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/treeroll/lib

FROM python
COPY --from=build /opt/treeroll /opt/treeroll
RUN groupadd --gid 10001 treeroll \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin treeroll
# Nothing but /tmp is written: the root may be read-only.
ENV PATH=/opt/treeroll/bin:$PATH HOME=/tmp TMPDIR=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
VOLUME ["/tmp"]
ENTRYPOINT ["treeroll"]
CMD ["--help"]
# Nothing runs in it that others wait for.
HEALTHCHECK NONE
