"""Files around the code: containers, workflows, forms, metadata, the package as PyPI wants it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def runs(page: str) -> set[str]:
    """Return the targets of make that a text calls."""
    found = re.findall(r"\bmake ((?:[a-z./-]+ ?)+)", page)
    return {target for words in found for target in words.split()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_the_makefile_has_and_may_only_read(path):
    found = yaml.safe_load(path.read_text())
    assert found["permissions"] == {"contents": "read"}
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    called = {target for step in steps for target in runs(step.get("run", ""))}
    # The site's target comes with the site.
    assert called - {"docs"} <= TARGETS
    assert called
    assert all(re.search(r"@v\d", step["uses"]) for step in steps if "uses" in step)


def test_workflows_test_on_the_pythons_that_the_package_names():
    named = {
        line.rpartition(" ")[2]
        for line in PROJECT["classifiers"]
        if re.search(r"Python :: 3\.\d+$", line)
    }
    checks = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text())
    assert set(checks["jobs"]["test"]["strategy"]["matrix"]["python-version"]) == named


@pytest.mark.parametrize("path", [p for p in FORMS if p.stem != "config"], ids=lambda p: p.stem)
def test_an_issue_form_has_what_forges_ask_for(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in ("textarea", "input", "dropdown", "checkboxes")
        assert field["attributes"]["label"]


def test_containers_install_by_the_makefile_on_a_python_that_is_allowed():
    text = (ROOT / "Dockerfile").read_text()
    dev = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert runs(text) <= TARGETS
    assert runs(dev["postCreateCommand"]) == {".venv/.dev"}
    least = PROJECT["requires-python"].removeprefix(">=")
    for image in (text, dev["image"]):
        assert re.search(r"python:([\d.]+)", image)[1] == least
    instructions = re.findall(r"^[A-Z]+(?= )", text, re.MULTILINE)
    assert instructions[0] == "FROM"
    assert set(instructions) <= {"FROM", "RUN", "WORKDIR", "ARG", "COPY", "ENV", "CMD"}


def test_what_archives_are_told_is_what_the_package_says():
    told = json.loads((ROOT / ".zenodo.json").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert told["version"] == PROJECT["version"] == citation["version"]
    assert told["license"] == PROJECT["license"] == citation["license"]
    assert [c["name"] for c in told["creators"]] == [a["name"] for a in PROJECT["authors"]]
    assert set(told["keywords"]) <= set(PROJECT["keywords"]) | {"blockchain"}
    doi = next(r["doi"] for r in citation["references"])
    assert doi in [r["identifier"] for r in told["related_identifiers"]]


@pytest.mark.parametrize("task", range(9))
def test_a_slurm_array_trains_each_market_with_each_seed_and_goes_on(task, tmp_path):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    variables = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "4", "PATH": "/bin"}

    def words() -> list[str]:
        command = ["/bin/bash", str(ROOT / "examples" / "slurm_array.sh"), "num_envs=8"]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    market, seed = ("uniform_auction", "pay_as_bid", "vcg")[task // 3], task % 3
    first = words()
    assert {f"market={market}", f"seed={seed}", "num_envs=8", "ray.num_cpus=4"} <= set(first)
    assert {f"name=seed_{seed}", f"folder=runs/{'sweep'}/{market}"} <= set(first)
    (tmp_path / "runs" / "sweep" / market / f"seed_{seed}").mkdir(parents=True)
    again = words()
    assert "resume=true" in again
    assert not [word for word in again if word.startswith(("market=", "seed=", "num_envs="))]


def test_pypi_takes_the_readme_and_the_metadata(tmp_path):
    pytest.importorskip("twine", reason="needs the extra dev")
    script = (
        "from setuptools.build_meta import build_sdist as build;"
        f"import warnings; warnings.simplefilter('ignore'); build({str(tmp_path)!r})"
    )
    built = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    (archive,) = tmp_path.glob("*.tar.gz")
    command = [sys.executable, "-m", "twine", "check", "--strict", str(archive)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
