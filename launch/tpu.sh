#!/usr/bin/env bash
# A Cloud TPU slice by queued resources: asked for, set up, run on, watched through preemption, deleted.
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
Usage: bash launch/tpu.sh [--dry-run] COMMAND

  create               ask for the slice; it waits in a queue, and costs nothing until it is ACTIVE
  wait                 until it is ACTIVE
  setup                send the commit to every host, install it, mount the bucket
  run PROGRAM ARG...   start `python -m barlow_jax PROGRAM ARG...` on every host, and return
  status               the slice's state; of every host its newest checkpoint and whether it runs
  logs                 follow the log of host 0 (WORKER=3: of host 3)
  ssh [COMMAND]        a shell on host 0, or a command line on every host (WORKER=3: on host 3)
  stop                 end the run on every host: SIGTERM, and SIGKILL after a minute
  delete               delete the slice, and wait until it is gone
  babysit PROGRAM ARG...   all of it: create, wait, setup, run; after a preemption once more, from the
                       newest checkpoint; and delete when the run is over

Settings, in the environment:
  NAME PROJECT ZONE    of the slice
  ACCELERATOR          its type, like v5litepod-64 or v6e-64
  BUCKET               mounted on every host: the workdir and the data are in it
  MOUNT                where (/mnt/bucket)
  CACHE_DIR            a folder of the hosts that keeps what was read from the bucket (none); in
                       /dev/shm it is their memory
  SPOT                 yes: cheaper, and taken away at any moment (no)
  SERVICE_ACCOUNT      that the hosts act as (the project's default)
  RUNTIME_VERSION      the hosts' image (by the accelerator)
  REF                  the commit to send (HEAD, if nothing is uncommitted)
  POLL                 seconds between two looks (60)
  MAX_RESTARTS         of babysit, without a new checkpoint between them (10)
  KEEP                 yes: babysit leaves the slice, on the bill, when the run is over (no)
END
}

: "${SPOT:=no}" "${KEEP:=no}" "${POLL:=60}" "${MAX_RESTARTS:=10}" "${MOUNT:=/mnt/bucket}"
: "${BUCKET:=}" "${ACCELERATOR:=}" "${RUNTIME_VERSION:=}" "${SERVICE_ACCOUNT:=}" "${CACHE_DIR:=}"

# The image whose drivers fit the accelerator.
default_runtime() {
  case $ACCELERATOR in
    v2-* | v3-* | v4-*) printf 'tpu-ubuntu2204-base' ;;
    v5litepod-*) printf 'v2-alpha-tpuv5-lite' ;;
    v5p-*) printf 'v2-alpha-tpuv5' ;;
    v6e-*) printf 'v2-alpha-tpuv6e' ;;
  esac
}

need_slice() {
  need ACCELERATOR "the slice's type, like v5litepod-64"
  RUNTIME_VERSION=${RUNTIME_VERSION:-$(default_runtime)}
  if [[ -n $ACCELERATOR && -z $RUNTIME_VERSION ]]; then
    problem "RUNTIME_VERSION is not set, and there is no default for ACCELERATOR $ACCELERATOR:" \
      "see https://cloud.google.com/tpu/docs/runtimes"
  fi
}

need_bucket() {
  plain_bucket
  need BUCKET "the bucket with the workdir and the data, in the slice's region"
}

command=${1:-help}
shift || true
need NAME "what to call the slice"
need PROJECT "the project that pays"
need ZONE "where the accelerator is to be had, like us-central1-a"
number POLL
number MAX_RESTARTS
choice SPOT yes no
choice KEEP yes no
case $command in
  create) need_slice ;;
  setup) need_bucket ;;
  run) need_workdir "$@" ;;
  babysit) need_slice && need_bucket && need_workdir "$@" ;;
  wait | status | logs | ssh | stop | delete) ;;
  help | -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac
settings_are_right
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
