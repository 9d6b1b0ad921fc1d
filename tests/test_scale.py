"""Several env runners and learners: the same days whoever plays them, the same weights."""

from __future__ import annotations

import pytest
import ray
import torch
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from gridbazaar import plugins
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning.algorithms import make
from gridbazaar.agents.learning.rllib.session import ray_session
from gridbazaar.agents.learning.rllib.training import evenly_mixed
from gridbazaar.agents.learning.run_folder import open_folder
from gridbazaar.agents.learning.trainer import Training
from gridbazaar.agents.learning.validation import Validation
from gridbazaar.config import validate
from gridbazaar.configs import compose

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "ResourceWarning", "FutureWarning", "UserWarning")
]
# Warnings that Ray's own threads and objects leave behind when actors die.
pytestmark += [
    pytest.mark.filterwarnings(f"ignore::pytest.{kind}")
    for kind in ("PytestUnraisableExceptionWarning", "PytestUnhandledThreadExceptionWarning")
]


@pytest.fixture(autouse=True)
def nobody_elses_plugins(monkeypatch):
    """What other tests of this process registered, actors neither need nor find."""
    monkeypatch.setattr(plugins, "modules", list)


def configured(folder, name, *words):
    words = [f"name={name}", f"folder={folder}", "task=small", "validate_every=100", *words]
    return validate(TrainConfig, compose("train", words))


def begin(config):
    algorithm = make(config.algorithm)
    return Training(config, algorithm, open_folder(config), Validation(config, algorithm))


def weights(training):
    """Return the networks' state of every learner."""
    answers = training._rllib.learner_group.foreach_learner(
        lambda learner: {
            f"{name}.{key}": torch.as_tensor(value)
            for name, module in learner.module._rl_modules.items()
            for key, value in module.unwrapped().get_state().items()
        }
    )
    return [answer.get() for answer in answers]


def test_every_learner_gets_as_many_rows_each_shown_and_mixed():
    rows = {"many": SampleBatch({"x": torch.arange(101)}), "one": SampleBatch({"x": torch.ones(1)})}
    mixed = evenly_mixed(MultiAgentBatch(rows, 101), 4, seed=1).policy_batches
    found = mixed["many"]["x"]
    assert len(found) == 104
    assert set(found.tolist()) == set(range(101))
    assert not torch.equal(found[:101], torch.arange(101))
    assert len(mixed["one"]["x"]) == 4


@pytest.mark.long
def test_two_runners_and_two_learners_agree_and_a_lost_runners_days_are_played_here(tmp_path):
    config = configured(
        tmp_path, "wide", "num_envs=1", "num_env_runners=2", "num_learners=2", "ray.num_cpus=4"
    )
    with ray_session(config.ray):
        training = begin(config)
        try:
            cost = training._iterate()
            assert cost == cost
            states = weights(training)
            assert len(states) == 2
            for name, value in states[0].items():
                torch.testing.assert_close(states[1][name], value, atol=0, rtol=0)
            rllib = training._rllib
            before = [batch for batch, _ in rllib._answers()]
            lost = rllib.env_runner_group._worker_manager.actors()[1]
            ray.kill(lost, no_restart=True)
            after = [batch for batch, _ in rllib._answers()]
            assert len(before) == len(after) == 2
            for one, other in zip(before, after, strict=True):
                for policy, rows in one.policy_batches.items():
                    for name, column in rows.items():
                        found = torch.as_tensor(other.policy_batches[policy][name])
                        torch.testing.assert_close(found, torch.as_tensor(column))
            training._iterate()
            assert training.progress.iteration == 2
        finally:
            training.close()


@pytest.mark.long
def test_two_by_two_learns_as_well_as_one_process(tmp_path):
    costs = {}
    for name, words in {
        "one": ["num_envs=16"],
        "wide": ["num_envs=8", "num_env_runners=2", "num_learners=2"],
    }.items():
        config = configured(
            tmp_path,
            name,
            *words,
            "ray.num_cpus=4",
            "algorithm.minibatch_size=2048",
            "total_agent_steps=400000",
        )
        with ray_session(config.ray):
            training = begin(config)
            try:
                before = training._validate(training._rllib.learner_group.get_weights())
                training.run(False)
                costs[name] = training.progress.best_cost
            finally:
                training.close()
        assert training.progress.agent_steps >= 400_000
    untrained = before["community_cost_eur_per_day"]
    gain = untrained - costs["one"]
    assert gain > 0
    assert untrained - costs["wide"] > 0.7 * gain


@pytest.mark.long
def test_training_on_two_nodes_survives_the_loss_of_one_and_ends_at_the_planned_step(tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        config = configured(tmp_path, "lost", "num_envs=1", "num_env_runners=2")
        steps = 2 * 96 * 9
        training = begin(config.model_copy(update={"total_agent_steps": 3 * steps}))
        try:
            training._iterate()
            workers = training._rllib.env_runner_group._worker_manager
            assert workers.num_healthy_actors() == 2
            cluster.remove_node(second)
            outcome = training.run(False)
            assert workers.num_healthy_actors() < 2, "a runner was on the node that is gone"
        finally:
            training.close()
        assert outcome.finished
        assert outcome.progress.agent_steps == 3 * steps
    finally:
        ray.shutdown()
        cluster.shutdown()
