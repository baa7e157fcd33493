#!/usr/bin/env bash
# Work on one host of a slice; tpu.sh calls it there, from the commit that it sent.
#   setup [BUCKET MOUNT [CACHE_DIR]] mount the bucket, install packages, create the environment
#   start [--mount=DIR] ARG...       start python -m barlow_jax ARG..., independent of the connection
#   status                           print a line: status HOST CHECKPOINT running | exited CODE | died | idle
#   stop | end | logs | log_tail
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
# shellcheck source=launch/workdir.sh
source "$repository/launch/workdir.sh"

base=$HOME/barlow_jax
files=$base/run # files of the newest run: lock, log, command, mount, workdir, pid, exit_code
uv=$HOME/.local/bin/uv

is_running() { [[ -e $files/lock ]] && ! flock --nonblock "$files/lock" true; }

# Succeed if a step is already done and can be skipped; a dry run shows the steps of a new host.
is_done() { ! is_dry_run && "$@" >/dev/null 2>&1; }

setup() {
  if is_running; then
    log "$(hostname): a run is active; nothing was changed"
    return
  fi
  if (($#)); then
    install_gcsfuse
    mount_bucket "$@"
  fi
  # uv installs Python 3.11: the images have 3.10.
  if ! is_done test -x "$uv"; then
    run curl -fsSL -o "$base/uv.sh" https://astral.sh/uv/0.11.30/install.sh
    run sh "$base/uv.sh" --quiet --no-modify-path
  fi
  cd "$repository"
  is_done test -x "$venv/bin/python" || run "$uv" venv --quiet --python 3.11 "$venv"
  run "$uv" pip install --quiet --python "$venv/bin/python" --constraint launch/constraints.txt \
    -e '.[tpu,gcs]'
  run ln -sfn "$repository" "$base/current"
}

install_gcsfuse() {
  local key=/usr/share/keyrings/cloud.google.asc list=/etc/apt/sources.list.d/gcsfuse.list
  if is_done command -v gcsfuse; then return; fi
  run sudo curl -fsSL -o "$key" https://packages.cloud.google.com/apt/doc/apt-key.gpg
  run sudo bash -c "echo deb [signed-by=$key] https://packages.cloud.google.com/apt \
    gcsfuse-\$(lsb_release -cs) main >$list"
  # A host that has just started is still updating itself, and holds the package lock.
  run sudo apt-get -o DPkg::Lock::Timeout=600 -qq update
  run sudo apt-get -o DPkg::Lock::Timeout=600 -qqy install gcsfuse
}

# All hosts must see at once what one host writes, so file metadata is not cached. A checkpoint in a mounted
# workdir becomes valid by renaming its folder, which needs a bucket that can do this in one step.
mount_bucket() {
  local bucket=$1 mount=$2 cache=${3:-}
  if is_done mountpoint -q "$mount"; then return; fi
  is_done fusermount -uz "$mount" || true # remains of a mount whose process died
  run sudo mkdir -p "$mount"
  run sudo chown "$(id -u):$(id -g)" "$mount"
  set -- --implicit-dirs --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0
  if [[ -n $cache ]]; then
    set -- "$@" --cache-dir="$cache" --file-cache-max-size-mb=-1 --file-cache-cache-file-for-range-read
  fi
  run gcsfuse "$@" "$bucket" "$mount"
  is_dry_run || check_mount "$mount"
  if ! run touch "$mount/.written-by-$(hostname)" || ! run rm "$mount/.written-by-$(hostname)"; then
    log "error: gs://$bucket is not writable: grant roles/storage.objectUser to the hosts' service account"
    return 1
  fi
}

# Fail if no bucket is mounted at a folder: what is written there would be lost with this host.
check_mount() {
  if mountpoint -q "$1"; then return; fi
  log "error: $(hostname): no bucket is mounted at $1"
  return 1
}

# Starting a running command again has no effect; another command is refused.
start() {
  local line workdir mount=""
  case $1 in --mount=*) mount=${1#--mount=} && shift ;; esac
  line=$(quote "$@")
  mkdir -p "$files"
  exec 9>"$files/lock" # held by all processes of the run
  if ! flock --timeout 0.5 9; then # `status` holds it for a moment
    if [[ $(<"$files/command") == "$line" ]]; then
      log "$(hostname): already running"
      return
    fi
    log "error: $(hostname) is running another command: $(<"$files/command")"
    log "stop it first: bash launch/tpu.sh stop"
    return 75
  fi
  if [[ -n $mount ]] && ! check_mount "$mount"; then
    log "mount it first: bash launch/tpu.sh setup"
    return 1
  fi
  rm -f "$files"/{exit_code,pid,stopped}
  printf '%s\n' "$line" >"$files/command"
  printf '%s\n' "$mount" >"$files/mount"
  workdir=$(workdir_of "$@")
  printf '%s\n' "${workdir%/}" >"$files/workdir" # in a bucket, a//b is not a/b
  setsid nohup bash "${BASH_SOURCE[0]}" supervise "$@" </dev/null >>"$files/log" 2>&1 &
  # Wait for its process id: until then, the end of this connection would end the run too.
  for _ in {1..600}; do
    if [[ -s $files/pid ]]; then
      log "$(hostname): started"
      return
    fi
    sleep 0.05
  done
  log "error: $(hostname): the run did not start:" && tail -n 20 "$files/log" >&2
  return 1
}

# Run the command, and record its exit code and its log.
supervise() {
  local code=0
  trap : TERM # stay alive when the host shuts down; the command gets its own signal
  cd "$repository"
  log "=== $(date -Is) $(hostname) $(basename "$repository"): $(<"$files/command")"
  # A host whose chips do not start must fail instead of training on its CPU.
  JAX_PLATFORMS=tpu,cpu bash -c 'echo $$ >"$0" && exec "$@"' "$files/pid" \
    "$venv/bin/python" -m barlow_jax "$@" || code=$?
  if [[ -e $files/stopped && $code != 0 ]]; then code=130; fi
  log "=== $(date -Is) exit code $code"
  printf '%s\n' "$code" >"$files/exit_code"
  copy_log "$(<"$files/workdir")/logs/$(date +%Y%m%dT%H%M%S)-$(hostname).log"
}

# Copy the log to the bucket, because the host may be deleted soon.
copy_log() {
  local error
  case $1 in
    gs://*) error=$(timeout 60 gcloud storage cp --quiet "$files/log" "$1" 2>&1) ;;
    *) error=$({ check_mount "$(<"$files/mount")" && mkdir -p "${1%/*}" && cp "$files/log" "$1"; } 2>&1) ;;
  esac || log "the log was not copied to $1: $error"
}

status() {
  local word=idle newest=0
  if is_running; then
    word=running
  elif [[ -s $files/exit_code ]]; then
    word="exited $(<"$files/exit_code")"
  elif [[ -e $files/command ]]; then
    word=died
  fi
  if [[ -s $files/workdir ]]; then newest=$(newest_checkpoint "$(<"$files/workdir")"); fi
  printf 'status %s %s %s\n' "$(hostname)" "$newest" "$word"
}

# Print the step of the newest complete checkpoint, 0 without one.
newest_checkpoint() {
  local path step newest=0
  while IFS= read -r path; do
    step=${path#"$1/checkpoints/"}
    step=${step%/commit_success.txt}
    if [[ $step =~ ^[0-9]+$ ]] && ((10#$step > newest)); then newest=$((10#$step)); fi
  done < <(list_checkpoints "$1/checkpoints")
  printf '%s\n' "$newest"
}

# In a bucket, a checkpoint is complete with its object commit_success.txt; in a folder, with its final name.
list_checkpoints() {
  case $1 in
    gs://*) timeout 60 gcloud storage ls "$1/*/commit_success.txt" 2> >(grep -v "matched no objects" >&2) ;;
    *) printf '%s\n' "$1"/* ;;
  esac
}

# End the run for the user, with exit code 130; babysit uses `end`, which keeps the run's own exit code.
stop() {
  if ! is_running; then return; fi
  touch "$files/stopped"
  end
}

end() {
  if ! is_running; then return; fi
  kill -TERM "$(<"$files/pid")" || true
  if ! flock --timeout 60 "$files/lock" true; then
    kill -KILL "$(<"$files/pid")" || true
    flock --timeout 60 "$files/lock" true
  fi
}

case ${1:-} in
  setup | start | supervise | status | stop | end) "$@" ;;
  logs) tail -n 50 -F "$files/log" ;;
  log_tail) tail -n 20 "$files/log" ;;
  *) sed -n '2,6p' "$0" >&2 && exit 2 ;;
esac
