import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from gridbazaar.agents.learning import checkpoints
from gridbazaar.agents.learning.bidder import LearnedBidder
from gridbazaar.agents.learning.rllib.env_runner import iteration_seed
from gridbazaar.agents.learning.rllib.learner import ProportionalMinibatches
from gridbazaar.agents.learning.run_folder import configure, open_folder
from gridbazaar.envs import batched
from gridbazaar.errors import CheckpointError, ConfigError, RunError

ROOT = Path(__file__).parents[1]
SMALL = ("task=small", "num_envs=2", "total_agent_steps=6900", "validate_every=2")
SMALL = (*SMALL, "checkpoint_every=2", "algorithm.minibatch_size=512", "algorithm.kl_coeff=0.2")
SMALL = (*SMALL, "ray.num_cpus=1")


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def command(runs, *words):
    return [sys.executable, str(ROOT / "train.py"), f"folder={runs}", *words]


def run(runs, *words):
    """Train in a process of its own, as users do; Ray starts and ends with it."""
    return subprocess.run(
        command(runs, *words), cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="session")
def whole(runs):
    """A run of four iterations that nothing disturbed."""
    done = run(runs, "name=whole", *SMALL)
    assert done.returncode == 0, done.stderr
    # Without a terminal: what starts, what it will do, and each iteration.
    told = done.stderr.splitlines()
    assert told[:2] == ["building small-v1", "starting Ray"]
    assert "4 iterations of 1,728 agent steps: 6,912, 6,900 rounded up to whole iterations" in told
    assert [line.partition(":")[0] for line in told if line.startswith("iteration")] == [
        f"iteration {k} of 4" for k in (1, 2, 3, 4)
    ]
    return runs / "whole"


