#!/usr/bin/env bash
# Submit a command to Slurm: one process per GPU, saved before the time limit, requeued until it is finished.
#
# Usage: bash launch/slurm.sh [--dry-run] COMMAND [ARGUMENT ...]
#   COMMAND       pretrain, or an evaluation, with its arguments; --workdir must be gs://... or on a disk of all nodes
#   --dry-run     print the call of sbatch without submitting
# Environment variables:
#   NODES         nodes (default: 1)
#   GPUS          GPUs per node, all of one kind (default: 8)
#   CPUS          CPU cores per GPU (default: 8)
#   TIME          time limit until the job is requeued and resumes (default: 24:00:00)
#   PARTITION     partition (default: the cluster's)
#   ACCOUNT       account (default: the user's)
#   MAX_RESTARTS  requeues after failures and time limits (default: 50)
#   PYTHON        Python interpreter on the nodes (default: that of .venv)
#   VENV          folder of the virtual environment (default: .venv)
# Example: NODES=2 TIME=12:00:00 bash launch/slurm.sh pretrain --config imagenet --workdir /shared/runs/imagenet
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/settings.sh
source "$repository/launch/settings.sh"
# shellcheck source=launch/workdir.sh
source "$repository/launch/workdir.sh"
help_from_header "$@"

: "${NODES:=1}" "${GPUS:=8}" "${CPUS:=8}" "${TIME:=24:00:00}" "${PARTITION:=}" "${ACCOUNT:=}"
: "${MAX_RESTARTS:=50}" "${PYTHON:=$venv/bin/python}"
for name in NODES GPUS CPUS MAX_RESTARTS; do require_number "$name"; done
[[ $# -gt 0 ]] || add_problem "the command is missing, as in: bash launch/slurm.sh pretrain --config imagenet"
workdir=$(workdir_of "$@")
[[ $workdir =~ ^(/|gs://[^/]+/[^/]) ]] || \
  add_problem "--workdir is '$workdir', but must be an absolute path on a disk of all nodes, or gs://BUCKET/FOLDER"
[[ -x $PYTHON ]] || add_problem "PYTHON is '$PYTHON', which is no program; install the package with [cuda13] there"
exit_on_problems

# Two minutes before the time limit every process gets SIGTERM, saves a checkpoint and exits with 143.
run sbatch --job-name=barlow --nodes="$NODES" --ntasks-per-node="$GPUS" --gpus-per-node="$GPUS" \
  --cpus-per-task="$CPUS" --time="$TIME" --signal=TERM@120 --requeue --open-mode=append \
  --output=slurm-%j.log --chdir="$repository" \
  ${PARTITION:+"--partition=$PARTITION"} ${ACCOUNT:+"--account=$ACCOUNT"} \
  "$repository/launch/slurm/job.sh" "$PYTHON" "$MAX_RESTARTS" "$@"
