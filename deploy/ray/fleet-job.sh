#!/usr/bin/env bash
# Submit treeroll's fleet to a Ray cluster as a job, which runs on its head: the replicas of a service elsewhere. Where one of the
# name has ended, it is started again; `ray job stop treeroll-NAME` ends it, and its replicas with it.
#
#   deploy/ray/fleet-job.sh ADDRESS SETTINGS [NAME]
#
# ADDRESS   of the service, HOST:PORT,... , which was started with --engine none
# SETTINGS  its file, by its path on the head
# NAME      what replicas' names begin with (default: fleet), as their token says (`treeroll token make replica ... --replicas NAME-`)
#
# Environment: RAY_API (http://127.0.0.1:8265, such as by `ssh -L 8265:127.0.0.1:8265 HEAD`), RAY_AUTH_TOKEN_PATH of the cluster;
# TOKEN_FILE (/etc/treeroll/replica.token) on the head and CA (/etc/treeroll/ca.pem) on all nodes. Nobody but you starts a job again
# that has ended: where a fleet must stay, let systemd or Kubernetes run `treeroll fleet` on a node of the cluster.
set -euo pipefail

if (($# < 2 || $# > 3)); then
  echo "fleet-job.sh: wants ADDRESS, SETTINGS and at most a NAME" >&2
  exit 2
fi
address=$1 settings=$2 name=${3:-fleet}
# Ray kills what has not ended three seconds after it was told to, unless that is said. And of a shell that it starts it takes the
# program for alive that has ended: hence `exec`.
environment=$(printf '{"env_vars": {"TREEROLL_TOKEN_FILE": "%s", "TREEROLL_CA": "%s", "RAY_JOB_STOP_WAIT_TIME_S": "20"}}' \
  "${TOKEN_FILE:-/etc/treeroll/replica.token}" "${CA:-/etc/treeroll/ca.pem}")
export RAY_AUTH_MODE=token
job=treeroll-$name api=${RAY_API:-http://127.0.0.1:8265}
ray job delete --address "$api" "$job" > /dev/null 2>&1 || true # it has not run before, or runs
exec ray job submit --address "$api" --submission-id "$job" --entrypoint-num-cpus 0 \
  --no-wait --runtime-env-json "$environment" -- \
  exec treeroll fleet --address "$address" --ray-address auto --config "$settings" --name "$name"