@pytest.fixture(scope="session")
def resumed(runs, whole):
    """The same run, killed without warning after its first checkpoint, and continued."""
    with subprocess.Popen(
        command(runs, "name=killed", *SMALL),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 180
        while checkpoints.newest(runs / "killed") is None and process.poll() is None:
            assert time.monotonic() < deadline, "no checkpoint came"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    killed_at = checkpoints.read_progress(checkpoints.newest(runs / "killed")).iteration
    assert 0 < killed_at < 4
    done = run(runs, "name=killed", "resume=true")
    assert done.returncode == 0, done.stderr
    return runs / "killed"


@pytest.fixture(scope="module")
def game():
    return batched("small", num_envs=1).game


def weights(run_folder, game):
    bidder = LearnedBidder.load(checkpoints.newest(run_folder), game)
    return {
        f"{group}.{name}": tensor
        for group, module in bidder._modules.items()
        for name, tensor in module.state_dict().items()
    }


def test_a_run_leaves_config_versions_curves_and_checkpoints(whole):
    config = yaml.safe_load((whole / "config.yaml").read_text())
    assert config["algorithm"]["minibatch_size"] == 512
    versions = json.loads((whole / "versions.json").read_text())
    assert versions["torch"].startswith(torch.__version__.split("+")[0])
    assert {"python", "ray", "numpy", "pandapower", "gridbazaar", "commit", "dirty"} <= set(
        versions
    )
    assert list((whole / "tensorboard").iterdir())
    table = (whole / "progress.csv").read_text().splitlines()
    assert len(table) == 1 + 4
    assert (whole / "checkpoints" / "best" / "progress.json").is_file()
    assert not list(whole.rglob("*.partial"))


@pytest.mark.long
def test_a_killed_run_continues_the_curve_of_the_uninterrupted_one(whole, resumed, game):
    expected, found = weights(whole, game), weights(resumed, game)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0)
    for mine, theirs in zip(costs(resumed), costs(whole), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def costs(run_folder):
    rows = (run_folder / "progress.csv").read_text().splitlines()[1:]
    return [float(cell) for row in rows for cell in row.split(",")[3:] if cell]


@pytest.mark.long
def test_one_interrupt_finishes_the_iteration_and_leaves_a_whole_checkpoint(runs, whole):
    with subprocess.Popen(
        command(runs, "name=stopped", *SMALL, "total_agent_steps=100000000"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 180
        while checkpoints.newest(runs / "stopped") is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=180)
    assert process.returncode == 130, err
    assert "python train.py name=stopped resume=true" in out
    assert checkpoints.read_progress(checkpoints.newest(runs / "stopped")).iteration >= 2


def test_a_learned_bidder_acts_alike_however_it_is_loaded_and_whatever_the_batch(whole):
    sim = batched("small", num_envs=3, split="validation")
    observation = sim.reset(seed=5)
    best = LearnedBidder.load(whole, sim.game)
    action, state = best.act(observation, None)
    assert action.shape == (3, sim.num_seats, len(sim.game.layout.actions))
    assert action.abs().max() <= 1
    again, _ = LearnedBidder.load(whole / "checkpoints" / "best", sim.game).act(observation, state)
    torch.testing.assert_close(again, action)
    single, _ = best.act(observation[1:2], None)
    torch.testing.assert_close(single, action[1:2], atol=1e-6, rtol=0)


def test_an_existing_run_is_not_overwritten(runs, whole):
    with pytest.raises(RunError, match="resume=true"):
        open_folder(configure(["name=whole", f"folder={runs}"]))


def test_resuming_refuses_other_settings_and_missing_runs(runs, whole):
    with pytest.raises(RunError, match="keeps its seed"):
        configure(["name=whole", f"folder={runs}", "resume=true", "seed=3"])
    with pytest.raises(RunError, match="nothing to resume"):
        configure(["name=absent", f"folder={runs}", "resume=true"])
    longer = configure(["name=whole", f"folder={runs}", "resume=true", "total_agent_steps=7"])
    assert longer.total_agent_steps == 7
    assert longer.num_envs == 2


def test_wrong_words_are_one_clear_line(capsys):
    main = runpy.run_path(str(ROOT / "train.py"))["main"]
    assert main(["name=x", "algorithm.lrr=1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "did you mean 'algorithm.lr'" in lines[0]
    with pytest.raises(ConfigError, match=r"algorithm\.lr_end"):
        configure(["name=x", "algorithm.lr=1e-5", "algorithm.lr_end=1e-3"])
    with pytest.raises(ConfigError, match="name"):
        configure(["name=../x"])


def test_damaged_and_foreign_checkpoints_are_named(whole, tmp_path, game):
    with pytest.raises(CheckpointError, match="no checkpoint of GridBazaar"):
        LearnedBidder.load(tmp_path, game)
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        LearnedBidder.load(tmp_path, game)
    record = json.loads((whole / "checkpoints" / "best" / "progress.json").read_text())
    (tmp_path / "progress.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="cannot read the networks"):
        LearnedBidder.load(tmp_path, game)
    (tmp_path / "progress.json").write_text(json.dumps({**record, "format": "of old"}))
    with pytest.raises(CheckpointError, match="another version"):
        checkpoints.read_progress(tmp_path)


def test_a_truncated_checkpoint_is_refused_with_the_mend(whole, tmp_path):
    copy = tmp_path / "iteration_000004"
    shutil.copytree(checkpoints.newest(whole), copy)
    state = copy / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="to continue from the one before") as caught:
        checkpoints.restore(None, copy)
    assert str(state) in str(caught.value)


def test_minibatches_keep_the_proportions_and_show_every_row_once_an_epoch():
    sizes = {"few": 100, "many": 1000}
    rows = {r: SampleBatch({"x": torch.arange(n)}) for r, n in sizes.items()}
    parts = ProportionalMinibatches(MultiAgentBatch(rows, 1000), 2, 220, seed=3)
    minibatches = list(parts)
    assert len(minibatches) == len(parts) == 2 * 5
    for role, size in sizes.items():
        shown = [part.policy_batches[role]["x"] for part in minibatches]
        assert {len(x) for x in shown} == {size // 5}
        for epoch in (shown[:5], shown[5:]):
            assert torch.equal(torch.cat(epoch).sort().values, torch.arange(size))
        assert not torch.equal(torch.cat(shown[:5]), torch.cat(shown[5:]))


def test_seeds_differ_between_iterations_runners_and_runs():
    seeds = {iteration_seed(s, i, r) for s in range(5) for i in range(20) for r in range(5)}
    assert len(seeds) == 5 * 20 * 5
