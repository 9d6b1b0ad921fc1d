"""Laws of every registered algorithm, and a toy one that is registered here alone."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule

from gridbazaar import envs
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning import checkpoints
from gridbazaar.agents.learning.algorithm import AlgorithmSettings
from gridbazaar.agents.learning.algorithms import ALGORITHMS, Algorithm, make
from gridbazaar.agents.learning.bidder import LearnedBidder
from gridbazaar.agents.learning.rllib.config import workload
from gridbazaar.agents.learning.rllib.learner import DayLearner
from gridbazaar.agents.learning.rllib.session import ray_session
from gridbazaar.agents.learning.rllib.training import DayTrainingConfig
from gridbazaar.agents.learning.rollout import Choice
from gridbazaar.agents.learning.run_folder import open_folder
from gridbazaar.agents.learning.trainer import Training
from gridbazaar.agents.learning.validation import Validation
from gridbazaar.agents.load import load
from gridbazaar.config import validate
from gridbazaar.configs import compose, options
from gridbazaar.envs.build import build
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.evaluation import tournament
from gridbazaar.evaluation.config import configure as configure_evaluation
from gridbazaar.evaluation.config import label
from gridbazaar.evaluation.outcome import OPTIMUM

TOY = {"name": "cross_entropy", "lr": 0.01, "spread": 0.3, "elite": 0.5}
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "ResourceWarning", "FutureWarning", "UserWarning")
]


class SquashedLinear(TorchRLModule):
    """One layer and a tanh; gives actions by itself, no distribution."""

    def setup(self):
        self.layer = torch.nn.Linear(self.observation_space.shape[0], self.action_space.shape[0])

    def _forward(self, batch, **kwargs):
        return {Columns.ACTIONS: torch.tanh(self.layer(batch[Columns.OBS]))}


class Imitation(DayLearner):
    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        return (fwd_out[Columns.ACTIONS] - batch[Columns.ACTIONS]).square().mean()


class CrossEntropySettings(AlgorithmSettings):
    name: Literal["cross_entropy"]
    lr: float
    spread: float
    elite: float


@ALGORITHMS.register("cross_entropy")
class CrossEntropy(Algorithm):
    """Imitate what was done in the markets whose day went best."""

    Config = CrossEntropySettings
    global_state = True

    def __init__(self, config):
        self._config = config

    def training(self, workload):
        config = DayTrainingConfig().learners(learner_class=Imitation)
        return config.training(lr=self._config.lr, num_epochs=2)

    def modules(self, spaces):
        specs = {
            name: RLModuleSpec(
                module_class=SquashedLinear,
                observation_space=group.observation,
                action_space=group.action,
            )
            for name, group in spaces.items()
        }
        return MultiRLModuleSpec(rl_module_specs=specs)

    def explore(self, module, observation, noise, memory):
        played = 0 if memory is None else memory
        mean = module.forward_exploration({Columns.OBS: observation})[Columns.ACTIONS]
        at = torch.full(observation.shape[:2], played)
        return Choice(mean + self._config.spread * noise, {"played": at}, played + 1)

    def process(self, module, trajectory):
        T, B, _, F = trajectory.observation.shape
        assert trajectory.remembered["played"][:, 0, 0].tolist() == list(range(T))
        assert trajectory.state.shape == trajectory.next_state.shape
        best = trajectory.reward.sum((0, 2)).topk(max(1, int(B * self._config.elite))).indices
        return {
            Columns.OBS: trajectory.observation[:, best].reshape(-1, F),
            Columns.ACTIONS: trajectory.action[:, best].flatten(0, 2),
        }


class Once:
    """An interrupt that comes after the first iteration."""

    def __init__(self):
        self.asked = -1

    def __bool__(self):
        self.asked += 1
        return self.asked > 0


def settings(folder, name, run):
    words = [f"name={run}", f"folder={folder}", "task=small", "num_envs=2", "validate_every=2"]
    words += ["checkpoint_every=1", *(["algorithm.updates=3"] if name == "sac" else [])]
    if name in options("algorithm"):
        values = compose("train", [*words, f"algorithm={name}"])
    else:
        values = {**compose("train", words), "algorithm": TOY}
    return validate(TrainConfig, values)


# `make test` trains PPO, `make test-all` the others too.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name == "ppo" else pytest.mark.long)
        for name in ALGORITHMS.names()
    ],
)
def trained(request, tmp_path_factory):
    """Two runs of two iterations; the second is stopped in between and resumed."""
    folder, name = tmp_path_factory.mktemp("runs"), request.param
    config = settings(folder, name, "whole")
    algorithm = make(config.algorithm)
    validation = Validation(config, algorithm)
    validation._days = validation._days[:3]  # as good as all for these laws
    validation._simulation = build(config.world, 3, "validation", config.seed)
    steps = workload(config, validation.num_seats, validation.slots).agent_steps

    def run(name, interrupt):
        now = config.model_copy(update={"name": name, "total_agent_steps": 2 * steps})
        place = folder / name if (folder / name).exists() else open_folder(now)
        training = Training(now, algorithm, place, validation)
        try:
            return training.run(interrupt)
        finally:
            training.close()

    with ray_session(config.ray):
        whole = run("whole", False)
        assert run("stopped", Once()).progress.iteration == 1
        resumed = run("stopped", False)
    return config, whole, resumed


def weights(folder, game):
    return weights_of(checkpoints.newest(folder), game)


def weights_of(checkpoint, game):
    modules = LearnedBidder.load(checkpoint, game)._modules
    return {f"{r}.{k}": v for r, m in modules.items() for k, v in m.state_dict().items()}


@pytest.fixture(scope="module")
def game():
    return envs.batched(task="small", num_envs=1).game


def test_a_resumed_run_goes_on_where_it_stopped(trained, game):
    _, whole, resumed = trained
    assert whole.progress.iteration == resumed.progress.iteration == 2
    assert resumed.progress.best_cost == pytest.approx(whole.progress.best_cost, abs=1e-4)
    expected, found = weights(whole.folder, game), weights(resumed.folder, game)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0)


def test_learning_moves_the_weights(trained, game):
    _, whole, _ = trained
    first = weights_of(whole.folder / "checkpoints" / "iteration_000001", game)
    last = weights(whole.folder, game)
    assert any((tensor != first[name]).any() for name, tensor in last.items())


def test_what_was_trained_is_a_bidder_that_acts_within_bounds_alike_in_every_batch(trained):
    config, whole, _ = trained
    sim = build(config.world, 3, "validation", 0)
    observation = sim.reset(seed=4)
    bidder = load(str(whole.folder), sim.game)
    action, state = bidder.act(observation, None)
    assert action.abs().max() <= 1
    single, _ = bidder.act(observation[1:2], None)
    torch.testing.assert_close(single, action[1:2], atol=1e-6, rtol=0)
    observation = sim.step(action).observation
    again, _ = bidder.act(observation, state)
    assert sim.step(again).observation.isfinite().all()


def test_what_was_trained_is_evaluated_beside_the_others_on_the_device(trained):
    _, whole, _ = trained
    words = ["name=x", "task=small", "days=1", "precision=float64", "device=cpu"]
    words.append(f"bidder=[own_use,{whole.folder}]")
    devices = []

    def maker(*words):
        devices.append(words[2])
        return load(*words)

    played = tournament.run(configure_evaluation(words), maker)
    costs = {o.combination.bidder: float(o.figures["community_cost"]) for o in played.outcomes}
    assert costs.keys() > {"own_use", label(str(whole.folder))}
    assert all(cost >= costs[OPTIMUM] - 1e-6 for cost in costs.values())
    assert set(devices) == {"cpu"}


def test_the_device_reaches_the_networks(trained, game):
    _, whole, _ = trained
    bidder = LearnedBidder.load(whole.folder, game, torch.device("meta"))
    assert {p.device.type for m in bidder._modules.values() for p in m.parameters()} == {"meta"}


def test_an_unknown_algorithm_or_setting_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'cross_entropy'"):
        make({"name": "cross_entropie"})
    with pytest.raises(ConfigError, match=r"unknown key 'algorithm\.sprea': did you mean 'spread'"):
        make({**TOY, "sprea": 1.0})
    ppo = compose("train", ["name=x"])["algorithm"]
    spread = {**ppo["initial_log_std"], "devise_share": -1.0}
    with pytest.raises(ConfigError, match=r"devise_share': did you mean 'device_share"):
        make({**ppo, "initial_log_std": spread})
    held = dict.fromkeys(ppo["initial_log_std"])
    with pytest.raises(ConfigError, match="every entry is null, so that nothing would be learned"):
        make({**ppo, "initial_log_std": held})


def test_every_algorithm_describes_itself_and_names_its_settings():
    for name, line in ALGORITHMS.describe().items():
        assert line.endswith("."), name
        assert issubclass(ALGORITHMS[name].Config, AlgorithmSettings)
