#!/bin/sh
# Replaces the tools of a host, under the name of each. CLOUD is the folder of the simulated cloud.
set -eu

case ${0##*/} in
  hostname) echo "host-${HOME##*-}" ;;
  mountpoint) test -e "$HOME/mounted" ;;
  gcsfuse) touch "$HOME/mounted" ;;
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
    checkpoints=$(cat "$HOME/barlow_jax/run/workdir")/checkpoints
    mkdir -p "$checkpoints/$checkpoint" "$checkpoints/999.orbax-checkpoint-tmp"
    while [ -n "$after" ] && [ ! -e "${HOME%-*}-$after/barlow_jax/run/exit_code" ]; do sleep 0.05; done
    if [ "$code" = forever ]; then exec sleep 600; fi
    exit "$code"
    ;;
esac
