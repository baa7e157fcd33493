# shellcheck shell=bash
# Sourced by tpu.sh: a run that survives the loss of its slice. The workdir is in the bucket, so the same
# command resumes from the newest checkpoint on the next slice.

outcome=""   # how the last attempt ended: the exit code of the command, or a word
checkpoint=0 # newest checkpoint seen so far
created=no   # whether a slice has existed since this script started
active_s=0   # seconds for which earlier slices were ACTIVE; billed, and limited by MAX_HOURS
active_from="" # when the slice became ACTIVE, in seconds since the start of this script

babysit() {
  local restarts=0 checkpoint_then=0
  if is_dry_run; then print_plan "$@" && return; fi
  trap interrupted INT TERM
  while true; do
    attempt "$@"
    case $outcome in
      0) finish 0 "the run is finished" ;;
      2) finish 2 "the config or the command line is invalid; another attempt would not help" ;;
      130) finish 130 "the run was stopped by the user" ;;
      expired) finish 124 "MAX_HOURS=$MAX_HOURS are over; the newest checkpoint is $checkpoint" ;;
      foreign) exit 1 ;;
      refused) finish 1 "the slice was not created; see gcloud's message above" ;;
      busy) log "error: another run is active on these hosts; nothing was changed" && exit 1 ;;
    esac
    if ((checkpoint > checkpoint_then)); then restarts=0; fi
    checkpoint_then=$checkpoint
    if ((restarts == MAX_RESTARTS)); then
      finish 1 "giving up: $(explain), and $restarts restarts (MAX_RESTARTS) produced no new checkpoint"
    fi
    restarts=$((restarts + 1))
    log "$(date +%T) $(explain); restart $restarts of $MAX_RESTARTS from checkpoint $checkpoint"
    sleep "$POLL"
  done
}

print_plan() {
  create && wait_until_active && setup_hosts && start_hosts "$@" && each_host status
  if [[ $KEEP != yes ]]; then delete; fi
}

# Bring the slice from its current state to the end of one run.
attempt() {
  local code=0
  query
  if ! check_creator; then outcome=foreign && return; fi
  if [[ $outcome == unreachable ]]; then state=FAILED; fi
  case $state in
    FAILED | SUSPENDING | SUSPENDED | DELETING)
      outcome=undeleted
      delete || return 0
      ;;
  esac
  if [[ $state == ABSENT ]]; then
    active_s=$((active_s + SECONDS - ${active_from:-$SECONDS}))
    active_from=""
    # If the first request is refused, a setting is wrong; later it may be the network.
    if [[ $created == no ]]; then outcome=refused; else outcome=uncreated; fi
    create || return 0
  fi
  created=yes
  outcome=lost
  wait_until_active || return 0
  if ! check_creator; then outcome=foreign && return; fi # the first query got no answer
  active_from=${active_from:-$SECONDS}
  outcome="not set up"
  setup_hosts || return 0
  start_hosts "$@" || code=$?
  if ((code == 75)); then outcome=busy; fi # host.sh: another command is running
  if ((code == 0)); then watch_hosts; fi
}

# Succeed if slices were ACTIVE for MAX_HOURS, which may have decimals.
is_expired() {
  [[ -n $MAX_HOURS ]] && awk "BEGIN { exit $((active_s + SECONDS - active_from)) < $MAX_HOURS * 3600 }"
}

# Wait until the run has ended on all hosts or failed on one, the hosts no longer exist, or MAX_HOURS are over.
watch_hosts() {
  local misses=0
  while true; do
    if check_hosts; then
      misses=0
      if [[ $outcome != running ]]; then break; fi
    else
      query
      case $state in
        ACTIVE) misses=$((misses + 1)) ;;
        UNKNOWN) ;; # gcloud gets no answer either: the local network is down
        *) outcome=lost && return ;;
      esac
      if ((misses == 10)); then outcome=unreachable && return; fi
    fi
    if is_expired; then
      each_host end || true # the run saves a checkpoint
      check_hosts || true
      outcome=expired && return
    fi
    sleep "$POLL"
  done
  if [[ $outcome != 0 ]]; then end_hosts; fi
}

# End the run on all hosts after one has failed, because the others wait for it. The exit code of any of them
# may still show that the config is invalid.
end_hosts() {
  local first=$outcome
  each_host end || true
  check_hosts || true
  case $outcome in 2 | 130) ;; *) outcome=$first ;; esac
  worker=0 each_host log_tail || true
}

# Query all hosts once; set outcome and checkpoint. One failed host determines the outcome.
# shellcheck disable=SC2154  # scratch: tpu.sh
check_hosts() {
  local lines newest
  lines=$(each_host status 2>"$scratch/error") || return
  read -r outcome newest < <(awk '
    $1 == "status" { seen[$4 == "exited" ? $5 : $4] = 1; if ($3 > newest) newest = $3 + 0 }
    END {
      n = split("2 130 1 143 134", causes)
      for (i = n; i > 0; i--) if (causes[i] in seen) word = causes[i]
      for (other in seen) if (!word && other != "running" && other != "0") word = other
      if (!word) word = ("running" in seen) ? "running" : ("0" in seen) ? "0" : "silent"
      print word, newest + 0
    }' <<<"$lines")
  if ((newest > checkpoint)); then
    checkpoint=$newest
    log "$(date +%T) checkpoint $checkpoint"
  fi
  [[ $outcome != silent ]]
}

explain() {
  case $outcome in
    1) printf 'the command failed (exit code 1)' ;;
    134) printf 'a process of the run died (exit code 134)' ;;
    143) printf 'the hosts received SIGTERM (exit code 143)' ;;
    died | idle) printf 'a host lost the run without an exit code' ;;
    lost) printf 'the slice was preempted, or is not available' ;;
    unreachable) printf 'the hosts do not answer, though the slice is ACTIVE' ;;
    undeleted | uncreated | "not set up") printf 'the slice was %s' "$outcome" ;;
    *) printf 'the command ended with exit code %s' "$outcome" ;;
  esac
}

# End, and delete the slice unless KEEP=yes, so that a slice that nobody watches costs nothing.
finish() {
  log "$(date +%T) $2"
  if [[ $KEEP == yes ]]; then
    log "$NAME is kept and billed (KEEP=yes) until you run: bash launch/tpu.sh delete"
  else
    delete || exit 1
  fi
  exit "$1"
}

interrupted() {
  log "stopped watching; the slice and the run continue, and are billed. The same command resumes watching;"
  log "bash launch/tpu.sh delete ends both"
  exit 130
}
