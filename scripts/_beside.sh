# Sourced by other scripts: commands that run beside them, and end with them, also by Ctrl-C.
# shellcheck shell=bash

declare -A _processes
_logs=$(mktemp -d)

_end() {
  local pid
  for pid in $(jobs -p); do kill -- "-$pid" 2>/dev/null || true; done
  rm -rf "$_logs"
}
trap _end EXIT

beside() { # NAME COMMAND...: start it
  local name=$1
  shift
  set -m # in a group of its own, or Ctrl-C would not reach it
  "$@" </dev/null &>"$_logs/$name" &
  set +m
  _processes[$name]=$!
}

await() { # NAME: returns the exit status of what runs under this name
  wait "${_processes[$1]}"
}

said() { # NAME: prints what it wrote
  cat "$_logs/$1"
}
