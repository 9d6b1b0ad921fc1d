"""BenchMARL trains MAPPO on a market: a task of its own, every algorithm of theirs.

    python examples/benchmarl_mappo.py 20

needs `pip install 'gridbazaar[benchmarl]'`. The central critics see the market's global state.
Results lie in `runs/benchmarl/`, with a JSON file for marl-eval.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarl.algorithms import MappoConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

from gridbazaar.agents.wrappers.benchmarl import MarketTask

DAY = 96


def main(iterations: int = 20, markets: int = 10, folder: str = "runs/benchmarl") -> float:
    """Train for some days of every market; return the seats' mean reward in the last one, EUR."""
    config = ExperimentConfig.get_from_yaml()
    config.save_folder = folder
    config.loggers = ["csv"]
    config.render = False
    config.max_n_iters = iterations
    config.max_n_frames = None
    config.gamma, config.lr = 0.999, 3e-4
    config.on_policy_n_envs_per_worker = markets
    config.on_policy_collected_frames_per_batch = DAY * markets
    config.on_policy_n_minibatch_iters = 5
    config.on_policy_minibatch_size = 2 * DAY
    config.evaluation_interval = DAY * markets * iterations
    config.evaluation_episodes = markets
    Path(folder).mkdir(parents=True, exist_ok=True)
    experiment = Experiment(
        task=MarketTask.SMALL.get_task({"task": "small", "residual": True}),
        algorithm_config=MappoConfig.get_from_yaml(),
        model_config=MlpConfig.get_from_yaml(),
        critic_model_config=MlpConfig.get_from_yaml(),
        seed=1,
        config=config,
    )
    experiment.run()
    mean = float(experiment.mean_return)
    print(f"a seat earns {mean:.2f} EUR/day")
    return mean


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
