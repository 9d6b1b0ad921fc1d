"""The commands: what they print, and how they end."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

import evaluate as evaluate_script
import train as train_script
from gridbazaar import catalogue, command_line
from gridbazaar.agents.bidders import BIDDERS
from gridbazaar.agents.learning import trainer
from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.configs import compose, groups, options, search_path
from gridbazaar.envs.markets import MARKETS
from gridbazaar.errors import BusyError, OptimumError, RunError
from gridbazaar.evaluation import results
from gridbazaar.evaluation.optimum import Optimum
from gridbazaar.evaluation.outcome import Combination, Outcome

ROOT = Path(__file__).parents[1]


def test_list_names_every_choice_of_every_family(capsys):
    assert command_line.main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line[:-1] for line in listed if not line.startswith(" ")] == list(catalogue.FAMILIES)
    names = {line.split()[0] for line in listed if line.startswith(" ")}
    assert names >= {*MARKETS.names(), *BIDDERS.names()}
    for group in ("task", "market", "ledger", "layer", "incentive", "bidder", "algorithm"):
        assert names >= set(options(group)), group
    assert all(len(line.split()) > 1 for line in listed if line.startswith(" "))


def test_list_names_the_wanted_families_alone(capsys):
    assert command_line.main(["list", "ledgers", "markets"]) == 0
    listed = capsys.readouterr().out
    assert [line for line in listed.splitlines() if line[0] != " "] == ["ledgers:", "markets:"]
    assert evaluate_script.main(["--list"]) == 0
    assert listed.partition("\nmarkets:")[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "-h"], ["evaluate", "--help", "days=1"], ["list", "--help"]]
)
def test_help_shows_how_the_command_is_called(words, capsys):
    assert command_line.main(words) == 0
    out, err = capsys.readouterr()
    assert " ".join(["gridbazaar", words[0]] if len(words) > 1 else ["gridbazaar"]) in out
    assert max(map(len, out.splitlines())) <= 100
    assert not err


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("market=[vcg,uniform_auction]", ("With market=uniform_auction:\n  market.k=",)),
        ("task=semiurb4", ("With task=semiurb4-v1:\n  task.seed=0",)),
        ("tariff@task.tariff=flat", ("\nWith tariff@task.tariff=flat:\n  task.tariff.kind=",)),
        ("devices=heat_pump", ("=heat_pump:\n  task.devices.heat_pump.time_constant_h=",)),
        ("incentive=solarcoin", ("{name: solarcoin, ...}", "\n  kwh_per_coin=1 ")),
        ("layer=noise", ("ledger.layers=[{name: noise, ...}]", "\n  epsilon=1.0 ")),
    ],
)
def test_help_shows_the_options_of_what_is_chosen_as_they_are_written(word, parts, capsys):
    assert command_line.main(["evaluate", "--help", word]) == 0
    shown = capsys.readouterr().out
    for part in parts:
        assert part in shown


def test_help_for_what_is_not_there_names_the_nearest(capsys):
    assert command_line.main(["evaluate", "--help", "market=uniform_acution"]) == 2
    assert "did you mean 'uniform_auction'?" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "entry"), [("train", "train"), ("evaluate", "evaluate")])
def test_help_names_every_option_with_its_default(command, entry, capsys):
    assert command_line.main([command, "--help", "ledger=block"]) == 0
    shown = capsys.readouterr().out
    top = {
        key: value
        for key, value in compose(entry).items()
        if key not in groups() and not isinstance(value, dict)
    }
    for key, value in top.items():
        assert f"  {key}=" in shown, key
        if isinstance(value, str | float) and not isinstance(value, bool):
            assert f"  {key}={value}" in shown.replace("_000", "000"), key
    assert f"  task={compose(entry)['task']['name']} " in shown
    assert "unset" not in shown
    assert "\n  ledger.interval_s=30.0  " in shown
    assert "s; Quartierstrom (Meeuw et al. 2020)" in shown


def test_help_of_training_shows_the_options_of_the_chosen_algorithm(capsys):
    assert command_line.main(["train", "algorithm=sac", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "  algorithm.updates=40 " in shown
    assert "algorithm.clip_param" not in shown
    assert "  reward.team_weight=0.3 " in shown


def test_help_of_the_scripts_names_the_scripts(capsys):
    assert train_script.main(["--help"]) == 0
    assert evaluate_script.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "python train.py name=" in out
    assert "python evaluate.py name=" in out
    assert "gridbazaar" not in out


def test_without_a_command_the_usage_is_printed_and_the_input_is_wrong(capsys):
    assert command_line.main([]) == 2
    assert capsys.readouterr().out.startswith("usage: gridbazaar COMMAND")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["evalute"], "gridbazaar: unknown command 'evalute': did you mean 'evaluate'?"),
        (["list", "market"], "gridbazaar list: unknown family 'market': did you mean 'markets'?"),
        (["evaluate", "name=x", "market=none"], "gridbazaar evaluate: unknown market 'none'"),
        (["evaluate", "name=x", "bidder=[zip,zpi]"], "gridbazaar evaluate: unknown bidder 'zpi'"),
        (["train", "name=x", "sead=1"], "gridbazaar train: unknown key 'sead'"),
        (["train", "name=x", "bidder=zip"], "gridbazaar train: 'bidder=zip': bidder is not chosen"),
        (["train", "--list", "market"], "gridbazaar train: unknown family 'market': did you me"),
        (
            ["train", "algorithm.learning_rate=1e-3"],
            "gridbazaar train: unknown key 'algorithm.learning_rate': did you mean 'algorithm.lr'?",
        ),
        (["train", "resume=true"], "gridbazaar train: resume=true needs name=; known are"),
        (["evaluate", "resume=true"], "gridbazaar evaluate: resume=true needs the name="),
        (["evaluate", "-m", "name=x"], "gridbazaar evaluate: -m wants a word with several values"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, line, capsys):
    assert command_line.main(words) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_an_unknown_run_is_answered_by_those_that_lie_there(tmp_path, capsys):
    for name in ("demo", "first", ".hidden"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    wanted = tmp_path / "runs" / "dema"
    for bidder in (f"[{wanted}]", f"{{default: truthful, prosumer_0: {wanted}}}"):
        assert command_line.main(["evaluate", f"bidder={bidder}"]) == 2
        err = capsys.readouterr().err
        assert f"did you mean '{tmp_path}/runs/demo'? known are {tmp_path}/runs/demo" in err
        assert "hidden" not in err
        assert "truthful" not in err.partition("known are")[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_gpu_that_is_not_there_is_one_line(command, tmp_path, capsys):
    words = [command, "name=x", f"folder={tmp_path}", "device=cuda", "task=small"]
    assert command_line.main(words) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.endswith("device=cuda, but PyTorch sees no GPU here; choose device=cpu")
    assert not list(tmp_path.iterdir())


def test_an_existing_run_is_refused_before_anything_is_built(tmp_path, capsys):
    (tmp_path / "first").mkdir()
    assert command_line.main(["train", "name=first", f"folder={tmp_path}"]) == 2
    err = capsys.readouterr().err
    assert "first exists; continue it with resume=true" in err
    assert err.count("\n") == 1


def test_a_run_without_a_name_is_called_by_its_task_and_time(tmp_path, monkeypatch):
    def keep(config):
        played.append(config)
        return tmp_path

    played = []
    monkeypatch.setattr(results, "evaluate", keep)
    monkeypatch.setattr(results, "table", lambda folder: "")
    assert command_line.main(["evaluate", "market=all", "task=small"]) == 0
    assert re.fullmatch(r"small-v1-\d{8}-\d{6}", played[0].name)


def test_a_sweep_of_evaluations_has_a_report_for_each_and_a_table(tmp_path, capsys, monkeypatch):
    def play(config, quiet):
        if config.seed == 2:
            raise OptimumError("no optimum of day 3")
        folder = Path(config.folder) / config.name
        folder.mkdir(parents=True)
        row = {"bidder": "zip", "market": config.market[0], "ledger": "ideal"}
        row["kpis"] = {"community_cost": {"mean": float(config.seed)}}
        (folder / "summary.json").write_text(json.dumps({"rows": [row]}))
        return folder

    from gridbazaar.evaluation import sweep

    monkeypatch.setattr(sweep, "evaluate", play)
    words = ["-m", "name=s", f"folder={tmp_path}", "seed=0,1,2", "market=vcg,mcafee", "bidder=zip"]
    assert command_line.main(["evaluate", *words]) == 1
    out, err = capsys.readouterr()
    assert not err
    assert "seed_2-market_vcg failed: no optimum of day 3" in out
    assert f"{tmp_path}/s/seed_0-market_mcafee/report.html" in out
    lines = (tmp_path / "s" / "sweep.csv").read_text().splitlines()
    assert lines[0] == "point,bidder,market,ledger,community_cost_per_day"
    assert len(lines) == 5
    assert "seed_1-market_mcafee,zip,mcafee,ideal,1.0" in lines


def test_a_sweep_of_evaluations_goes_on_after_an_interrupt(tmp_path, capsys, monkeypatch):
    """What is finished is kept, what is begun goes on, and the rest begins."""
    played = []

    def run(config, make, progress, outcomes):
        name = config.name
        played.append(name)
        if len(played) == 2:
            outcomes.put("half", Outcome(Combination("half", "vcg", "ideal"), {}))
            raise KeyboardInterrupt
        assert (outcomes.count == 1) == (name == "seed_1")

    def write(folder, config, tournament, curves, chosen):
        row = {"bidder": "zip", "market": "vcg", "ledger": "ideal"}
        row["kpis"] = {"community_cost": {"mean": float(config.seed)}}
        summary = {"config": config.model_dump(mode="json", exclude={"resume"}), "rows": [row]}
        (folder / "summary.json").write_text(json.dumps(summary))

    monkeypatch.setattr(results, "run", run)
    monkeypatch.setattr(results, "write", write)
    words = ["-m", "name=s", f"folder={tmp_path}", "task=small", "seed=0,1,2", "bidder=zip"]
    assert command_line.main(["evaluate", *words]) == 130
    err = capsys.readouterr().err
    assert "1 outcomes are kept" in err
    assert "1 of 3 are done: resume=true plays the rest" in err
    assert command_line.main(["evaluate", *words, "resume=true"]) == 0
    assert played == ["seed_0", "seed_1", "seed_1", "seed_2"]
    assert len((tmp_path / "s" / "sweep.csv").read_text().splitlines()) == 4
    assert command_line.main(["evaluate", *words, "resume=true", "days=3"]) == 1
    assert capsys.readouterr().out.count("exists; choose another name") == 3
    (tmp_path / "s" / "seed_0" / "summary.json").write_text("{")
    assert command_line.main(["evaluate", *words, "resume=true"]) == 1
    assert capsys.readouterr().out.count("exists; choose another name") == 1


def test_an_interrupted_training_says_what_goes_on_with_it(tmp_path, capsys, monkeypatch):
    """The folder and what brings plug-ins are among the words; with them the run is found."""
    (tmp_path / "my yaml").mkdir()
    monkeypatch.setattr(search_path, "_added", [])
    brought = ["--config-dir", str(tmp_path / "my yaml"), f"folder={tmp_path}"]
    stopped = trainer.Outcome(tmp_path / "x", Progress(1, 10, 1.0, None, {}), finished=False)
    monkeypatch.setattr(trainer, "train", lambda config: stopped)
    monkeypatch.setattr(command_line, "_draw", lambda folder: None)
    assert command_line.main(["train", "name=x", "seed=3", *brought]) == 130
    line = capsys.readouterr().out.splitlines()[-1]
    command, *words = shlex.split(line.removeprefix("continue with: "))
    assert command == "gridbazaar"
    assert words == [
        *("train", "name=x", "resume=true"),
        *(f"--config-dir={tmp_path / 'my yaml'}", f"folder={tmp_path}"),
    ]


def test_scripts_name_themselves_in_errors(capsys):
    assert evaluate_script.main(["name=x", "market=none"]) == 2
    assert capsys.readouterr().err.startswith("evaluate.py: unknown market")


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (
            OptimumError("no optimum of day 3: HiGHS reports kInfeasible"),
            1,
            "gridbazaar evaluate: no optimum of day 3",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "gridbazaar evaluate: [Errno 28] No space left on device; free some space there, or",
        ),
        (
            OSError(30, "Read-only file system", "results"),
            1,
            "gridbazaar evaluate: [Errno 30] Read-only file system: 'results'; make the place writ",
        ),
        (MemoryError(), 1, "gridbazaar evaluate: out of memory; take fewer markets"),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            ),
            1,
            "gridbazaar evaluate: out of memory; take fewer markets or days at a time, or a "
            "smaller task\n",
        ),
        (BusyError("results/x is being written"), 1, "gridbazaar evaluate: results/x is being w"),
        (RunError("two\nlines"), 2, "gridbazaar evaluate: two lines"),
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
    ],
)
def test_a_failed_world_is_1_and_an_interrupt_130(raised, code, line, capsys, monkeypatch):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(results, "evaluate", fail)
    assert command_line.main(["evaluate", "name=x"]) == code
    err = capsys.readouterr().err
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (OSError(), 1), (RunError(), 2), (KeyError(), 1)],
)
def test_notes_of_what_is_kept_stand_in_the_same_line(error, code, capsys, monkeypatch):
    def fail(*_, **__):
        error.add_note("3 outcomes are kept: resume=true goes on with them")
        raise error

    monkeypatch.setattr(results, "evaluate", fail)
    assert command_line.main(["evaluate", "name=x"]) == code
    err = capsys.readouterr().err
    assert "; 3 outcomes are kept: resume=true goes on with them" in err
    assert err.count("\n") == 1


def test_what_is_no_error_of_ours_says_where_to_report_it(tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("boom\nand more")

    monkeypatch.setattr(results, "evaluate", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert command_line.main(["evaluate", "name=x"]) == 1
    err = capsys.readouterr().err
    (report,) = tmp_path.iterdir()
    assert err.startswith("gridbazaar evaluate: RuntimeError: boom and more; this is a fault of")
    assert err.count("\n") == 1
    assert str(report) in err
    assert "CONTRIBUTING.md" in err
    assert "Reporting a fault" in (ROOT / "CONTRIBUTING.md").read_text()
    text = report.read_text()
    assert "Traceback" in text
    assert "gridbazaar " in text
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert command_line.main(["evaluate", "name=x"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "with the traceback above" in err.splitlines()[-1]


def test_an_infeasible_optimum_is_one_line(tmp_path, capsys, monkeypatch):
    """Stored energy that must be above what fits in: HiGHS finds no feasible point."""
    bounds = Optimum.bounds

    def impossible(self, day):
        high = bounds(self, day)[1]
        return high + 1, high

    monkeypatch.setattr(Optimum, "bounds", impossible)
    words = ["name=x", f"folder={tmp_path}", "bidder=truthful", "market=grid_only", "days=1"]
    assert command_line.main(["evaluate", *words]) == 1
    out, err = capsys.readouterr()
    assert not out
    last = err.splitlines()[-1]
    assert last.startswith("gridbazaar evaluate: no optimum: HiGHS reports 'Infeasible'")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_ends_silently():
    command = [sys.executable, str(ROOT / "evaluate.py"), "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_listing_needs_no_ray(tmp_path):
    script = (
        "import sys; from gridbazaar.command_line import main; main(['list', 'markets']);"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path).returncode == 0


def test_no_module_is_loaded_under_two_names():
    """In the checkout's root, where `import envs` would find the folder of `gridbazaar.envs`."""
    script = (
        "import sys, collections, pathlib, train, evaluate\n"
        "import gridbazaar.agents.learning.trainer, gridbazaar.evaluation.results\n"
        "import gridbazaar.studies.communities.run, gridbazaar.catalogue\n"
        "names = collections.defaultdict(list)\n"
        "for name, module in list(sys.modules.items()):\n"
        "    file = getattr(module, '__file__', None)\n"
        "    if file and file.startswith(str(pathlib.Path.cwd())):\n"
        "        names[file].append(name)\n"
        "inside = {f: n for f, n in names.items() if 'site-packages' not in f}\n"
        "assert len(inside) > 100, inside\n"
        "twice = {f: n for f, n in inside.items() if len(n) > 1}\n"
        "assert not twice, twice\n"
        "strangers = [n for ns in inside.values() for n in ns if not n.startswith('gridbazaar')]\n"
        "assert sorted(strangers) == ['evaluate', 'train'], strangers\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_new_file_of_any_folder_is_importable_at_once():
    """Packages are looked up as folders of the checkout, not file by file."""
    import importlib

    for folder in ("agents", "configs", "envs", "evaluation", "ledger_sim", "studies"):
        package = importlib.import_module(f"gridbazaar.{folder}")
        assert [Path(path) for path in package.__path__] == [ROOT / folder]
