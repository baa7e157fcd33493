#!/usr/bin/env bash
# Check an accelerator in 8 minutes: speed of the train step, training, resuming bit for bit, evaluation.
#
# Usage: bash launch/check_accelerator.sh [--dry-run] [--small] [--out=DIR]
#   --dry-run    print the commands without running them
#   --small      tiny networks and few steps; always so where jax finds only a CPU
#   --out        folder of the runs and of accelerator.json, which must not exist (default:
#                runs/accelerator)
# Needs the package and its requirements (pip install -e '.[cuda13]' or '.[tpu]'), but no TensorFlow, no network
# and no data set. Prints one JSON object, also if a part fails; the exit code is 1 if one did.
# Environment variables:
#   PYTHON       Python interpreter (default: that of .venv, otherwise python3)
#   VENV         folder of the virtual environment (default: .venv)
# Example: bash launch/check_accelerator.sh --out=/tmp/check > check.json
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
help_from_header "$@"

if [[ -z ${PYTHON:-} && -x $venv/bin/python ]]; then PYTHON=$venv/bin/python; fi
python=$(find_python)
cd "$repository"
if ! "$python" -c 'import flax, jax, orbax.checkpoint' 2>/dev/null; then
  log "error: $python has no jax, flax or orbax; install the package: pip install -e '.[cuda13]' or '.[tpu]'"
  exit 2
fi
if is_dry_run; then set -- --dry-run "$@"; fi
exec "$python" launch/check_accelerator.py "$@"
