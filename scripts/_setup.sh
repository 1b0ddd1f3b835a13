# Sourced by the other scripts: brings .venv up to the lock files in deploy/locks and puts it first on PATH.
#
# Installs only when the locks or pyproject.toml changed since the last time. PYTHON names the interpreter for a new .venv
# (default: python3). Sets ROOT to the root of the repository; answers --help with the sourcing script's own header.
# shellcheck shell=bash

if [[ ${1-} == -h || ${1-} == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
fi

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

_say() { echo "setup: $*" >&2; }

_stamp() { (cd "$ROOT" && cat deploy/locks/cpu.txt deploy/locks/dev.txt pyproject.toml | sha256sum); }

# A CUDA build cannot work here without its libraries. Reads torch/version.py, since importing such a build fails.
_check_torch() {
  if [[ -e /dev/nvidia0 ]] || command -v nvidia-smi >/dev/null; then return; fi
  local cuda
  cuda=$("$ROOT/.venv/bin/python" -c '
import importlib.util, pathlib, runpy
torch = pathlib.Path(importlib.util.find_spec("torch").origin)
print(runpy.run_path(str(torch.with_name("version.py")))["cuda"] or "")')
  if [[ -z $cuda ]]; then return; fi
  _say "the torch that pip chose is a CUDA $cuda build and this machine has no NVIDIA GPU: taking PyTorch's CPU build"
  "$ROOT/.venv/bin/pip" uninstall -qq -y torch # or the next try would keep it
  if ! "$ROOT/.venv/bin/pip" install -qq --no-deps --no-compile --index-url https://download.pytorch.org/whl/cpu \
    "$(grep '^torch==' "$ROOT/deploy/locks/cpu.txt")"; then
    _say "there is no CPU build of torch to be had: point pip at an index of CPU wheels (PIP_EXTRA_INDEX_URL) and run this again."
    return 1
  fi
}

_setup() (
  set -euo pipefail
  cd "$ROOT"
  python=${PYTHON:-python3}
  mkdir -p .venv
  exec 9>.venv/setup.lock
  flock 9 # two scripts may start at once
  if [[ ! -x .venv/bin/pip ]]; then
    if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      _say "treeroll needs Python 3.11 to 3.14, and '$python' is not one: install it, or name one with PYTHON=/path/to/python3."
      exit 1
    fi
    _say "creating .venv with $("$python" --version)"
    "$python" -m venv .venv
  fi
  if [[ $(_stamp) == "$(cat .venv/setup.stamp 2>/dev/null)" ]]; then exit 0; fi
  _say "bringing .venv to the $(cat deploy/locks/cpu.txt deploy/locks/dev.txt | grep -c ==) locked packages (a few minutes the first time)"
  # Exactly the lock: --no-deps keeps out torchvision and friends. Most modules are never imported: do not compile them.
  .venv/bin/pip install -qq --no-deps --no-compile -r deploy/locks/cpu.txt -r deploy/locks/dev.txt
  _check_torch
  _say "installing treeroll itself"
  .venv/bin/pip install -qq --no-deps --no-build-isolation -e .
  _stamp >.venv/setup.stamp
  _say "done"
)

# The browser that tests/dashboard looks at pages with; only scripts that run these tests ask for it. CHROMIUM names another.
need_chromium() {
  if [[ -x ${CHROMIUM:-/usr/bin/chromium} ]]; then return; fi
  if ((EUID)) || ! command -v apt-get >/dev/null; then
    _say "there is no Chromium, so the tests of the dashboard's pages will fail: install it, or name one with CHROMIUM=/path."
    return
  fi
  _say "installing Chromium for the tests of the dashboard's pages"
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } >/dev/null; then
    _say "Chromium could not be installed, so the tests of the dashboard's pages will fail."
  fi
}

# The terminal that tests/integration/test_top.py looks at.
need_tmux() {
  if command -v tmux >/dev/null; then return; fi
  if ((EUID)) || ! command -v apt-get >/dev/null; then
    _say "there is no tmux, so the tests of treeroll top will fail: install it."
    return
  fi
  _say "installing tmux for the tests of treeroll top"
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends tmux; } >/dev/null; then
    _say "tmux could not be installed, so the tests of treeroll top will fail."
  fi
}

# What tests/cluster makes hosts with, which needs root in any case.
need_iproute2() {
  if command -v ip >/dev/null; then return; fi
  if ((EUID)) || ! command -v apt-get >/dev/null; then
    _say "there is no program ip, so the tests of several hosts will be skipped: install iproute2."
    return
  fi
  _say "installing iproute2 for the tests of several hosts"
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends iproute2; } >/dev/null; then
    _say "iproute2 could not be installed, so the tests of several hosts will be skipped."
  fi
}

# Prometheus' checker, which tests hold metrics against. PROMTOOL names another. The package would start a server as well: only this
# program of it is taken, which needs no root.
need_promtool() {
  if [[ -x ${PROMTOOL:-} || -x $ROOT/.venv/bin/promtool ]] || command -v promtool >/dev/null; then return; fi
  local place
  place=$(mktemp -d)
  _say "fetching promtool for the tests of metrics"
  if ! (cd "$place" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } &&
    dpkg -x prometheus_*.deb . && cp usr/bin/promtool "$ROOT/.venv/bin/") &>/dev/null; then
    _say "promtool could not be fetched, so the tests of metrics will fail: install it, or name one with PROMTOOL=/path."
  fi
  rm -rf "$place"
}

# Modules compiled once, or each process would compile all it imports: 9 s of processor time more where that is vLLM.
unset PYTHONDONTWRITEBYTECODE
_setup # not in a condition: that would switch off its set -e
export VIRTUAL_ENV="$ROOT/.venv" PATH="$ROOT/.venv/bin:$PATH"
