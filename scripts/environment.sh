# shellcheck shell=bash
# Sourced by the other scripts: makes a virtual environment once per lock, and keeps it.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }

# find_python : PYTHON if it is set, else the oldest supported version that is found, else any that is new enough.
find_python() {
  local candidate candidates=("${PYTHON:-}") version
  for version in $(supported_pythons); do
    candidates+=("$(find_python_version "$version" || true)")
  done
  for candidate in "${candidates[@]}" python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "Python 3.11 or newer is needed and was not found; set PYTHON to one." >&2
  return 1
}

# supported_pythons : the versions that the classifiers of the project name, one a line: 3.11, 3.12, ...
supported_pythons() { sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml; }

# find_python_version VERSION : an interpreter of that version (3.13) on the PATH or kept by pyenv; fails where there is none.
find_python_version() {
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# environment NAME LOCK [--bare] : makes .venv-NAME from requirements/LOCK.txt and the project in editable form, unless it
# was made from exactly that already; with --bare, without the project. An environment that is kept follows the source.
environment() {
  local name=$1 lock=requirements/$2.txt project=${3:-} folder=$PWD/.venv-$1 python wanted
  python=$(find_python)
  wanted=$({ "$python" -VV; printf '%s\n' "$folder" "$project"; cat pyproject.toml "$lock"; } | sha256sum)
  if [ "$(cat "$folder/.made-from" 2>/dev/null)" != "$wanted" ]; then
    say "Making the environment .venv-$name (once)"
    rm -rf "$folder"
    "$python" -m venv "$folder" || {
      echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2
      return 1
    }
    # The lock is complete, so nothing is resolved; `pip check` tells when it has fallen behind pyproject.toml.
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement "$lock"
    if [ "$project" != --bare ]; then
      # It cannot have a hash. Its build requirements are in the lock, so this asks no index.
      "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    fi
    "$folder/bin/python" -m pip check --disable-pip-version-check >/dev/null || {
      "$folder/bin/python" -m pip check --disable-pip-version-check >&2 || true
      echo "requirements/$2.txt does not fit pyproject.toml: run scripts/lock" >&2
      return 1
    }
    printf '%s\n' "$wanted" >"$folder/.made-from"
  fi
}
