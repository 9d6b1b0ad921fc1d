#!/bin/bash
# One training a task of a SLURM array: three markets with three seeds each are nine of them.
#   sbatch --array=0-8 examples/slurm_array.sh
# A task that is killed and queued again goes on from its last checkpoint.
#SBATCH --job-name=gridbazaar
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

markets=(uniform_auction pay_as_bid vcg)
seeds=(0 1 2)
market=${markets[SLURM_ARRAY_TASK_ID / ${#seeds[@]}]}
seed=${seeds[SLURM_ARRAY_TASK_ID % ${#seeds[@]}]}

# seed_0, seed_1, ... in one folder are one bidder to `evaluate.py bidder=[runs/sweep/vcg]`.
place=(name="seed_$seed" folder="runs/sweep/$market")
if [[ -d runs/sweep/$market/seed_$seed ]]; then
  words=(resume=true)
else
  words=(market="$market" seed="$seed" "$@")
fi
exec .venv/bin/python train.py "${place[@]}" "${words[@]}" ray.num_cpus="${SLURM_CPUS_PER_TASK:-1}"
