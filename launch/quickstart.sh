#!/usr/bin/env bash
# From nothing to a probed encoder: environment, install, pretraining on real handwritten digits, table, report.
# Usage: bash launch/quickstart.sh [--dry-run] [--config.seed=1 and other overrides]
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

make_environment ""
workdir=${WORKDIR:-runs/digits}
run "$venv/bin/python" -m barlow_jax pretrain --config configs/digits.py --workdir "$workdir" "$@"
run "$venv/bin/python" -m barlow_jax evaluate --workdir "$workdir"
run "$venv/bin/python" -m barlow_jax report --workdir "$workdir"
is_dry_run || say "Open the report in a browser: $(cd "$workdir" && pwd)/report.html"
