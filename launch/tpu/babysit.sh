# shellcheck shell=bash
# Sourced by tpu.sh: a run that outlives its slice. The workdir is in the bucket, so that the same
# command goes on from the newest checkpoint, on whatever slice comes next.

outcome=""   # how the last attempt ended: the program's exit code, or a word
checkpoint=0 # the newest one that was seen
created=no   # whether there was a slice since this script began

babysit() {
  local restarts=0 checkpoint_then=0
  if is_dry_run; then plan_of_babysit "$@" && return; fi
  trap interrupted INT TERM
  while true; do
    attempt "$@"
    case $outcome in
      0) finish 0 "the run is done" ;;
      2) finish 2 "the config or the command line is wrong; trying again would not help" ;;
      130) finish 130 "the run was stopped by a person" ;;
      refused) finish 1 "the slice was not created; gcloud's message is above" ;;
      busy) say "error: another run is on these hosts; nothing was changed" && exit 1 ;;
    esac
    if ((checkpoint > checkpoint_then)); then restarts=0; fi
    checkpoint_then=$checkpoint
    if ((restarts == MAX_RESTARTS)); then
      finish 1 "giving up: $(explain), and $restarts restarts (MAX_RESTARTS) brought no new checkpoint"
    fi
    restarts=$((restarts + 1))
    say "$(date +%T) $(explain); restart $restarts of $MAX_RESTARTS from checkpoint $checkpoint"
    sleep "$POLL"
  done
}

plan_of_babysit() {
  create && wait_until_active && setup_hosts && start_hosts "$@" && each_host status
  if [[ $KEEP != yes ]]; then delete; fi
}

# From whatever is there to the end of one run.
attempt() {
  local now code=0
  now=$(state)
  if [[ $outcome == unreachable ]]; then now=FAILED; fi
  case $now in
    FAILED | SUSPENDING | SUSPENDED | DELETING)
      outcome=undeleted
      delete || return 0
      now=ABSENT
      ;;
  esac
  if [[ $now == ABSENT ]]; then
    # Refused at once, a setting is wrong; later, it may be the network.
    if [[ $created == no ]]; then outcome=refused; else outcome=uncreated; fi
    create || return 0
  fi
  created=yes
  outcome=gone
  wait_until_active || return 0
  outcome="not set up"
  setup_hosts || return 0
  start_hosts "$@" || code=$?
  if ((code == 75)); then outcome=busy; fi # host.sh: another command is running
  if ((code == 0)); then watch_hosts; fi
}

# Until the run is over on all hosts, or has failed on one, or the hosts are gone.
watch_hosts() {
  local misses=0
  while true; do
    if look; then
      misses=0
      if [[ $outcome != running ]]; then break; fi
    else
      case $(state) in
        ACTIVE) misses=$((misses + 1)) ;;
        UNKNOWN) ;; # gcloud cannot ask either: it is the network here
        *) outcome=gone && return ;;
      esac
      if ((misses == 10)); then outcome=unreachable && return; fi
    fi
    sleep "$POLL"
  done
  if [[ $outcome != 0 ]]; then end_hosts; fi
}

# One host has failed, and the others wait for it. Any of them may still say that the config is wrong.
end_hosts() {
  local first=$outcome
  each_host end || true
  look || true
  case $outcome in 2 | 130) ;; *) outcome=$first ;; esac
  worker=0 each_host last_words || true
}

# One look at all hosts: sets outcome and checkpoint. One host that has failed decides.
# shellcheck disable=SC2154  # scratch: tpu.sh
look() {
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
    say "$(date +%T) checkpoint $checkpoint"
  fi
  [[ $outcome != silent ]]
}

explain() {
  case $outcome in
    1) printf 'the program failed (exit code 1)' ;;
    134) printf 'a process of the run died (exit code 134)' ;;
    143) printf 'the hosts were told to stop (exit code 143)' ;;
    died | idle) printf 'a host lost the run without an exit code' ;;
    gone) printf 'the slice was taken away, or cannot be had' ;;
    unreachable) printf 'the hosts do not answer, though the slice is ACTIVE' ;;
    undeleted | uncreated | "not set up") printf 'the slice was %s' "$outcome" ;;
    *) printf 'the program ended with exit code %s' "$outcome" ;;
  esac
}

# The end, whatever it is: a slice that nobody watches is not left on the bill unless that was asked for.
finish() {
  say "$(date +%T) $2"
  if [[ $KEEP == yes ]]; then
    say "$NAME is kept, and on the bill (KEEP=yes), until: bash launch/tpu.sh delete"
  else
    delete || exit 1
  fi
  exit "$1"
}

interrupted() {
  say "no longer watching; the slice and the run go on, and cost. The same command watches again;"
  say "bash launch/tpu.sh delete ends both"
  exit 130
}
