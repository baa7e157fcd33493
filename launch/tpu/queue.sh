# shellcheck shell=bash
# Sourced by tpu.sh: the queued resource and its only slice, which has the same name.

creator=barlow_jax # value of the label created_by, without which no slice is deleted
state=""           # gcloud's word, ABSENT, or UNKNOWN if gcloud got no answer
label=""           # value of the slice's label created_by

# queue VERB FLAG...
queue() {
  local verb=$1
  shift
  run gcloud compute tpus queued-resources "$verb" "$NAME" --project="$PROJECT" --zone="$ZONE" "$@"
}

create() {
  set -- --node-id="$NAME" --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME_VERSION" \
    --labels="created_by=$creator"
  if [[ $SPOT == yes ]]; then set -- "$@" --spot; fi
  if [[ -n $SERVICE_ACCOUNT ]]; then set -- "$@" --service-account="$SERVICE_ACCOUNT"; fi
  queue create "$@" --quiet
}

# Set state and label.
# shellcheck disable=SC2154  # scratch: tpu.sh
query() {
  local words format='value(state.state,tpu.nodeSpec[0].node.labels.created_by)'
  if ! words=$(queue describe "--format=$format" 2>"$scratch/error") && grep -q NOT_FOUND "$scratch/error"; then
    words=ABSENT
  elif [[ $words != [A-Z]* ]]; then
    words=UNKNOWN
  fi
  read -r state label <<<"$words"
}

# Fail with a reason if the slice exists and `create` of this script did not create it.
check_creator() {
  case $state in ABSENT | UNKNOWN) return 0 ;; esac
  if [[ $label == "$creator" ]]; then return 0; fi
  log "error: the slice $NAME was not created by this script (it has no label created_by=$creator), and is" \
    "left as it is; set another NAME, or delete it yourself: gcloud compute tpus queued-resources delete" \
    "$NAME --project=$PROJECT --zone=$ZONE --force"
  return 1
}

# Fail with a reason if the slice can no longer become ACTIVE. There is no time limit: a queue may take days,
# and waiting in it is free.
wait_until_active() {
  local before="" unknown=0
  if is_dry_run; then queue describe '--format=value(state.state)' && return; fi
  while true; do
    query
    if [[ $state != "$before" ]]; then log "$(date +%T) $NAME is $state"; fi
    before=$state
    case $state in
      ACTIVE) return 0 ;;
      FAILED) log "error: the request failed: no quota, or no $ACCELERATOR in $ZONE; delete the slice" ;;
      SUSPENDING | SUSPENDED) log "error: the slice was preempted; delete it and create it again" ;;
      DELETING | ABSENT) log "error: the slice $NAME does not exist in $ZONE of $PROJECT; create it" ;;
    esac
    case $state in
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
# billing end, and only then can the name be used again. A slice without the label is left as it is.
delete() {
  local tries=0
  if is_dry_run; then queue delete --force --quiet && return; fi
  while query && [[ $state != ABSENT ]]; do
    check_creator || return
    if ((tries == 30)); then
      log "error: $NAME is still $state and may be billed; see" \
        "https://console.cloud.google.com/compute/tpus?project=$PROJECT"
      return 1
    fi
    if [[ $state != DELETING && $state != UNKNOWN ]]; then queue delete --force --quiet || true; fi
    tries=$((tries + 1))
    sleep "$POLL"
  done
  log "$NAME is deleted"
}
