#!/usr/bin/env bash
# One host's share; tpu.sh calls it there, from the commit that it sent.
#   setup BUCKET MOUNT [CACHE_DIR]  packages, the bucket, the environment
#   start ARG...                    python -m barlow_jax ARG..., which goes on when the caller leaves
#   status                          one line: status HOST CHECKPOINT running | exited CODE | died | idle
#   stop | end | logs | last_words
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
# shellcheck source=launch/workdir.sh
source "$repository/launch/workdir.sh"

here=$HOME/barlow_jax
files=$here/run # of the newest run: lock, log, command, workdir, pid, exit_code
uv=$HOME/.local/bin/uv

is_running() { [[ -e $files/lock ]] && ! flock --nonblock "$files/lock" true; }

# What a host has already is not done again; a dry run shows a bare host's steps.
have() { ! is_dry_run && "$@" >/dev/null 2>&1; }

setup() {
  if is_running; then
    say "$(hostname): a run is going on; left as it is"
    return
  fi
  install_gcsfuse
  mount_bucket "$@"
  # uv brings the Python: the images have 3.10.
  if ! have test -x "$uv"; then
    run curl -fsSL -o "$here/uv.sh" https://astral.sh/uv/0.11.30/install.sh
    run sh "$here/uv.sh" --quiet --no-modify-path
  fi
  cd "$repository"
  have test -x "$venv/bin/python" || run "$uv" venv --quiet --python 3.11 "$venv"
  run "$uv" pip install --quiet --python "$venv/bin/python" -e '.[tpu]'
  run ln -sfn "$repository" "$here/current"
}

install_gcsfuse() {
  local key=/usr/share/keyrings/cloud.google.asc list=/etc/apt/sources.list.d/gcsfuse.list
  if have command -v gcsfuse; then return; fi
  run sudo curl -fsSL -o "$key" https://packages.cloud.google.com/apt/doc/apt-key.gpg
  run sudo bash -c "echo deb [signed-by=$key] https://packages.cloud.google.com/apt \
    gcsfuse-\$(lsb_release -cs) main >$list"
  # A host that has just started is still updating itself, and holds the lock.
  run sudo apt-get -o DPkg::Lock::Timeout=600 -qq update
  run sudo apt-get -o DPkg::Lock::Timeout=600 -qqy install gcsfuse
}

# What one host writes the others must see at once, so nothing is remembered about files. Renaming
# folders, by which a checkpoint becomes valid, is left to buckets that can do it in one step.
mount_bucket() {
  local bucket=$1 mount=$2 cache=${3:-}
  if have mountpoint "$mount"; then return; fi
  have fusermount -uz "$mount" || true # what is left of a mount whose process died
  run sudo mkdir -p "$mount"
  run sudo chown "$(id -u):$(id -g)" "$mount"
  set -- --implicit-dirs --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0
  if [[ -n $cache ]]; then
    set -- "$@" --cache-dir="$cache" --file-cache-max-size-mb=-1 --file-cache-cache-file-for-range-read
  fi
  run gcsfuse "$@" "$bucket" "$mount"
  if ! run touch "$mount/.written-by-$(hostname)" || ! run rm "$mount/.written-by-$(hostname)"; then
    say "error: gs://$bucket cannot be written: give the hosts' service account roles/storage.objectUser on it"
    return 1
  fi
}

# Starting the same command twice starts it once; a second command is refused.
start() {
  local line
  line=$(quote "$@")
  mkdir -p "$files"
  exec 9>"$files/lock" # held by the run and all its processes
  if ! flock --timeout 0.5 9; then # a look at the status holds it for a moment
    if [[ $(<"$files/command") == "$line" ]]; then
      say "$(hostname): is running already"
      return
    fi
    say "error: $(hostname) is running another command: $(<"$files/command")"
    say "end it first: bash launch/tpu.sh stop"
    return 75
  fi
  rm -f "$files"/{exit_code,pid,stopped}
  printf '%s\n' "$line" >"$files/command"
  workdir_of "$@" >"$files/workdir"
  setsid nohup bash "${BASH_SOURCE[0]}" supervise "$@" </dev/null >>"$files/log" 2>&1 &
  # Until it stands on its own feet, the end of this connection would end it as well.
  for _ in {1..600}; do
    if [[ -s $files/pid ]]; then
      say "$(hostname): started"
      return
    fi
    sleep 0.05
  done
  say "error: $(hostname): did not start:" && tail -n 20 "$files/log" >&2
  return 1
}

# Runs the program and keeps its exit code and its log.
supervise() {
  local code=0 workdir
  trap : TERM # outlive the program when the host shuts down; the program gets its own signal
  cd "$repository"
  say "=== $(date -Is) $(hostname) $(basename "$repository"): $(<"$files/command")"
  # A host whose chips do not start must fail, not train on its CPU.
  JAX_PLATFORMS=tpu,cpu bash -c 'echo $$ >"$0" && exec "$@"' "$files/pid" \
    "$venv/bin/python" -m barlow_jax "$@" || code=$?
  if [[ -e $files/stopped && $code != 0 ]]; then code=130; fi
  say "=== $(date -Is) exit code $code"
  printf '%s\n' "$code" >"$files/exit_code"
  # The host may soon be gone.
  workdir=$(<"$files/workdir")
  if mkdir -p "$workdir/logs"; then cp "$files/log" "$workdir/logs/$(date +%Y%m%dT%H%M%S)-$(hostname).log"; fi
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

# The number of the newest finished checkpoint, 0 where there is none.
newest_checkpoint() {
  local folder newest=0
  for folder in "$1"/checkpoints/*; do
    folder=${folder##*/}
    if [[ $folder =~ ^[0-9]+$ ]] && ((10#$folder > newest)); then newest=$((10#$folder)); fi
  done
  printf '%s\n' "$newest"
}

# A person's wish; end is babysit's, and leaves the exit code as it is.
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
  last_words) tail -n 20 "$files/log" ;;
  *) sed -n '2,6p' "$0" >&2 && exit 2 ;;
esac
