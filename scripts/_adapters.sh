# Sourced by scripts/test, after _setup.sh: the libraries of adapters that cannot be installed beside the locks.
#
# Each deploy/locks/adapters-NAME.txt becomes a folder .venv/adapters/NAME. With that first on the path its packages are
# found before .venv's, so it holds only what .venv lacks, or what must have another version than there.
# shellcheck shell=bash

adapters() { # NAME: prints the folder, brought up to its lock
  local name=$1
  local lock=$ROOT/deploy/locks/adapters-$name.txt folder=$ROOT/.venv/adapters/$name
  if ! cmp -s "$lock" "$folder/.lock"; then
    _say "installing the $(grep -c == "$lock") packages of $lock"
    rm -rf "$folder"
    # --ignore-requires-python: SkyRL asks for 3.12, and its interface runs on 3.11.
    "$ROOT/.venv/bin/pip" install -qq --no-deps --no-compile --ignore-requires-python --target "$folder" -r "$lock" >&2
    rm -rf "$folder/tests" "$folder/scripts" # verl's wheel brings them, and they would be found before ours
    cp "$lock" "$folder/.lock"
  fi
  echo "$folder"
}
