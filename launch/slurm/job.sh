#!/usr/bin/env bash
# Slurm job, submitted by launch/slurm.sh: PYTHON MAX_RESTARTS COMMAND [ARGUMENT ...]
set -uo pipefail

python=$1 max_restarts=$2 command=$3
shift 3

# jax finds the other processes through Slurm's variables, and takes the GPU whose number is that of the task on
# its node, so every task must see all GPUs. After an exit code, the other processes still save a checkpoint.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --gpu-bind=none --kill-on-bad-exit=0 \
  "$python" -m barlow_jax "$command" "--config.data.threads=$SLURM_CPUS_PER_TASK" "$@"
code=$?

# 0: finished; 2: invalid config or command line. A job that is being cancelled is not in the state RUNNING.
if [[ $code == 0 || $code == 2 || $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) != RUNNING ]]; then
  exit "$code"
fi
if ((${SLURM_RESTART_COUNT:-0} >= max_restarts)); then
  echo "error: exit code $code after $max_restarts restarts (MAX_RESTARTS); the job is not requeued" >&2
  exit "$code"
fi
echo "exit code $code: the job is requeued, and pretrain resumes from its newest checkpoint" >&2
scontrol requeue "$SLURM_JOB_ID"
exit "$code"
