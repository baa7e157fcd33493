#!/usr/bin/env bash
# Create an environment, check style with ruff and types with mypy, and run the test suite.
#
# Usage: bash launch/test.sh [--dry-run] [PYTEST_ARGUMENT ...]
#   --dry-run    print the commands without running them
# Environment variables:
#   PYTHON       Python interpreter, 3.11 or newer (default: python3)
#   VENV         folder of the virtual environment (default: .venv)
# Example: PYTHON=python3.12 VENV=/tmp/venv bash launch/test.sh -k lars
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
help_from_header "$@"

make_environment test
run "$venv/bin/python" -m ruff check
run "$venv/bin/python" -m ruff format --check
run "$venv/bin/python" -m mypy
run "$venv/bin/python" -m pytest -q -n 2 --dist worksteal "$@"
