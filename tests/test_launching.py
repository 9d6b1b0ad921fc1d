"""Hydra's launchers: what they refuse, and that jobs compute what one after another does."""

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from gridbazaar import command_line, configs
from gridbazaar.agents.config import RayConfig
from gridbazaar.agents.learning import campaign, campaign_runs
from gridbazaar.agents.learning.campaign import plan, train_all
from gridbazaar.configs import composition, launching
from gridbazaar.configs.launching import launch, parted
from gridbazaar.errors import ConfigError, WorldError
from gridbazaar.evaluation import sweep

ROOT = Path(__file__).parents[1]
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
LOCAL = ("hydra/launcher=submitit_local",)
needs_launchers = pytest.mark.skipif(
    not all(find_spec(name) for name in ("joblib", "submitit")), reason="needs the extra launchers"
)


@pytest.fixture
def bare(monkeypatch):
    """An installation without launchers but Hydra's own."""
    Plugins.instance()  # which registers all there are
    store = ConfigStore.instance().repo["hydra"]["launcher"]
    for name in [name for name in store if name != "basic.yaml"]:
        monkeypatch.delitem(store, name)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "-m", *JOBLIB, "seed=0,1"], "hydra-joblib-launcher is not installed; install"),
        (["train", *LOCAL, "seed=[0,1]"], "hydra-submitit-launcher is not installed; install it w"),
        (
            ["evaluate", "-m", "hydra/launcher=submitit_slurm", "seed=0,1"],
            "hydra-submitit-launcher is not installed; install it with: pip install "
            "'gridbazaar[launchers]'",
        ),
        (
            ["train", "-m", "hydra/launcher=jobs"],
            "unknown hydra/launcher 'jobs': did you mean 'jobl",
        ),
        (
            ["train", "-m", "hydra/launcher=null"],
            "unknown hydra/launcher 'None': known are basic, j",
        ),
        (["train", "-m", "hydra.launcher.n_jobs=2"], "'hydra.launcher.n_jobs=2' wants a launcher,"),
        (["train", "-m", "hydra/launcher=a,b"], "hydra/launcher has several values: all jobs have"),
        (["train", "market=vcg", *JOBLIB], "'hydra/launcher=joblib': of Hydra's own words this ta"),
        (["evaluate", *JOBLIB], "'hydra/launcher=joblib': of Hydra's own words this takes hydra/l"),
        (["train", "-m", "seed=0,1", "hydra/sweeper=optuna"], "'hydra/sweeper=optuna': of Hydra's"),
        (
            ["evaluate", "-m", "seed=0,1", "hydra.sweep.dir=x"],
            "'hydra.sweep.dir=x': of Hydra's own",
        ),
    ],
)
def test_what_no_launcher_can_do_is_one_line(words, line, bare, tmp_path, capsys):
    assert command_line.main([*words, f"folder={tmp_path}"]) == 2
    _, err = capsys.readouterr()
    assert err.startswith(f"gridbazaar {words[0]}: {line}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@needs_launchers
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([*JOBLIB, "hydra.launcher.n_job=2"], "has no 'n_job': did you mean 'n_jobs'?"),
        ([*JOBLIB, "hydra.launcher.n_jobs=x"], "Value 'x' of type 'str' could not be converted"),
    ],
)
def test_an_option_that_a_launcher_lacks_is_named(words, line):
    with pytest.raises(ConfigError, match=line):
        parted(words)


@needs_launchers
def test_tune_has_trials_at_a_time_of_its_own(capsys):
    words = ["train", "--tune", "algorithm.lr=1e-3,2e-3", *JOBLIB]
    assert command_line.main(words) == 2
    assert "Tune runs trials itself, tune.concurrent= at a time" in capsys.readouterr().err


def test_hydras_basic_launcher_is_one_after_another():
    assert parted(["hydra/launcher=basic", "seed=0,1"]) == ([], ["seed=0,1"])


@needs_launchers
def test_a_folder_of_ones_own_may_hold_a_launcher(tmp_path, monkeypatch):
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    mine = tmp_path / "hydra" / "launcher" / "mine.yaml"
    mine.write_text("defaults: [joblib]\nn_jobs: 3\n")
    monkeypatch.setattr(composition, "folders", lambda: [configs.FOLDER, tmp_path])
    words = ["hydra/launcher=mine", "hydra.launcher.verbose=1"]
    assert parted(words) == (words, [])
    assert at_a_time(words[:1], 12) == 3
    with pytest.raises(ConfigError, match="hydra/launcher=mine has no 'jobs'"):
        parted([words[0], "hydra.launcher.jobs=2"])


def at_a_time(words, jobs):
    with composition.our_hydra(configs.FOLDER):
        _, config = launching._composed(words, Path())
    return launching._at_a_time(config.hydra.launcher, jobs)


@pytest.mark.parametrize(
    ("words", "jobs", "expected"),
    [
        (["hydra/launcher=joblib"], 3, 3),
        (["hydra/launcher=joblib"], 12, 8),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 12, 2),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=-2"], 12, 7),
        (["hydra/launcher=submitit_local"], 12, 12),
        (["hydra/launcher=submitit_slurm"], 12, 1),
    ],
)
@needs_launchers
def test_jobs_at_a_time_share_the_cores(words, jobs, expected, monkeypatch):
    monkeypatch.setattr(launching, "_cores_here", lambda: 8)
    assert at_a_time(words, jobs) == expected


