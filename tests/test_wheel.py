"""The wheel in an environment of its own, used from a folder whose names are those of our parts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("agents", "configs", "envs", "evaluation", "ledger_sim", "studies")
SOURCES = ("gridbazaar", *FOLDERS, "pyproject.toml", "setup.py", "README.md", "LICENSE")


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that setuptools builds of a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    script = (
        "from setuptools.build_meta import build_wheel as build;"
        "import warnings; warnings.simplefilter('ignore'); print(build('out'))"
    )
    (copy / "out").mkdir()
    built = run([sys.executable, "-c", script], copy)
    assert built.returncode == 0, built.stderr[-3000:]
    return copy / "out" / built.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` of a fresh environment with the wheel; what it needs is this one's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    words = ["--disable-pip-version-check", "--python", str(python), "install", "--quiet"]
    command = [sys.executable, "-m", "pip", *words, "--no-deps", "--no-index", str(wheel)]
    done = run(command, folder)
    assert done.returncode == 0, done.stderr
    # Paths of a .pth file are no site folders: the checkout's own .pth and finder stay outside.
    (site,) = folder.glob("lib/python*/site-packages")
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "shared.pth").write_text("\n".join(packages))
    return folder / "bin"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder of a user's own packages `envs`, `agents`, ..., each of which refuses to be used."""
    folder = tmp_path_factory.mktemp("foreign")
    for name in (*FOLDERS, "tests"):
        (folder / name).mkdir()
        words = f"raise RuntimeError('imported a stranger: {name}')\n"
        (folder / name / "__init__.py").write_text(words)
    return folder


def test_every_tracked_file_is_in_the_wheel(wheel, tmp_path):
    tracked = run(["git", "ls-files", "gridbazaar", *FOLDERS], ROOT)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    shutil.unpack_archive(wheel, tmp_path, "zip")
    files = [name for name in tracked.stdout.splitlines() if (ROOT / name).exists()]
    inside = [f"gridbazaar/{name.removeprefix('gridbazaar/')}" for name in files]
    assert len(inside) > 200
    assert not [name for name in inside if not (tmp_path / name).is_file()]
    outside = {path.name for path in tmp_path.iterdir()} - {"gridbazaar"}
    assert all(name.endswith(".dist-info") for name in outside)


def test_an_environment_plays_among_strangers(installed, foreign):
    script = (
        "import gridbazaar as gb; from pathlib import Path\n"
        "env = gb.parallel_env(); observations, _ = env.reset(seed=1)\n"
        "env.step({agent: env.action_space(agent).sample() for agent in env.agents})\n"
        "import gridbazaar.agents, gridbazaar.evaluation, gridbazaar.configs\n"
        "print(Path(gb.__file__).parent, gridbazaar.envs.__file__, len(observations))\n"
    )
    done = run([str(installed / "python"), "-W", "error", "-c", script], foreign)
    assert done.returncode == 0, done.stderr
    home, envs, agents = done.stdout.split()
    assert Path(home).is_relative_to(installed.parent)
    assert Path(envs).is_relative_to(home)
    assert int(agents) > 10


@pytest.mark.long
def test_the_command_lists_and_evaluates_among_strangers(installed, foreign, tmp_path):
    gridbazaar = str(installed / "gridbazaar")
    listed = run([gridbazaar, "list", "markets"], foreign, PYTHONPATH=str(foreign))
    assert listed.returncode == 0, listed.stderr
    assert "uniform_auction" in listed.stdout
    words = ["name=one", f"folder={tmp_path}", "bidder=truthful", "days=1", "resamples=100"]
    played = run([gridbazaar, "evaluate", *words], foreign, PYTHONPATH=str(foreign))
    assert played.returncode == 0, played.stderr
    assert "optimum" in played.stdout
    assert (tmp_path / "one" / "report.html").is_file()


def test_the_command_explains_training_among_strangers(installed, foreign, tmp_path):
    words = ["train", "name=one", f"folder={tmp_path}", "algorithm.lrr=1"]
    done = run([str(installed / "gridbazaar"), *words], foreign, PYTHONPATH=str(foreign))
    assert done.returncode == 2
    assert done.stderr.startswith("gridbazaar train: ")
    assert "did you mean 'algorithm.lr'" in done.stderr
    assert not done.stdout
