#!/usr/bin/env bash
# Environment, install, the whole test suite. Arguments go to pytest: bash launch/test.sh -k lars
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

make_environment test
run "$venv/bin/python" -m pytest -q -n 2 --dist worksteal "$@"
