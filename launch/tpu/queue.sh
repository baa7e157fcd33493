# shellcheck shell=bash
# Sourced by tpu.sh: the queued resource and its only slice, which has the same name.

# queue VERB FLAG...
queue() {
  local verb=$1
  shift
  run gcloud compute tpus queued-resources "$verb" "$NAME" --project="$PROJECT" --zone="$ZONE" "$@"
}

create() {
  set -- --node-id="$NAME" --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME_VERSION"
  if [[ $SPOT == yes ]]; then set -- "$@" --spot; fi
  if [[ -n $SERVICE_ACCOUNT ]]; then set -- "$@" --service-account="$SERVICE_ACCOUNT"; fi
  queue create "$@" --quiet
}

# Print the state as one word: gcloud's own, ABSENT, or UNKNOWN if gcloud got no answer.
# shellcheck disable=SC2154  # scratch: tpu.sh
state() {
  local word
  if word=$(queue describe '--format=value(state.state)' 2>"$scratch/error"); then
    printf '%s\n' "${word:-UNKNOWN}"
  elif grep -q NOT_FOUND "$scratch/error"; then
    printf 'ABSENT\n'
  else
    printf 'UNKNOWN\n'
  fi
}

# Fail with a reason if the slice can no longer become ACTIVE. There is no time limit: a queue may take days,
# and waiting in it is free.
wait_until_active() {
  local now before="" unknown=0
  if is_dry_run; then queue describe '--format=value(state.state)' && return; fi
  while true; do
    now=$(state)
    if [[ $now != "$before" ]]; then log "$(date +%T) $NAME is $now"; fi
    before=$now
    case $now in
      ACTIVE) return 0 ;;
      FAILED) log "error: the request failed: no quota, or no $ACCELERATOR in $ZONE; delete the slice" ;;
      SUSPENDING | SUSPENDED) log "error: the slice was preempted; delete it and create it again" ;;
      DELETING | ABSENT) log "error: the slice $NAME does not exist in $ZONE of $PROJECT; create it" ;;
    esac
    case $now in
      FAILED | SUSPENDING | SUSPENDED | DELETING | ABSENT) return 1 ;;
      UNKNOWN) unknown=$((unknown + 1)) ;;
      *) unknown=0 ;;
    esac
    if ((unknown == 10)); then
      log "error: gcloud cannot read the state:" && cat "$scratch/error" >&2
      return 1
    fi
    sleep "$POLL"
  done
}

# Delete the slice with its hosts, whatever its state, and return when it no longer exists: only then does
# billing end, and only then can the name be used again.
delete() {
  local now tries=0
  if is_dry_run; then queue delete --force --quiet && return; fi
  while now=$(state) && [[ $now != ABSENT ]]; do
    if ((tries == 30)); then
      log "error: $NAME is still $now and may be billed; see" \
        "https://console.cloud.google.com/compute/tpus?project=$PROJECT"
      return 1
    fi
    if [[ $now != DELETING ]]; then queue delete --force --quiet || true; fi
    tries=$((tries + 1))
    sleep "$POLL"
  done
  log "$NAME is deleted"
}
