#!/usr/bin/env bash
# A run on a TPU node pool of GKE: the image, the JobSet, or XPK's command for the same.
# shellcheck disable=SC2034,SC2153  # render reads the manifest's values by their names
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
Usage: bash launch/gke/gke.sh [--dry-run] COMMAND

  build                 build IMAGE from the commit, and push it
  render PROGRAM ARG... print the JobSet that runs `python -m barlow_jax PROGRAM ARG...` on a slice
  apply PROGRAM ARG...  give it to the cluster of kubectl's context
  watch                 the pods, as they change
  logs                  follow the log of host 0
  delete                delete the JobSet; the node pool stays, and on the bill, unless it scales itself
  xpk PROGRAM ARG...    the same run by `xpk workload create`

Settings, in the environment:
  IMAGE                like us-docker.pkg.dev/PROJECT/REPOSITORY/barlow_jax:TAG
  NAME                 of the run
  ACCELERATOR          v4, v5litepod, v5p or v6e (xpk: with its size, like v5litepod-64)
  TOPOLOGY             of the node pool's slice, like 8x8
  CHIPS                of a host (4, or all of a smaller slice)
  BUCKET               mounted in every pod: the workdir and the data are in it
  MOUNT                where (/mnt/bucket)
  SPOT                 yes: only on spot nodes (no)
  MAX_RESTARTS         of the run, preemptions included (50)
  NAMESPACE            of Kubernetes (default)
  KUBERNETES_ACCOUNT   its service account, which may write to the bucket (default)
  CLUSTER PROJECT ZONE of xpk
  REF                  the commit to build (HEAD, if nothing is uncommitted)
END
}

: "${MOUNT:=/mnt/bucket}" "${SPOT:=no}" "${MAX_RESTARTS:=50}" "${NAMESPACE:=default}"
: "${KUBERNETES_ACCOUNT:=default}" "${BUCKET:=}" "${ACCELERATOR:=}" "${TOPOLOGY:=}" "${CHIPS:=}"

need_jobset() {
  plain_bucket
  need IMAGE "what build has pushed"
  need BUCKET "the bucket with the workdir and the data"
  need ACCELERATOR "v4, v5litepod, v5p or v6e"
  case $ACCELERATOR in
    v4*) GKE_ACCELERATOR=tpu-v4-podslice ;;
    v5litepod*) GKE_ACCELERATOR=tpu-v5-lite-podslice ;;
    v5p*) GKE_ACCELERATOR=tpu-v5p-slice ;;
    v6e*) GKE_ACCELERATOR=tpu-v6e-slice ;;
    *) problem "ACCELERATOR is '$ACCELERATOR', and can be: v4, v5litepod, v5p, v6e" ;;
  esac
  count_hosts
  choice SPOT yes no
  number MAX_RESTARTS
}

# HOSTS and CHIPS a host, of a TOPOLOGY like 8x8 or 2x2x4.
count_hosts() {
  local chips
  if [[ ! $TOPOLOGY =~ ^[0-9]+(x[0-9]+)+$ ]]; then
    problem "TOPOLOGY is '$TOPOLOGY', and must be that of the node pool, like 8x8 or 2x2x4"
    return
  fi
  chips=$((${TOPOLOGY//x/*}))
  CHIPS=${CHIPS:-$((chips < 4 ? chips : 4))}
  if [[ ! $CHIPS =~ ^[1-9][0-9]*$ ]] || ((chips % CHIPS)); then
    problem "CHIPS is '$CHIPS', and must divide the $chips of TOPOLOGY $TOPOLOGY"
    return
  fi
  HOSTS=$((chips / CHIPS))
}

# A JSON list of strings, which is YAML as well. Kubernetes would fill in $(NAME), but for the second $.
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
  local line name ARGS
  ARGS=$(json_list "$@")
  shopt -u patsub_replacement 2>/dev/null || true # else bash 5.2 takes & in a value for the match
  while IFS= read -r line; do
    case $line in
      *" # if SPOT")
        if [[ $SPOT != yes ]]; then continue; fi
        line=${line% # if SPOT}
        ;;
    esac
    if [[ $line =~ @([A-Z_]+)@ && $line != "#"* ]]; then
      name=${BASH_REMATCH[1]}
      line=${line/@$name@/${!name}}
    fi
    printf '%s\n' "$line"
  done <"$repository/launch/gke/jobset.yaml"
}

build() {
  pin_commit
  say "+ git archive $COMMIT, which is the context of:"
  run docker build --platform=linux/amd64 --file=launch/gke/Dockerfile --tag="$IMAGE" - \
    < <(git -C "$repository" archive "$COMMIT")
  run docker push "$IMAGE"
}

apply() {
  run kubectl apply --filename=- < <(render "$@")
  if is_dry_run; then render "$@"; fi
}

# 1 is an error of a disk or the network, which XPK would not try again by itself.
xpk_workload() {
  run xpk workload create --cluster="$CLUSTER" --project="$PROJECT" --zone="$ZONE" --workload="$NAME" \
    --tpu-type="$ACCELERATOR" --num-slices=1 --docker-image="$IMAGE" \
    --max-restarts="$MAX_RESTARTS" --restart-on-exit-codes=1 \
    --env=JAX_PLATFORMS=tpu,cpu --command="python -m barlow_jax $(quote "$@")"
}

kube() { run kubectl --namespace="$NAMESPACE" "$@"; }

command=${1:-help}
shift || true
pods=jobset.sigs.k8s.io/jobset-name=${NAME:-}
case $command in
  build) need IMAGE "where to push it, like us-docker.pkg.dev/PROJECT/REPOSITORY/barlow_jax:TAG" ;;
  render | apply) need NAME "what to call the run" && need_jobset && need_workdir "$@" ;;
  watch | logs | delete) need NAME "of the run" ;;
  xpk)
    need NAME "what to call the run"
    need CLUSTER "XPK's cluster"
    need PROJECT "the project that pays"
    need ZONE "of the cluster"
    need ACCELERATOR "the slice's type, like v5litepod-64"
    need IMAGE "what build has pushed"
    need_workdir "$@"
    ;;
  help | -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac
settings_are_right

case $command in
  build) build ;;
  render) render "$@" ;;
  apply) apply "$@" ;;
  watch) kube get pods --selector="$pods" --watch ;;
  logs) kube logs --follow --container=barlow --selector="$pods,batch.kubernetes.io/job-completion-index=0" ;;
  delete) kube delete jobset "$NAME" ;;
  xpk) xpk_workload "$@" ;;
esac
