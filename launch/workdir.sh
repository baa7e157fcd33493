# shellcheck shell=bash
# Sourced: the workdir of a run on several hosts.

# The value of --workdir among a program's arguments.
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

# A workdir elsewhere is on one host alone, and gone with it.
need_workdir() {
  local workdir
  workdir=$(workdir_of "$@")
  [[ $workdir == "$MOUNT"/* ]] || problem "--workdir is '$workdir', and must be in $MOUNT, the mounted bucket"
}
