"""Loggers of training scalars: the same figures in each, also after a run is resumed."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from gridbazaar.agents.learning.curves import Curves
from gridbazaar.agents.learning.loggers import LOGGERS, Place, check
from gridbazaar.agents.learning.run_folder import configure
from gridbazaar.configs import option
from gridbazaar.errors import MissingExtraError, RunError, UnknownNameError

COST = "community_cost_eur_per_day"


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    return folder


def progress(iteration=0):
    from gridbazaar.agents.learning.checkpoints import Progress

    return Progress(
        iteration=iteration,
        agent_steps=100 * iteration,
        seconds=float(iteration),
        best_cost=None,
        policies={},
        state_size=1,
        algorithm=option("algorithm", "ppo"),
        sharing="group",
        fixed={},
    )


def write(run, loggers, begin, end, config=None):
    """Write iterations as a training does, validated at every second."""
    curves = Curves(run, progress(begin), loggers, config)
    for i in range(begin + 1, end + 1):
        validated = {COST: 40.0 - i} if i % 2 == 0 else {}
        curves.add(progress(i), {COST: 50.0 - i, "agent_steps_per_s": 7.0}, validated)
    curves.close()


def wanted(end):
    rows = {}
    for i in range(1, end + 1):
        rows[100 * i, f"train/{COST}"] = 50.0 - i
        rows[100 * i, "train/agent_steps_per_s"] = 7.0
        if i % 2 == 0:
            rows[100 * i, f"validation/{COST}"] = 40.0 - i
    return rows


def local_store(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "x")  # so that it is taken back at the end
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.delenv(name, raising=False)


def test_the_table_of_all_scalars_goes_on_where_the_run_does(run):
    write(run, ("csv",), 0, 3)
    write(run, ("csv",), 2, 4)  # the third iteration was lost with a crash
    table = pd.read_csv(run / "scalars.csv")
    found = {(steps, name): value for steps, name, value in table.values.tolist()}
    assert found == wanted(4)
    assert len(table) == len(found)
    assert not (run / "tensorboard").exists()
    (run / "scalars.csv").write_text("step,x\n1,2\n")
    with pytest.raises(RunError, match=r"scalars\.csv is no table of scalars"):
        write(run, ("csv",), 2, 4)


def test_mlflow_keeps_the_same_figures_in_a_local_store(run, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is an extra, see docs/recipes.md")
    from mlflow.tracking import MlflowClient

    local_store(monkeypatch)
    write(run, ("mlflow",), 0, 3, {"name": "first", "seed": 7, "task": {"name": "x"}})
    write(run, ("mlflow",), 3, 4)
    client = MlflowClient((run.parent / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("gridbazaar")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "first"
    assert found.info.status == "FINISHED"
    assert found.data.params == {"name": "first", "seed": "7"}
    history = {
        (metric.step, name): metric.value
        for name in found.data.metrics
        for metric in client.get_metric_history(found.info.run_id, name)
    }
    assert history == wanted(4)


def test_a_server_that_is_away_delays_figures_and_ends_no_training(run, monkeypatch, caplog):
    pytest.importorskip("mlflow", reason="mlflow is an extra, see docs/recipes.md")
    local_store(monkeypatch)
    logger = LOGGERS["mlflow"](Place(run, 0))
    taken, away = [], True

    def log_batch(run_id, metrics):
        if away:
            raise ConnectionError("nobody there")
        taken.extend(metrics)

    monkeypatch.setattr(logger._client, "log_batch", log_batch)
    logger.add({"a": 1.0}, 100)
    logger.flush()
    assert "did not take 1 scalars: nobody there" in caplog.text
    logger.add({"a": 2.0}, 200)
    away = False
    logger.close()
    assert [(metric.step, metric.value) for metric in taken] == [(100, 1.0), (200, 2.0)]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of a library that is not ours
def test_weights_and_biases_writes_offline(run, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is an extra, see docs/recipes.md")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write(run, ("wandb",), 0, 2, {"seed": 7})
    assert wandb.run is None  # finished
    wandb.teardown()  # its process has written all when it ends
    (folder,) = (run / "wandb").glob("offline-run-*")
    (written,) = folder.glob("*.wandb")
    content = written.read_bytes()
    for words in (b"train/" + COST.encode(), b"validation/" + COST.encode(), b"gridbazaar"):
        assert words in content


@pytest.mark.parametrize(("logger", "library"), [("mlflow", "mlflow.tracking"), ("wandb", "wandb")])
def test_a_missing_library_is_named_before_anything_is_trained(monkeypatch, logger, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'gridbazaar\[{logger}\]'"):
        configure(["name=x", f"loggers=[csv,{logger}]"])


def test_an_unknown_logger_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown logger 'wnadb'.*wandb"):
        configure(["name=x", "loggers=[wnadb]"])
    assert LOGGERS.names() == ["csv", "mlflow", "tensorboard", "wandb"]
    check(())


def test_a_run_from_before_the_option_is_resumed_and_may_change_it(tmp_path):
    words = ["name=old", f"folder={tmp_path}"]
    config = configure([*words, "seed=3"])
    plain = config.model_dump(mode="json")
    del plain["loggers"]
    (tmp_path / "old").mkdir()
    import yaml

    (tmp_path / "old" / "config.yaml").write_text(yaml.safe_dump(plain))
    resumed = configure([*words, "resume=true"])
    assert resumed == config.model_copy(update={"resume": True})
    assert resumed.loggers == ("tensorboard",)
    changed = configure([*words, "resume=true", "loggers=[csv]"])
    assert changed == resumed.model_copy(update={"loggers": ("csv",)})
