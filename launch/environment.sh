# shellcheck shell=bash
# Sourced by the other scripts: --dry-run, and the virtual environment .venv in the repository.
# PYTHON names the interpreter (3.11 or newer), VENV another folder for the environment.

# A first argument --dry-run is removed from the caller's arguments: commands are printed, not run.
dry_run=no
if [[ ${1:-} == --dry-run ]]; then
  dry_run=yes
  shift
fi

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${VENV:-$repository/.venv}

is_dry_run() { [[ $dry_run == yes ]]; }

log() { printf '%s\n' "$*" >&2; }

# With --help as the first argument: print the comment at the top of the calling script, and exit.
help_from_header() {
  case ${1:-} in -h | --help) sed -n '2,${/^#/!q; s/^# \{0,1\}//p;}' "$0" && exit ;; esac
}

# Quote the words of a command as one line that a shell reads back as the same words.
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

# Print a command, and run it unless this is a dry run.
run() {
  log "+ $(quote "$@")"
  is_dry_run || "$@"
}

# Print the first Python that is new enough.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  log "error: Python 3.11 or newer is required; name one with PYTHON=/path/to/python3.11"
  return 1
}

# make_environment EXTRA: create the environment and install the package in it, with an extra ("" for none).
make_environment() {
  local python version='import sys; print(sys.version_info[:2])'
  python=$(find_python) || return
  cd "$repository" || return
  if [[ ! -x $venv/bin/python ]]; then
    run "$python" -m venv "$venv"
  elif [[ -n ${PYTHON:-} && $("$python" -c "$version") != $("$venv/bin/python" -c "$version") ]]; then
    log "error: $venv has another Python version than PYTHON=$PYTHON; name another folder with VENV=..."
    return 1
  fi
  run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".${1:+[$1]}"
}
