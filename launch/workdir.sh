# shellcheck shell=bash
# Sourced: the workdir of a run on several hosts.

# Print the value of --workdir among the arguments of a command.
workdir_of() {
  local previous="" word workdir=""
  for word in "$@"; do
    case $word in
      --workdir=*) workdir=${word#--workdir=} ;;
      *) if [[ $previous == --workdir ]]; then workdir=$word; fi ;;
    esac
    previous=$word
  done
  printf '%s\n' "$workdir"
}

# A workdir outside the bucket would exist on one host only, and be lost with it.
require_workdir() {
  local workdir
  workdir=$(workdir_of "$@")
  [[ $workdir == "$MOUNT"/* ]] || \
    add_problem "--workdir is '$workdir', but must be in $MOUNT, the mounted bucket"
}
