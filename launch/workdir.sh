# shellcheck shell=bash
# Sourced: the workdir of a run on several hosts, in a bucket or a mounted bucket.

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

# With MOUNT, which is optional, BUCKET is mounted there on every host.
require_mount() {
  strip_bucket_url
  MOUNT=${MOUNT%/}
  if [[ -n $MOUNT ]]; then
    [[ $MOUNT == /* ]] || add_problem "MOUNT is '$MOUNT', but must be an absolute path, such as /mnt/bucket"
    require BUCKET "bucket to mount at MOUNT, in the region of the hosts"
  fi
}

# A workdir outside the bucket would exist on one host only, and be lost with it.
require_workdir() {
  local workdir
  workdir=$(workdir_of "$@")
  require_mount
  if [[ $workdir =~ ^gs://[^/]+/[^/] || (-n $MOUNT && $workdir == "$MOUNT"/*) ]]; then return; fi
  add_problem "--workdir is '$workdir', but must be gs://BUCKET/FOLDER, or in MOUNT, the mounted bucket" \
    "(${MOUNT:-not set})"
}

# Print the flag that keeps the compiled programs of a pretraining run in its workdir's bucket: restarts on new
# hosts find them, and several hosts load only programs that they share. It comes first, so that the user's own
# value wins.
cache_flag() {
  local bucket=$MOUNT
  if [[ $1 != pretrain ]]; then return; fi
  if [[ $(workdir_of "$@") =~ ^gs://[^/]+ ]]; then bucket=${BASH_REMATCH[0]}; fi
  printf '%s\n' "--config.train.compilation_cache=$bucket/compiled"
}
