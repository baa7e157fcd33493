# shellcheck shell=bash
# Sourced: checks of settings, which are environment variables. All problems are named at once.

problems=""

problem() { problems+="  $*"$'\n'; }

# need NAME WHAT: a setting that has no default.
need() {
  [[ -n ${!1:-} ]] || problem "$1 is not set: $2"
}

# choice NAME VALUE...: a setting with few values.
choice() {
  local name=$1 value
  shift
  for value in "$@"; do
    [[ ${!name} != "$value" ]] || return 0
  done
  problem "$name is '${!name}', and can be: $*"
}

number() {
  [[ ${!1} =~ ^[0-9]+$ ]] || problem "$1 is '${!1}', and must be a whole number"
}

# The bucket's name alone, however it was written.
plain_bucket() {
  BUCKET=${BUCKET#gs://}
  BUCKET=${BUCKET%/}
}

settings_are_right() {
  [[ -n $problems ]] || return 0
  printf 'error: settings, as in NAME=value bash %s ...\n%s' "$0" "$problems" >&2
  exit 2
}
