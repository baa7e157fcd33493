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

# Print the flag that keeps the compiled programs of a pretraining run in the bucket: restarts on new hosts find
# them, and several hosts load only programs that they share. It comes first, so that the user's own value wins.
cache_flag() {
  if [[ $1 == pretrain ]]; then printf '%s\n' "--config.train.compilation_cache=$MOUNT/compiled"; fi
}
