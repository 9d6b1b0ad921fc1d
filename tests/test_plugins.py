"""What a package that is none of ours adds: by its entry point, or by an import and a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gridbazaar import configs
from gridbazaar.configs import search_path
from gridbazaar.errors import ConfigError, PluginError

TOY, ROOT = Path(__file__).parent / "toy", Path(__file__).parents[1]
EVALUATION = (
    "task=toy", "market=toy_market", "bidder=toy_bidder", "ledger=toy_ledger",
    "ledger.layers=[toy_layer]", "days=1", "resamples=100",
)  # fmt: skip


@pytest.fixture
def installed(tmp_path):
    """Return an environment in which the toy package is installed, as far as Python can tell."""
    info = tmp_path / "site" / "toy_bazaar-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-bazaar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gridbazaar.plugins]\ntoy = toy_bazaar\n")
    return _environment(tmp_path / "site", TOY)


def _environment(*paths: Path) -> dict[str, str]:
    here = {key: value for key, value in os.environ.items() if key != "GRIDBAZAAR_PLUGINS"}
    return here | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}


def run(words, environment, folder=ROOT):
    command = [sys.executable, "-W", "error", *map(str, words)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


def test_an_installed_package_plays_its_own_market_bidder_ledger_task_and_figure(
    installed, tmp_path
):
    words = [f"folder={tmp_path}", "name=toy", *EVALUATION]
    done = run([ROOT / "evaluate.py", *words], installed, tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "toy" / "summary.json").read_text())["rows"]
    found = {(row["market"], row["ledger"], row["bidder"]): row["kpis"] for row in rows}
    assert "toy_figure" in found["toy_market", "toy_ledger + toy_layer", "toy_bidder"]


def test_the_laws_of_markets_are_run_on_it(installed):
    laws = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_markets.py", "-k", "toy_m"]
    done = run(laws, installed)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(".") > 10


def test_a_script_brings_its_own_by_an_import_and_a_folder():
    given = ["--import", "toy_bazaar", f"--config-dir={TOY / 'toy_bazaar' / 'yaml'}"]
    listed = run(["evaluate.py", *given, "--list"], _environment(TOY))
    assert listed.returncode == 0, listed.stderr
    for name in ("toy-v0", "toy_market", "toy_bidder", "toy_ledger", "toy_layer"):
        assert f"  {name} " in listed.stdout
    assert "toy" not in run(["evaluate.py", "--list"], _environment(TOY)).stdout


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
    for words in (["evaluate.py", "--list"], ["train.py", "name=x"]):
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
