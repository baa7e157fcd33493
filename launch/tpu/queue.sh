# shellcheck shell=bash
# Sourced by tpu.sh: the queued resource, and the one slice in it, which has the same name.

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

# Prints the state in one word: gcloud's own, ABSENT, or UNKNOWN where gcloud could not ask.
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

# Fails, and says why, when the slice will not become ACTIVE any more. No limit in time: a queue may
# take days, and waiting in it is free.
wait_until_active() {
  local now before="" unknown=0
  if is_dry_run; then queue describe '--format=value(state.state)' && return; fi
  while true; do
    now=$(state)
    if [[ $now != "$before" ]]; then say "$(date +%T) $NAME is $now"; fi
    before=$now
    case $now in
      ACTIVE) return 0 ;;
      FAILED) say "error: the request cannot be met: no quota, or no $ACCELERATOR in $ZONE; delete it" ;;
      SUSPENDING | SUSPENDED) say "error: the slice was taken away; delete it and create it again" ;;
      DELETING | ABSENT) say "error: there is no slice $NAME in $ZONE of $PROJECT; create it" ;;
    esac
    case $now in
      FAILED | SUSPENDING | SUSPENDED | DELETING | ABSENT) return 1 ;;
      UNKNOWN) unknown=$((unknown + 1)) ;;
      *) unknown=0 ;;
    esac
    if ((unknown == 10)); then
      say "error: gcloud cannot say the state:" && cat "$scratch/error" >&2
      return 1
    fi
    sleep "$POLL"
  done
}

# Deletes the slice with its hosts, whatever its state, and returns when it is gone: a name can be used
# again only then, and only then the bill has ended.
delete() {
  local now tries=0
  if is_dry_run; then queue delete --force --quiet && return; fi
  while now=$(state) && [[ $now != ABSENT ]]; do
    if ((tries == 30)); then
      say "error: $NAME is still $now and may be on the bill; see" \
        "https://console.cloud.google.com/compute/tpus?project=$PROJECT"
      return 1
    fi
    if [[ $now != DELETING ]]; then queue delete --force --quiet || true; fi
    tries=$((tries + 1))
    sleep "$POLL"
  done
  say "$NAME is deleted"
}
