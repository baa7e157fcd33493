# shellcheck shell=bash
# Sourced by tpu.sh: commands on the hosts of the slice.

# [worker=3] on_hosts WORD...: the words are the same words over there, whatever is in them.
on_hosts() {
  local line
  line=$(quote "$@")
  run gcloud compute tpus tpu-vm ssh "$NAME" --project="$PROJECT" --zone="$ZONE" \
    --worker="${worker:-all}" --quiet --command="$line"
}

# each_host VERB ARG...: a verb of host.sh, as setup sent it last.
each_host() {
  on_hosts bash barlow_jax/current/launch/tpu/host.sh "$@"
}

# Sends the commit as one file, since gcloud copies folders file by file.
# shellcheck disable=SC2154  # scratch: tpu.sh, repository: environment.sh
setup_hosts() {
  local folder=barlow_jax/$COMMIT
  set -- setup "$BUCKET" "$MOUNT" ${CACHE_DIR:+"$CACHE_DIR"}
  archive "$folder" "$scratch/barlow_jax.tar.gz" &&
    run gcloud compute tpus tpu-vm scp "$scratch/barlow_jax.tar.gz" "$NAME:barlow_jax.tar.gz" \
      --project="$PROJECT" --zone="$ZONE" --worker=all --quiet &&
    on_hosts tar -xzf barlow_jax.tar.gz &&
    on_hosts bash "$folder/launch/tpu/host.sh" "$@" || return
  if is_dry_run; then
    say "on every host:"
    bash "$repository/launch/tpu/host.sh" --dry-run "$@"
  fi
}

# Starts the program on every host; it goes on when this connection ends.
start_hosts() {
  each_host start "$@"
}

# A shell on one host, or one command line on all of them, as it was typed.
open_shell() {
  if (($# == 0)); then
    run gcloud compute tpus tpu-vm ssh "$NAME" --project="$PROJECT" --zone="$ZONE" --worker="${WORKER:-0}"
  else
    worker=${WORKER:-all} on_hosts bash -c "$*"
  fi
}
