"""Checkpoints: whole after every kill, checked by digests, and read without running code."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import shutil
import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from faults import at_every_operation

from gridbazaar import command_line, envs, files
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning import checkpoints, digests, plain_data, run_folder
from gridbazaar.agents.learning.algorithm import make, networks
from gridbazaar.agents.learning.bidder import LearnedBidder
from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.agents.learning.curves import TABLE, Curves
from gridbazaar.config import validate
from gridbazaar.configs import compose
from gridbazaar.envs.game import Game
from gridbazaar.envs.spaces import unbounded_spaces
from gridbazaar.errors import CheckpointError, ConfigError, RunError

POLICIES = {"prosumer": {"observation": ["soc"], "action": ["value"]}}
PPO = {**compose("train", ["name=x"])["algorithm"]}


class Trained:
    """What `checkpoints` asks of an RLlib algorithm: a state to take and to set."""

    def __init__(self, weights: Any, extra: Any = 0):
        self._weights, self._extra, self.restored = weights, extra, None

    def get_state(self) -> dict[str, Any]:
        learner = {"rl_module": dict(self._weights), "optimizer": {"step": np.float32(3.0)}}
        return {"learner_group": {"learner": learner}, "extra": self._extra}

    def set_state(self, state: dict[str, Any]) -> None:
        self.restored = state


def weights(size: int = 4) -> dict[str, Any]:
    return {"prosumer": {"w": np.arange(size, dtype=np.float32)}}


def save(run: Path, iteration: int, best: int, trained: Any = None, keep: int = 1) -> Path:
    progress = Progress(iteration, 10 * iteration, 1.0, 5.0 - best, POLICIES, best_iteration=best)
    return checkpoints.save(trained or Trained(weights()), run, progress, keep)


def content(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and "best/" not in path.relative_to(run).as_posix()
    }


@pytest.mark.parametrize("fault", [None, errno.ENOSPC, errno.EROFS], ids=["kill", "full", "ro"])
@pytest.mark.parametrize("best", [2, 3], ids=["the old stays best", "the new is best"])
def test_the_newest_checkpoint_and_the_best_are_the_old_or_the_new_after_every_fault(
    best, fault, tmp_path
):
    def begin(run):
        save(run, 1, 1)
        save(run, 2, 2)

    def check(run, done):
        newest = checkpoints.read_progress(checkpoints.newest(run))
        assert newest.iteration in ([3] if done else [2, 3])
        found = checkpoints.find(run)
        assert found == checkpoints.find(run / "checkpoints" / "best")
        assert found.name == f"iteration_{newest.best_iteration:06d}"
        assert newest.best_iteration == (best if newest.iteration == 3 else 2)
        for kept in {found, checkpoints.newest(run)}:
            assert torch.equal(checkpoints.weights(kept)["prosumer"]["w"], torch.arange(4.0))
        # What the next process does: it mends the link and goes on.
        checkpoints.mend(run)
        assert os.readlink(run / "checkpoints" / "best") == found.name
        save(run, 3, best)
        save(run, 4, best)
        names = {path.name for path in (run / "checkpoints").iterdir()}
        assert names == {"best", f"iteration_{best:06d}", "iteration_000004"}

    assert at_every_operation(tmp_path, begin, lambda run: save(run, 3, best), check, fault) > 15


@pytest.mark.parametrize("fault", [None, errno.ENOSPC, errno.EROFS], ids=["kill", "full", "ro"])
def test_a_curve_is_the_old_or_the_new_after_every_fault(fault, tmp_path, capsys):
    first, second = (Progress(i, i * 10, 1.0, None, POLICIES) for i in (1, 2))
    cost = {"community_cost_eur_per_day": 1.5}
    curves = {}

    def begin(root):
        curves[root] = Curves(root, first)
        curves[root].add(first, cost, cost)
        curves[root].flush()

    def work(root):
        curves[root].add(second, cost, {})
        curves[root].flush()

    def check(root, done):
        rows = (root / TABLE).read_text().splitlines()[1:]
        assert [row.split(",")[0] for row in rows] in (
            [["1", "2"]] if done else [["1"], ["1", "2"]]
        )
        with suppress(OSError):  # TensorBoard's writer has met the fault, and stops
            curves[root].close()

    at_every_operation(tmp_path, begin, work, check, fault)
    assert not capsys.readouterr().err


def test_a_run_is_begun_whole_or_not_at_all_after_every_kill(tmp_path, monkeypatch):
    config = validate(TrainConfig, compose("train", ["name=demo"]))
    monkeypatch.setattr(run_folder, "versions", dict)

    def begun(root):
        return run_folder.open_folder(config.model_copy(update={"folder": str(root)}))

    def check(root, done):
        if (root / "demo").exists():
            assert yaml.safe_load((root / "demo" / "config.yaml").read_text())["name"] == "demo"
            assert (root / "demo" / "versions.json").read_text().endswith("}")
        else:
            begun(root)
        with pytest.raises(RunError, match="resume=true"):
            begun(root)
        assert [path.name for path in root.iterdir()] == ["demo"]

    at_every_operation(tmp_path, lambda root: None, begun, check)


def test_every_flipped_bit_of_every_file_is_found(tmp_path):
    folder = save(tmp_path, 1, 1)
    names = [path.name for path in folder.iterdir()]
    assert sorted(names) == ["SHA256SUMS", "progress.json", "state.pt", "weights.pt"]
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    generator = np.random.default_rng(3)
    for name in names:
        whole = (folder / name).read_bytes()
        for place in generator.integers(0, 8 * len(whole), 60):
            flipped = bytearray(whole)
            flipped[place // 8] ^= 1 << (place % 8)
            (folder / name).write_bytes(flipped)
            with pytest.raises(CheckpointError, match="remove") as caught:
                checkpoints.weights(folder)
            assert "\n" not in str(caught.value)
        (folder / name).write_bytes(whole)
    checkpoints.weights(folder)


def test_a_flipped_best_iteration_does_not_choose_another_checkpoint(tmp_path):
    save(tmp_path, 1, 1)
    path = save(tmp_path, 2, 1) / "progress.json"
    path.write_text(path.read_text().replace('"best_iteration": 1', '"best_iteration": 2'))
    with pytest.raises(CheckpointError, match="is not what was written"):
        checkpoints.find(tmp_path)


WENT_OFF: list[str] = []


def explode() -> None:
    WENT_OFF.append("bang")


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (explode, ())


def forge(folder: Path, name: str, data: bytes) -> None:
    """Put a file into a checkpoint, with digests that match it."""
    (folder / name).write_bytes(data)
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != digests.LIST
    )
    (folder / digests.LIST).write_text("".join(lines))


def pickled(kind: str) -> bytes:
    if kind == "pickle":
        return pickle.dumps({"prosumer": Bomb()})
    buffer = io.BytesIO()
    torch.save({"prosumer": Bomb()}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["weights.pt", "state.pt", "class_and_ctor_args.pkl"])
def test_no_code_of_a_checkpoint_is_run_not_even_with_digests_that_match(name, kind, tmp_path):
    folder = save(tmp_path, 1, 1)
    forge(folder, name, pickled(kind))
    trained = Trained(weights())
    if name.endswith(".pt"):
        with pytest.raises(CheckpointError, match="nothing of it was run"):
            checkpoints.restore(trained, folder)
        assert trained.restored is None
    else:
        checkpoints.restore(trained, folder)
    assert not WENT_OFF
    pickle.loads(pickled("pickle"))  # and it would have gone off
    assert WENT_OFF.pop() == "bang"


def test_what_is_saved_is_restored_as_it_was(tmp_path):
    extra = {"seen": {1, 2}, "pair": (1, None), "text": "x", "flag": True, "t": torch.ones(2)}
    folder = save(tmp_path, 1, 1, Trained(weights(), extra))
    other = Trained(weights())
    assert asdict(checkpoints.restore(other, folder))["best_iteration"] == 1
    learner = other.restored["learner_group"]["learner"]
    np.testing.assert_array_equal(learner["rl_module"]["prosumer"]["w"], weights()["prosumer"]["w"])
    assert learner["optimizer"] == {"step": 3.0}
    restored = other.restored["extra"]
    np.testing.assert_array_equal(restored.pop("t"), np.ones(2, np.float32))
    assert restored == {key: extra[key] for key in restored}


def test_a_state_that_is_no_plain_data_is_refused_by_name_and_leaves_no_half(tmp_path):
    save(tmp_path, 1, 1)
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match=r"state\.extra\.model is a .*Bomb"):
        save(tmp_path, 2, 1, Trained(weights(), {"model": Bomb()}))
    assert {name for name in content(tmp_path) if "partial" not in name} == before.keys()
    save(tmp_path, 2, 1)
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


@pytest.fixture(scope="module")
def game() -> Game:
    return envs.batched(num_envs=1).game


def learned(run: Path, game: Game, **changes: Any) -> Path:
    """A run whose checkpoint holds real networks."""
    built = networks(make(PPO), unbounded_spaces(game, 5))
    state = {group: module.get_state() for group, module in built.items()}
    progress = Progress(1, 10, 1.0, None, policies(game), 5, PPO)
    checkpoints.save(Trained(state), run, Progress(**{**vars(progress), **changes}), keep=1)
    return run


def policies(game: Game) -> dict[str, dict[str, list[str]]]:
    found = checkpoints.policies_of(game.layout, game.groups)
    return {group: dict(entries) for group, entries in found.items()}


def test_networks_are_played_from_weights_and_configuration_alone(tmp_path, game):
    bidder = LearnedBidder.load(learned(tmp_path, game), game)
    seats = sum(len(group.seats) for group in game.groups)
    action, _ = bidder.act(torch.rand(2, seats, game.layout.size))
    assert action.shape == (2, seats, len(game.layout.actions))
    for group in game.groups:
        had = set(group.acted.tolist())
        others = [i for i in range(action.shape[-1]) if i not in had]
        assert (action[:, group.seats][..., others] == 0).all()


def without(policies, group, what=None):
    """Leave out a group, or its last entry of what it sees or gives."""
    if what is None:
        return {name: entries for name, entries in policies.items() if name != group}
    left = {**policies[group], what: policies[group][what][:-1]}
    return {**policies, group: left}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": {**PPO, "name": "gone"}}, "name the module of yours that brings it"),
        ({"algorithm": {**PPO, "hidden": [3]}}, "use the version that trained it"),
        ({"policies": ("ev",)}, "no policy for seats ev, only for prosumer_pv"),
        ({"policies": ("ev", "observation")}, "another observation (differing in finality)"),
        ({"policies": ("ev", "action")}, "another action (differing in priority_fee)"),
    ],
    ids=str,
)
def test_what_cannot_be_restored_is_one_line_with_the_mend(
    changes, message, tmp_path, capsys, game
):
    if "policies" in changes:
        changes = {"policies": without(policies(game), *changes["policies"])}
    run = learned(tmp_path / "runs" / "old", game, **changes)
    words = ["name=x", f"folder={tmp_path}", f"bidder={run}", "market=grid_only", "days=1"]
    assert command_line.main(["evaluate", *words]) == 2
    err = capsys.readouterr().err
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


class Stubborn(Trained):
    """An algorithm that refuses any state, as one of other networks does."""

    def set_state(self, state):
        raise AttributeError("module 'ray.rllib' has no attribute 'Gone'\nsecond line")


def test_a_state_that_an_algorithm_refuses_is_one_line_with_the_mend(tmp_path):
    folder = save(tmp_path, 1, 1)
    with pytest.raises(CheckpointError, match=r"no attribute 'Gone'.*remove it") as caught:
        checkpoints.restore(Stubborn(weights()), folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "holds NoneType"),
        (b"- a\n- b\n", "holds list"),
        (b"name: \xff\xfe\n", "not valid YAML"),
        (b"name: [\n", "not valid YAML"),
        (b"name: demo\nfolder: x\n", "is missing"),
        (b"\x00\x01", "not valid YAML"),
    ],
    ids=["empty", "list", "not UTF-8", "cut", "half", "zeros"],
)
def test_a_broken_configuration_of_a_run_is_one_line(text, message, tmp_path, capsys):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "config.yaml").write_bytes(text)
    words = ["name=demo", f"folder={tmp_path}", "resume=true"]
    assert command_line.main(["train", *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(tmp_path / "demo" / "config.yaml") in err
    assert message in err
    with pytest.raises(ConfigError):
        run_folder.configure(words)


def test_plain_data_keeps_what_files_hold():
    data = {"a": (1, [2.5, {"x"}]), 3: b"bytes", "none": None}
    path = io.BytesIO(plain_data.dump(data))
    assert torch.load(path, weights_only=True) == data


def test_two_writers_of_a_run_are_refused_by_the_first_ones_process(tmp_path, capsys, game):
    shutil.copytree(learned(tmp_path / "source", game), tmp_path / "demo")
    with files.claim(tmp_path / "demo"):
        words = ["name=demo", f"folder={tmp_path}", "num_envs=1", "ray.num_cpus=1"]
        assert command_line.main(["train", *words]) == 1
    (refusal,) = capsys.readouterr().err.splitlines()
    assert f"is being written by process {os.getpid()} on " in refusal
