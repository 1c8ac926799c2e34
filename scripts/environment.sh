# Sourced by the other scripts: makes a virtual environment once per set of requirements, and keeps it.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "Python 3.11 or newer is needed and was not found; set PYTHON to one." >&2
  return 1
}

# environment NAME PIP-ARGUMENTS... : makes .venv-NAME, unless it was made from exactly that already. The project itself
# is installed in editable form, so an environment that is kept follows the source.
environment() {
  local name=$1 folder=$PWD/.venv-$1 python wanted
  shift
  python=$(find_python)
  wanted=$({ "$python" -VV; printf '%s\n' "$folder" "$@"; cat pyproject.toml requirements/*.txt; } | sha256sum)
  if [ "$(cat "$folder/.made-from" 2>/dev/null)" != "$wanted" ]; then
    say "Making the environment .venv-$name (once)"
    rm -rf "$folder"
    "$python" -m venv "$folder" || {
      echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2
      return 1
    }
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    printf '%s\n' "$wanted" >"$folder/.made-from"
  fi
}
