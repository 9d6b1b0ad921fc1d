"""The project's own promises: documents that run, configurations that validate, one version."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from conftest import game_of

from gridbazaar import envs, ledger_sim
from gridbazaar.agents.bidders import make
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning import algorithms
from gridbazaar.config import validate
from gridbazaar.configs import FOLDER, compose, groups, option, options
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.data.tariffs import parse_tariff
from gridbazaar.envs.devices import DEVICES
from gridbazaar.envs.markets import MARKETS
from gridbazaar.envs.observation import ROLES
from gridbazaar.evaluation.config import EvaluationConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page.relative_to(ROOT).as_posix() for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
)
BLOCK = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w./-]+/[\w.-]+\.(?:py|yaml))( \(added\))?\n")
PACKAGES = ("agents", "configs", "envs", "evaluation", "gridbazaar", "ledger_sim", "studies")


def blocks(page: str) -> tuple[list[tuple[str, bool, str]], str]:
    """Return a page's files (path, whether added at a file's end, text), and the code it runs."""
    files, code = [], []
    for language, text in BLOCK.findall((ROOT / page).read_text()):
        if head := FILE.match(text):
            files.append((head[1], bool(head[2]), text[head.end() :]))
        elif language == "python":
            code.append(text)
    return files, "\n".join(code)


WORKED = [page for page in PAGES if blocks(page)[0]]
PLAIN = [page for page in PAGES if blocks(page)[1] and page not in WORKED]


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "tools" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(command: list[str], folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("page", PLAIN)
def test_code_of_a_page_runs(page):
    exec(compile(blocks(page)[1], page, "exec"), {})


@pytest.mark.long
def test_worked_examples_run_in_a_copy(tmp_path):
    """Every page's files are put where it says, and its code runs with warnings as errors."""
    assert len(WORKED) >= 4
    ignored = shutil.ignore_patterns("__pycache__")
    home = tmp_path / "gridbazaar"
    for package in sorted(PACKAGES, key="gridbazaar".__ne__):
        target = home if package == "gridbazaar" else home / package
        shutil.copytree(ROOT / package, target, ignore=ignored)
    script = []
    for page in WORKED:
        files, code = blocks(page)
        for path, added, text in files:
            # What belongs to no folder of ours is a package beside it.
            target = (home if path.partition("/")[0] in PACKAGES else tmp_path) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            assert target.exists() == added, f"{page}: {path}"
            before = target.read_text() if added else ""
            target.write_text(before + text)
        script.append(f"exec(compile({code!r}, {page!r}, 'exec'), {{}})")
    (tmp_path / "examples.py").write_text("\n".join(script))
    done = run([sys.executable, "-W", "error", "examples.py"], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", WORKED)
def test_worked_examples_pass_the_linter(page):
    for path, added, text in blocks(page)[0]:
        if path.endswith(".py") and not added:
            for command in (["check"], ["format", "--diff"]):
                words = [*command, "--no-cache", "--stdin-filename", path, "-"]
                done = run([sys.executable, "-m", "ruff", *words], ROOT, text)
                assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_those_of_the_code(page):
    text = (ROOT / page).read_text()
    assert tables().current(text) == text, "write them with: make tables"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Pictures aside: they come from a demo's report. `make docs` checks what the site makes."""
    text = (ROOT / page).read_text()
    made = {f"environments/{name}.md" for name in ("index", *options("task"))}
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#:]+)\)", text):
        if target not in made and not target.startswith("reference/"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_readme_names_both_commands_and_the_licence_of_the_data():
    text = (ROOT / "README.md").read_text()
    for words in ("make demo", "make test", "Open Database License (ODbL)", "SimBench"):
        assert words in text


def test_environment_page_counts_the_seats():
    text = (ROOT / "docs" / "environment.md").read_text()
    community = envs.batched(num_envs=1).community
    prosumers, storage, ev, consumers = (len(community.seats_of(role)) for role in ROLES)
    assert f"{len(community.seats)}: {prosumers} prosumers, {storage} community" in text
    assert f"{ev}\ncharging points, {consumers} consumers" in text


def test_the_page_for_learners_counts_the_markets():
    assert (
        f"There are {len(MARKETS.names())} mechanisms" in (ROOT / "docs" / "learn.md").read_text()
    )


@pytest.mark.parametrize("name", options("task"))
def test_every_task_validates(name):
    assert envs.world(task=name).task.name == name


@pytest.mark.parametrize("name", options("market"))
def test_every_market_option_builds(name):
    values = option("market", name)
    kind = MARKETS[values["name"]]
    kind(validate(kind.Config, values))


@pytest.mark.parametrize("name", options("ledger"))
def test_every_ledger_option_builds(name):
    ledger_sim.make(option("ledger", name))


@pytest.mark.parametrize("name", options("devices"))
def test_every_device_option_is_a_kind_and_validates(name):
    validate(DEVICES[name].Config, option("devices", name))


@pytest.mark.parametrize("name", options("bidder"))
def test_every_bidder_option_builds(name):
    make(name, game_of(envs.world().task.rules))


@pytest.mark.parametrize("name", options("tariff"))
def test_every_tariff_parses_and_names_its_source(name):
    values = option("tariff", name)
    assert values["source"]
    parse_tariff(values)


@pytest.mark.parametrize("name", options("algorithm"))
def test_every_algorithm_validates(name):
    config = validate(TrainConfig, compose("train", ["name=x", f"algorithm={name}"]))
    algorithms.make(config.algorithm)


def test_every_entry_validates():
    validate(WorldConfig, compose("world"))
    validate(TrainConfig, compose("train", ["name=x"]))
    validate(EvaluationConfig, compose("evaluate", ["name=x"]))


def test_every_group_is_validated_by_some_test():
    tested = {"task", "devices", "market", "ledger", "layer", "bidder", "tariff", "algorithm"}
    tested |= {"suite", "generalisation", "preset", "incentive"}
    assert {group for group in groups() if group.isidentifier()} <= tested, "add a test for it"


def test_the_version_is_the_same_everywhere():
    version = project()["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert citation["version"] == newest[1] == version


def test_layers_are_a_contract_over_all_packages():
    contract = project()["tool"]["importlinter"]["contracts"][0]
    named = {name.strip() for layer in contract["layers"] for name in re.split("[|:]", layer)}
    ground = {path.stem for path in (ROOT / "gridbazaar").glob("[!_]*.py")}
    assert named == (set(PACKAGES) | ground) - {"gridbazaar"}
    assert contract["exhaustive"]


def test_constraints_pin_every_declared_requirement():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))
    declared = project()["project"]
    extras = declared["optional-dependencies"].values()
    wanted = [*declared["dependencies"], *(name for extra in extras for name in extra)]
    names = {re.split(r"[\[<>=!~ ]", requirement)[0].lower() for requirement in wanted}
    assert names <= {name.replace("_", "-") for name in pins} | set(pins)
    assert "+" not in pins["torch"]


def test_configurations_lie_beside_the_code():
    assert FOLDER == ROOT / "configs"
