"""What a package that is none of ours adds: by its entry point, or by an import and a folder."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gridbazaar import configs, plugins
from gridbazaar.configs import search_path
from gridbazaar.errors import ConfigError, PluginError
from gridbazaar.evaluation.config import label

TOY, ROOT = Path(__file__).parent / "toy", Path(__file__).parents[1]
BY_SCRIPT = ("--import", "toy_bazaar", "--config-dir", str(TOY / "toy_bazaar" / "yaml"))
WORLD = ("task=toy", "market=toy_market", "ledger=toy_ledger")
TRAINING = (
    *WORLD, "algorithm=toy_reinforce", "num_envs=1", "total_agent_steps=4400", "num_env_runners=1",
    "ray.num_cpus=2",
)  # fmt: skip
EVALUATION = (
    *WORLD, "ledger.layers=[toy_layer]", "incentives=[toy_coin]", "days=1", "resamples=100",
    "signed_days=1",
)  # fmt: skip
NAMES = (
    "toy-v0", "toy_market", "toy_ledger", "toy_layer", "toy_coin", "toy_tank", "toy_bidder",
    "toy_reinforce",
)  # fmt: skip
FAMILIES = ("markets", "market_gradients", "devices", "incentives")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return an environment in which the toy package is installed, as far as Python can tell."""
    site = tmp_path_factory.mktemp("site")
    info = site / "toy_bazaar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-bazaar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gridbazaar.plugins]\ntoy = toy_bazaar\n")
    return _environment(site, TOY)


def _environment(*paths: Path | str) -> dict[str, str]:
    here = {key: value for key, value in os.environ.items() if key != "GRIDBAZAAR_PLUGINS"}
    return here | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}


def run(words, environment, folder=ROOT, warnings="error"):
    command = [sys.executable, "-W", warnings, *map(str, words)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two iterations, sampled by an RLlib actor, in which all is the toy's own."""
    folder = tmp_path_factory.mktemp("runs")
    words = [ROOT / "train.py", *BY_SCRIPT, f"folder={folder}", "name=learned", *TRAINING]
    # From the package's folder, as docs/plugins.md shows it; Ray warns of its own next versions.
    done = run(words, _environment("."), TOY, "ignore")
    assert done.returncode == 0, done.stderr
    assert "2 iterations" in done.stdout
    return folder / "learned"


@pytest.mark.parametrize("by", ["script", "entry_point"])
@pytest.mark.long
def test_a_package_plays_its_own_world_and_its_own_bidders_to_its_own_figure(
    by, trained, installed, tmp_path
):
    given, where = (BY_SCRIPT, _environment(TOY)) if by == "script" else ((), installed)
    words = [*given, f"folder={tmp_path}", "name=toy", f"bidder=[toy_bidder,{trained}]"]
    done = run([ROOT / "evaluate.py", *words, *EVALUATION], where, tmp_path, "ignore")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "toy" / "summary.json").read_text())["rows"]
    found = {(row["market"], row["ledger"], row["bidder"]): row["kpis"] for row in rows}
    for bidder in ("toy_bidder", label(str(trained))):
        assert "toy_figure" in found["toy_market", "toy_ledger + toy_layer", bidder]


@pytest.mark.long
def test_the_laws_of_every_family_are_run_on_it(installed):
    """Each family's tests ask its registry; where the toy is installed, it is among the names."""
    files = [f"tests/test_{family}.py" for family in FAMILIES]
    chosen = ["-k", "toy_market or toy_tank or toy_coin"]
    laws = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *files, *chosen]
    done = run(laws, installed)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(".") > 25


@pytest.mark.long
def test_a_script_brings_its_own_by_an_import_and_a_folder():
    listed = run(["evaluate.py", *BY_SCRIPT, "--list"], _environment(TOY))
    assert listed.returncode == 0, listed.stderr
    for name in NAMES:
        assert f"  {name} " in listed.stdout
    assert "toy" not in run(["evaluate.py", "--list"], _environment(TOY)).stdout


def test_who_registers_something_is_named_to_other_processes(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text(
        "from gridbazaar.registry import Registry\n"
        "Registry('kind', 'elsewhere').register('one')(type('One', (), {}))\n"
    )
    (tmp_path / "elsewhere.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("shop")
    assert plugins.modules().count("shop") == 1
    assert not any(name.startswith("gridbazaar") for name in plugins.modules())
    plugins.follow(plugins.modules())
    with pytest.raises(PluginError, match=r"plug-in 'nowhere_at_all' .* works for"):
        plugins.follow(["nowhere_at_all"])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nowhere", "plug-in 'broken' (named by GRIDBAZAAR_PLUGINS or --import) cannot be"),
        (
            "from gridbazaar.envs.markets import MARKETS\n@MARKETS.register('vcg')\nclass A: pass",
            "market 'vcg' is registered twice",
        ),
        ("CONFIGS = 'nowhere'", "plug-in 'broken': there is no folder CONFIGS"),
    ],
)
def test_a_broken_plug_in_is_one_line_that_names_it(tmp_path, source, says):
    (tmp_path / "broken.py").write_text(source)
    words = ["evaluate.py", "--list"] if "nowhere" in source else ["train.py", "name=x"]
    done = run([words[0], "--import", "broken", *words[1:]], _environment(tmp_path))
    assert done.returncode == 2
    assert says in done.stderr
    assert "'broken'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder to be added, which is forgotten afterwards."""
    monkeypatch.setattr(search_path, "_added", [])
    return tmp_path


def test_a_folder_adds_options_that_build_on_ours(folder):
    (folder / "market").mkdir()
    (folder / "market" / "dear.yaml").write_text(
        "defaults:\n  - uniform_auction\n  - _self_\nk: 0.9\n"
    )
    assert "dear" not in configs.options("market")
    configs.add_folder(folder)
    configs.add_folder(folder)  # once more is no harm
    assert "dear" in configs.options("market")
    assert configs.option("market", "dear") == {"name": "uniform_auction", "k": 0.9}
    assert configs.path_of("market", "dear") == folder / "market" / "dear.yaml"


def test_a_folder_that_cannot_be_added_is_refused(folder):
    with pytest.raises(ConfigError, match="there is no folder"):
        configs.add_folder(folder / "nowhere")
    (folder / "market").mkdir()
    (folder / "market" / "vcg.yaml").write_text("name: vcg\n")
    with pytest.raises(ConfigError, match=r"market 'vcg' stands in .* already"):
        configs.add_folder(folder)
    assert folder not in configs.folders()


@pytest.mark.parametrize("word", ["--config-dir", "--import", "--config-dir="])
def test_a_word_without_its_value_is_refused(word):
    with pytest.raises(ConfigError, match=f"{word.rstrip('=')} needs a value"):
        configs.take_words(["name=x", word])


def test_other_words_are_left_alone(folder):
    words = configs.take_words(["a=b=c", "--config-dir", str(folder), "--list", "d"])
    assert words == ["a=b=c", "--list", "d"]
    assert folder in configs.folders()
    with pytest.raises(PluginError, match="plug-in 'no_such_module'"):
        configs.take_words(["--import", "no_such_module"])
    assert "no_such_module" not in os.environ.get("GRIDBAZAAR_PLUGINS", "")  # nor for those after
