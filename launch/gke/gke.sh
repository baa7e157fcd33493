#!/usr/bin/env bash
# Build the image and run the JobSet on a TPU node pool of GKE, or start the same run with XPK.
# shellcheck disable=SC2034,SC2153  # render reads the values of the manifest by name
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
# shellcheck source=launch/settings.sh
source "$repository/launch/settings.sh"
# shellcheck source=launch/commit.sh
source "$repository/launch/commit.sh"
# shellcheck source=launch/workdir.sh
source "$repository/launch/workdir.sh"

usage() {
  cat <<'END'
Run commands on a TPU node pool of Google Kubernetes Engine.

Usage: bash launch/gke/gke.sh [--dry-run] COMMAND

  build              build IMAGE from the commit, and push it
  render ARG...      print the JobSet that runs `python -m barlow_jax ARG...` on a slice
  apply ARG...       send the JobSet to the cluster of kubectl's context
  watch              show the pods and their changes
  logs               follow the log of host 0
  delete             delete the JobSet; the node pool is kept and billed, unless it scales down by itself
  xpk ARG...         start the same run with `xpk workload create`

With --dry-run, every command is printed and none is run. Settings are environment variables:

  IMAGE              image, such as us-docker.pkg.dev/PROJECT/REPOSITORY/barlow_jax:TAG
  NAME               name of the run
  ACCELERATOR        v4, v5litepod, v5p or v6e (xpk: with its size, such as v5litepod-64)
  TOPOLOGY           topology of the node pool's slice, such as 8x8
  CHIPS              chips per host (default: 4, or all chips of a smaller slice)
  MOUNT              folder, such as /mnt/bucket, at which every pod mounts BUCKET (default: no mount; paths
                     in a bucket are gs://BUCKET/...)
  BUCKET             bucket to mount
  SPOT               yes: use only spot nodes (default: no)
  MAX_RESTARTS       restarts of the run, including preemptions (default: 50)
  NAMESPACE          Kubernetes namespace (default: default)
  KUBERNETES_ACCOUNT Kubernetes service account with write access to the bucket (default: default)
  CLUSTER PROJECT ZONE  cluster, project and zone, for xpk
  REF                commit to build (default: HEAD, if nothing is uncommitted)

Example:
  export IMAGE=us-docker.pkg.dev/my-project/barlow/barlow_jax:1 NAME=imagenet ACCELERATOR=v5litepod
  export TOPOLOGY=8x8
  bash launch/gke/gke.sh apply pretrain --config imagenet --workdir gs://my-bucket/runs/imagenet
END
}

: "${MOUNT:=}" "${SPOT:=no}" "${MAX_RESTARTS:=50}" "${NAMESPACE:=default}"
: "${KUBERNETES_ACCOUNT:=default}" "${BUCKET:=}" "${ACCELERATOR:=}" "${TOPOLOGY:=}" "${CHIPS:=}"

require_jobset() {
  require IMAGE "image that build has pushed"
  require ACCELERATOR "v4, v5litepod, v5p or v6e"
  case $ACCELERATOR in
    v4*) GKE_ACCELERATOR=tpu-v4-podslice ;;
    v5litepod*) GKE_ACCELERATOR=tpu-v5-lite-podslice ;;
    v5p*) GKE_ACCELERATOR=tpu-v5p-slice ;;
    v6e*) GKE_ACCELERATOR=tpu-v6e-slice ;;
    *) add_problem "ACCELERATOR is '$ACCELERATOR'; possible values: v4, v5litepod, v5p, v6e" ;;
  esac
  count_hosts
  require_choice SPOT yes no
  require_number MAX_RESTARTS
}

