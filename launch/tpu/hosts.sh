# shellcheck shell=bash
# Sourced by tpu.sh: commands on the hosts of the slice.

# [worker=3] on_hosts WORD...: run a command; its words arrive unchanged, whatever they contain.
on_hosts() {
  local line
  line=$(quote "$@")
  run gcloud compute tpus tpu-vm ssh "$NAME" --project="$PROJECT" --zone="$ZONE" \
    --worker="${worker:-all}" --quiet --command="$line"
}

# each_host VERB ARG...: run a verb of host.sh, from the commit that setup sent last.
each_host() {
  on_hosts bash barlow_jax/current/launch/tpu/host.sh "$@"
}

# Send the commit as one file, because gcloud copies folders file by file.
# shellcheck disable=SC2154  # scratch: tpu.sh, repository: environment.sh
setup_hosts() {
  local folder=barlow_jax/$COMMIT
  set -- setup ${MOUNT:+"$BUCKET" "$MOUNT"} ${CACHE_DIR:+"$CACHE_DIR"}
  archive "$folder" "$scratch/barlow_jax.tar.gz" &&
    run gcloud compute tpus tpu-vm scp "$scratch/barlow_jax.tar.gz" "$NAME:barlow_jax.tar.gz" \
      --project="$PROJECT" --zone="$ZONE" --worker=all --quiet &&
    on_hosts tar -xzf barlow_jax.tar.gz &&
    on_hosts bash "$folder/launch/tpu/host.sh" "$@" || return
  if is_dry_run; then
    log "on every host:"
    bash "$repository/launch/tpu/host.sh" --dry-run "$@"
  fi
}

# Start the command on every host; it continues when this connection ends.
start_hosts() {
  local cache
  cache=$(cache_flag "$@")
  each_host start ${MOUNT:+"--mount=$MOUNT"} "$1" ${cache:+"$cache"} "${@:2}"
}

# Open a shell on one host, or run a command line on all of them.
open_shell() {
  if (($# == 0)); then
    run gcloud compute tpus tpu-vm ssh "$NAME" --project="$PROJECT" --zone="$ZONE" --worker="${WORKER:-0}"
  else
    worker=${WORKER:-all} on_hosts bash -c "$*"
  fi
}