def test_a_job_has_a_core_for_each_actor_unless_told():
    def cores(*words):
        run = campaign_runs.Planned("", 0, Path("runs/x"), words)
        return campaign._sessions(campaign_runs.configured(run), 2)

    assert cores() == RayConfig(address=None, num_cpus=2)
    assert cores("num_env_runners=3", "num_learners=1").num_cpus == 4
    assert cores("num_env_runners=3", "ray.num_cpus=1").num_cpus == 1


SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=3")
CLUSTER = {
    "sbatch": """
        for task in 0 1 2; do
            export SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task
            export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1
            bash "$1" > /dev/null 2>&1 &
        done
        echo Submitted batch job 7""",
    "srun": """
        while test "${1#--}" != "$1"; do
            case "$1" in --output|--error) shift; esac
            shift
        done
        exec "$@" """,
    "sacct": "echo 'JobID|State|NodeList'",
}


@pytest.fixture
def away(tmp_path, monkeypatch):
    """What a job's process needs to know these tests, and a queue that runs at once."""
    for name, text in CLUSTER.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # which would close what pytest logs to


def told(value, cores):
    print(f"value {value}\nand", "more", file=sys.stderr)
    return value, cores, Path.cwd()


@pytest.mark.long
@needs_launchers
@pytest.mark.parametrize("words", [JOBLIB, LOCAL, SLURM], ids=["joblib", "submitit", "slurm"])
def test_jobs_return_in_their_order_from_where_they_were_begun(words, away, tmp_path, capfd):
    cores = len(os.sched_getaffinity(0))
    share = {JOBLIB: max(1, cores // 2), LOCAL: max(1, cores // 3), SLURM: 3}[words]
    given = launch(words, tmp_path, {f"job {n}": partial(told, n) for n in range(3)})
    assert given == [(n, share, Path.cwd()) for n in range(3)]
    lines = capfd.readouterr().err
    lines += "".join(path.read_text() for path in tmp_path.glob(".submitit/*/*_log.err"))
    if words is not SLURM:  # whose own srun would write them
        assert {f"job {n}: value {n}" for n in range(3)} <= set(lines.splitlines())
        assert "job 1: and more\n" in lines


@pytest.mark.long
@needs_launchers
@pytest.mark.parametrize("words", [JOBLIB, LOCAL], ids=["joblib", "submitit"])
def test_a_job_that_dies_is_the_worlds_failure_in_one_line(words, away, tmp_path):
    with pytest.raises(WorldError, match="the launcher, or a job of it, failed: ") as failed:
        launch(words, tmp_path, {"it": os._exit})
    assert "\n" not in str(failed.value)


def without_seconds(path):
    found = pd.read_csv(path)
    return found.drop(columns=[c for c in found if c in ("seconds", "agent_steps_per_s")])


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory):
    """Two trainings one after another, in a process of their own: Ray starts and ends with it."""
    root = tmp_path_factory.mktemp("in_turn")
    command = [sys.executable, str(ROOT / "train.py"), *training(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # the rate below zero
    return root / "x"


def training(root, *more):
    small = ("task=small", "num_envs=1", "total_agent_steps=1")
    return ["-m", "name=x", f"folder={root}", "algorithm.lr=-1,1e-3", "seed=0,1", *small, *more]


@pytest.mark.long
@needs_launchers
@pytest.mark.parametrize("words", [JOBLIB, LOCAL], ids=["joblib", "submitit"])
def test_jobs_train_what_one_after_another_does(words, in_turn, tmp_path, monkeypatch):
    """Those of one point cannot be trained, which is a line each, and the others go on."""
    # Tests that register something of their own are plug-ins that a job imports, too.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    results = train_all(plan(training(tmp_path, *words)), say=lambda line: None)
    assert [result.state for result in results] == ["failed", "failed", "finished", "finished"]
    for seed in (0, 1):
        curves = Path("lr_0.001", f"seed_{seed}", "progress.csv")
        mine, theirs = (root / curves for root in (tmp_path / "x", in_turn))
        pd.testing.assert_frame_equal(without_seconds(mine), without_seconds(theirs))
    table = campaign_runs.TABLE
    pd.testing.assert_frame_equal(
        without_seconds(tmp_path / "x" / table), without_seconds(in_turn / table)
    )
    again = train_all(plan(["name=x", f"folder={tmp_path}", "resume=true", *words]))
    assert again == results


@pytest.mark.long
@needs_launchers
def test_jobs_play_what_one_after_another_does(tmp_path):
    """An evaluation whose place is taken is a line, and the others go on."""
    small = ["task=small", "days=1", "planner=false", "bidder=[truthful,zip]", "seed=0,1,2"]
    for name, words in (("turn", []), ("jobs", JOBLIB)):
        (tmp_path / name / "seed_1").mkdir(parents=True)
        place = [f"name={name}", f"folder={tmp_path}"]
        text, code = sweep.evaluate_all([*place, *small, *words], say=lambda line: None)
        assert code == 1
        assert f"seed_1 failed: {tmp_path / name / 'seed_1'} exists" in text
    tables = [pd.read_csv(tmp_path / name / sweep.TABLE) for name in ("turn", "jobs")]
    pd.testing.assert_frame_equal(*tables)
    assert set(tables[0].point) == {"seed_0", "seed_2"}
