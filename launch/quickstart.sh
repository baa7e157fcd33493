#!/usr/bin/env bash
# Create an environment, pretrain on handwritten digits, evaluate the encoder, and write a report.
#
# Usage: bash launch/quickstart.sh [--dry-run] [--config.KEY=VALUE ...]
#   --dry-run             print the commands without running them
#   --config.KEY=VALUE    override a key of configs/digits.py
# Environment variables:
#   WORKDIR               folder of the run (default: runs/digits)
#   PYTHON                Python interpreter, 3.11 or newer (default: python3)
#   VENV                  folder of the virtual environment (default: .venv)
# Example: bash launch/quickstart.sh --config.seed=1
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
help_from_header "$@"

make_environment ""
workdir=${WORKDIR:-runs/digits}
run "$venv/bin/python" -m barlow_jax pretrain --config digits --workdir "$workdir" "$@"
run "$venv/bin/python" -m barlow_jax evaluate --workdir "$workdir"
run "$venv/bin/python" -m barlow_jax report --workdir "$workdir"
is_dry_run || log "Open the report in a browser: $(cd "$workdir" && pwd)/report.html"
