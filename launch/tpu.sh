#!/usr/bin/env bash
# Create, set up, use, watch and delete a Cloud TPU slice, through queued resources.
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/settings.sh
source "$repository/launch/settings.sh"
# shellcheck source=launch/commit.sh
source "$repository/launch/commit.sh"
# shellcheck source=launch/tpu/queue.sh
source "$repository/launch/tpu/queue.sh"
# shellcheck source=launch/tpu/hosts.sh
source "$repository/launch/tpu/hosts.sh"
# shellcheck source=launch/workdir.sh
source "$repository/launch/workdir.sh"
# shellcheck source=launch/tpu/babysit.sh
source "$repository/launch/tpu/babysit.sh"

usage() {
  cat <<'END'
Run commands on a Cloud TPU slice, through queued resources.

Usage: bash launch/tpu.sh [--dry-run] COMMAND

  create             request the slice; waiting in the queue costs nothing until the slice is ACTIVE
  wait               wait until the slice is ACTIVE
  setup              send the commit to every host, install it, and mount the bucket if MOUNT is set
  run ARG...         start `python -m barlow_jax ARG...` on every host, and return
  status             print the slice's state, and each host's newest checkpoint and process state
  logs               follow the log of host 0 (WORKER=3: host 3)
  ssh [COMMAND]      open a shell on host 0, or run a command line on every host (WORKER=3: on host 3)
  stop               end the run on every host: SIGTERM, and SIGKILL after a minute
  delete             delete the slice that create made, and wait until it no longer exists
  babysit ARG...     all of it: create, wait, setup and run; after a preemption, resume from the newest
                     checkpoint; at the end of the run, delete

With --dry-run, every command is printed and none is run. Settings are environment variables:

  NAME               name of the slice
  PROJECT ZONE       project and zone of the slice
  ACCELERATOR        type of the slice, such as v5litepod-64 or v6e-64
  MOUNT              folder, such as /mnt/bucket, at which every host mounts BUCKET with gcsfuse (default: no
                     mount; paths in a bucket are gs://BUCKET/...)
  BUCKET             bucket to mount
  CACHE_DIR          folder on the hosts that caches files read from MOUNT (default: none); in /dev/shm it
                     uses their memory
  SPOT               yes: cheaper, but can be preempted at any time (default: no)
  SERVICE_ACCOUNT    service account of the hosts (default: the project's)
  RUNTIME_VERSION    image of the hosts (default: depends on the accelerator)
  REF                commit to send (default: HEAD, if nothing is uncommitted)
  POLL               seconds between two status checks (default: 60)
  MAX_RESTARTS       restarts by babysit without a new checkpoint before it gives up (default: 10)
  MAX_HOURS          hours of ACTIVE slices after which babysit ends the run and deletes the slice (default: no
                     limit); starting babysit again starts the count again
  KEEP               yes: babysit keeps the slice, which continues to cost money, after the run (default: no)

Example:
  export NAME=imagenet PROJECT=my-project ZONE=us-central1-a ACCELERATOR=v5litepod-64
  bash launch/tpu.sh babysit pretrain --config imagenet --workdir gs://my-bucket/runs/imagenet
END
}

: "${SPOT:=no}" "${KEEP:=no}" "${POLL:=60}" "${MAX_RESTARTS:=10}" "${MOUNT:=}"
: "${MAX_HOURS:=}" "${BUCKET:=}" "${ACCELERATOR:=}" "${RUNTIME_VERSION:=}" "${SERVICE_ACCOUNT:=}" "${CACHE_DIR:=}"

# Print the image whose drivers fit the accelerator.
default_runtime() {
  case $ACCELERATOR in
    v2-* | v3-* | v4-*) printf 'tpu-ubuntu2204-base' ;;
    v5litepod-*) printf 'v2-alpha-tpuv5-lite' ;;
    v5p-*) printf 'v2-alpha-tpuv5' ;;
    v6e-*) printf 'v2-alpha-tpuv6e' ;;
  esac
}

require_slice() {
  require ACCELERATOR "type of the slice, such as v5litepod-64"
  RUNTIME_VERSION=${RUNTIME_VERSION:-$(default_runtime)}
  if [[ -n $ACCELERATOR && -z $RUNTIME_VERSION ]]; then
    add_problem "RUNTIME_VERSION is not set, and ACCELERATOR $ACCELERATOR has no default; see" \
      "https://cloud.google.com/tpu/docs/runtimes"
  fi
}

command=${1:-help}
shift || true
require NAME "name of the slice"
require PROJECT "Google Cloud project"
require ZONE "zone that offers the accelerator, such as us-central1-a"
require_number POLL
require_number MAX_RESTARTS
if [[ ! $MAX_HOURS =~ ^([0-9]+(\.[0-9]+)?)?$ ]]; then
  add_problem "MAX_HOURS is '$MAX_HOURS', but must be a number of hours, such as 24 or 0.5"
fi
require_choice SPOT yes no
require_choice KEEP yes no
if [[ -n $CACHE_DIR && -z $MOUNT ]]; then
  add_problem "CACHE_DIR is '$CACHE_DIR', but it caches only a mounted bucket; set MOUNT, or unset it"
fi
case $command in
  create) require_slice ;;
  setup) require_mount ;;
  run) require_workdir "$@" ;;
  babysit) require_slice && require_workdir "$@" ;;
  wait | status | logs | ssh | stop | delete) ;;
  help | -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac
exit_on_problems
case $command in setup | babysit) pin_commit ;; esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

case $command in
  create) create ;;
  wait) wait_until_active ;;
  setup) setup_hosts ;;
  run) start_hosts "$@" ;;
  status) queue describe '--format=value(state.state)' && each_host status ;;
  logs) worker=${WORKER:-0} each_host logs ;;
  ssh) open_shell "$@" ;;
  stop) each_host stop ;;
  delete) delete ;;
  babysit) babysit "$@" ;;
esac
