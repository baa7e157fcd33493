#!/bin/sh
# Replaces the tools of a host, under the name of each. CLOUD is the folder of the simulated cloud.
set -eu

case ${0##*/} in
  hostname) echo "host-${HOME##*-}" ;;
  mountpoint) test -e "$HOME/mounted" ;;
  gcsfuse) [ -e "$CLOUD/mounts_nothing" ] || touch "$HOME/mounted" ;;
  gcloud) # storage ls PATTERN, storage cp --quiet FILE URL; the folder gs holds the buckets
    shift
    case $* in *gs://*//*) exit 1 ;; esac # in a bucket, a//b is not a/b
    if [ "$1" = cp ]; then
      target=$CLOUD/gs/${4#gs://}
      mkdir -p "${target%/*}" && cp "$3" "$target"
    else
      found=1
      # shellcheck disable=SC2086  # the shell expands the pattern
      for file in $CLOUD/gs/${2#gs://}; do
        if [ -e "$file" ]; then echo "gs://${file#"$CLOUD/gs/"}" && found=0; fi
      done
      if [ $found = 1 ]; then echo "ERROR: One or more URLs matched no objects." >&2 && exit 1; fi
    fi
    ;;
  sudo)
    case $* in
      mkdir* | chown*) "$@" ;;
      *"install gcsfuse") mkdir -p "$HOME/bin" && ln -s "$CLOUD/host_tool.sh" "$HOME/bin/gcsfuse" ;;
    esac
    ;;
  curl) # fetches uv's installer: -fsSL -o FILE URL
    # shellcheck disable=SC2016  # the host expands it later
    echo 'mkdir -p "$HOME/.local/bin" && ln -sf "$CLOUD/host_tool.sh" "$HOME/.local/bin/uv"' >"$3"
    ;;
  uv)
    if [ "$1" = venv ]; then
      while [ $# -gt 1 ]; do shift; done
      mkdir -p "$1/bin"
      ln -s "$CLOUD/host_tool.sh" "$1/bin/python"
    fi
    ;;
  python) # the command, which does what "plan" defines
    printf '%s\0' "$@" >"$CLOUD/commands/$$"
    printf '%s' "$JAX_PLATFORMS" >"$HOME/platforms"
    echo "the last line of the log" >&2
    code="" checkpoint="" after=""
    # shellcheck source=/dev/null
    . "$HOME/plan"
    # A checkpoint that is complete, and one that is not.
    checkpoints=$(cat "$HOME/barlow_jax/run/workdir")/checkpoints
    case $checkpoints in
      gs://*)
        checkpoints=$CLOUD/gs/${checkpoints#gs://}
        mkdir -p "$checkpoints/$checkpoint" "$checkpoints/999"
        touch "$checkpoints/$checkpoint/commit_success.txt"
        ;;
      *) mkdir -p "$checkpoints/$checkpoint" "$checkpoints/999.orbax-checkpoint-tmp" ;;
    esac
    while [ -n "$after" ] && [ ! -e "${HOME%-*}-$after/barlow_jax/run/exit_code" ]; do sleep 0.05; done
    if [ "$code" = forever ]; then exec sleep 600; fi
    exit "$code"
    ;;
esac
