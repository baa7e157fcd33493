# shellcheck shell=bash
# Sourced by the other scripts: --dry-run, and .venv in the repository with the package and the given extras.
# PYTHON names the interpreter (3.11 or newer), VENV another folder for the environment.

# A first argument --dry-run is taken off the caller's: commands are printed and not run.
dry_run=no
if [[ ${1:-} == --dry-run ]]; then
  dry_run=yes
  shift
fi

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${VENV:-$repository/.venv}

is_dry_run() { [[ $dry_run == yes ]]; }

say() { printf '%s\n' "$*" >&2; }

# The words of a command as one line that a shell reads back as the same words.
quote() {
  local word line=""
  for word in "$@"; do
    case $word in
      *\'*) printf -v word '%q' "$word" ;;
      "" | *[!][A-Za-z0-9_./:=@%+,-]*) word="'$word'" ;;
    esac
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

# Prints a command, and runs it unless this is a dry run.
run() {
  say "+ $(quote "$@")"
  is_dry_run || "$@"
}

# The first Python that is new enough.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  say "error: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3.11"
  return 1
}

# make_environment EXTRA: the package in editable form, with an extra ("" for none).
make_environment() {
  local python
  python=$(find_python) || return
  cd "$repository" || return
  if [[ ! -x $venv/bin/python ]]; then
    run "$python" -m venv "$venv"
  fi
  run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".${1:+[$1]}"
}