# Set HOSTS and CHIPS (per host) from a TOPOLOGY such as 8x8 or 2x2x4.
count_hosts() {
  local chips
  if [[ ! $TOPOLOGY =~ ^[0-9]+(x[0-9]+)+$ ]]; then
    add_problem "TOPOLOGY is '$TOPOLOGY', but must be that of the node pool, such as 8x8 or 2x2x4"
    return
  fi
  chips=$((${TOPOLOGY//x/*}))
  CHIPS=${CHIPS:-$((chips < 4 ? chips : 4))}
  if [[ ! $CHIPS =~ ^[1-9][0-9]*$ ]] || ((chips % CHIPS)); then
    add_problem "CHIPS is '$CHIPS', but must divide the $chips of TOPOLOGY $TOPOLOGY"
    return
  fi
  HOSTS=$((chips / CHIPS))
}

# Print a JSON list of strings, which is also YAML. Doubling each $ keeps Kubernetes from expanding $(NAME).
json_list() {
  local word list=""
  for word in "$@"; do
    word=${word//\\/\\\\}
    word=${word//\"/\\\"}
    word=${word//$'\n'/\\n}
    word=${word//$'\t'/\\t}
    word=${word//\$/\$\$}
    list+="${list:+, }\"$word\""
  done
  printf '[%s]\n' "$list"
}

render() {
  local line name cache ARGS
  cache=$(cache_flag "$@")
  ARGS=$(json_list "$1" ${cache:+"$cache"} "${@:2}")
  shopt -u patsub_replacement 2>/dev/null || true # otherwise bash 5.2 replaces & in a value by the match
  while IFS= read -r line; do
    if [[ $line =~ ^(.*)" # if "([A-Z]+)$ ]]; then
      line=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]}
      case ${!name} in "" | no) continue ;; esac
    fi
    if [[ $line =~ @([A-Z_]+)@ && $line != "#"* ]]; then
      name=${BASH_REMATCH[1]}
      line=${line/@$name@/${!name}}
    fi
    printf '%s\n' "$line"
  done <"$repository/launch/gke/jobset.yaml"
}

build() {
  pin_commit
  log "+ git archive $COMMIT, the build context of:"
  run docker build --platform=linux/amd64 --file=launch/Dockerfile --tag="$IMAGE" - \
    < <(git -C "$repository" archive "$COMMIT")
  run docker push "$IMAGE"
}

apply() {
  run kubectl apply --filename=- < <(render "$@")
  if is_dry_run; then render "$@"; fi
}

# By default XPK does not restart after exit code 1, which an error of a disk or the network causes.
xpk_workload() {
  local cache
  cache=$(cache_flag "$@")
  run xpk workload create --cluster="$CLUSTER" --project="$PROJECT" --zone="$ZONE" --workload="$NAME" \
    --tpu-type="$ACCELERATOR" --num-slices=1 --docker-image="$IMAGE" \
    --max-restarts="$MAX_RESTARTS" --restart-on-exit-codes=1 \
    --env=JAX_PLATFORMS=tpu,cpu --command="python -m barlow_jax $(quote "$1" ${cache:+"$cache"} "${@:2}")"
}

kube() { run kubectl --namespace="$NAMESPACE" "$@"; }

command=${1:-help}
shift || true
pods=jobset.sigs.k8s.io/jobset-name=${NAME:-}
case $command in
  build) require IMAGE "image to push, such as us-docker.pkg.dev/PROJECT/REPOSITORY/barlow_jax:TAG" ;;
  render | apply) require NAME "name of the run" && require_jobset && require_workdir "$@" ;;
  watch | logs | delete) require NAME "name of the run" ;;
  xpk)
    require NAME "name of the run"
    require CLUSTER "cluster that XPK created"
    require PROJECT "Google Cloud project"
    require ZONE "zone of the cluster"
    require ACCELERATOR "type of the slice, such as v5litepod-64"
    require IMAGE "image that build has pushed"
    require_workdir "$@"
    ;;
  help | -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac
exit_on_problems

case $command in
  build) build ;;
  render) render "$@" ;;
  apply) apply "$@" ;;
  watch) kube get pods --selector="$pods" --watch ;;
  logs) kube logs --follow --container=barlow --selector="$pods,batch.kubernetes.io/job-completion-index=0" ;;
  delete) kube delete jobset "$NAME" ;;
  xpk) xpk_workload "$@" ;;
esac
