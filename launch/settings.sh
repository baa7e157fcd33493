# shellcheck shell=bash
# Sourced: checks of settings, which are environment variables. All problems are reported together.

problems=""

add_problem() { problems+="  $*"$'\n'; }

# require NAME DESCRIPTION: a setting without a default.
require() {
  [[ -n ${!1:-} ]] || add_problem "$1 is not set: $2"
}

# require_choice NAME VALUE...: a setting with a few possible values.
require_choice() {
  local name=$1 value
  shift
  for value in "$@"; do
    [[ ${!name} != "$value" ]] || return 0
  done
  add_problem "$name is '${!name}'; possible values: $*"
}

require_number() {
  [[ ${!1} =~ ^[0-9]+$ ]] || add_problem "$1 is '${!1}', but must be a whole number"
}

# Reduce BUCKET to the bucket's name, without gs:// and a trailing slash.
strip_bucket_url() {
  BUCKET=${BUCKET#gs://}
  BUCKET=${BUCKET%/}
}

exit_on_problems() {
  [[ -n $problems ]] || return 0
  printf 'error: settings, as in NAME=value bash %s ...\n%s' "$0" "$problems" >&2
  exit 2
}
