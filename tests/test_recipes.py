"""Recipes: every file of examples/ runs, every notebook executes, and the page names them all."""

from __future__ import annotations

import ast
import importlib.util
import math
import re
import symtable
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.py"))
# File -> libraries that it needs beyond gridbazaar's own, and what is little to do.
RECIPES = {
    "pettingzoo_make": ((), ()),
    "gymnasium_vector": ((), (1, 1)),
    "cleanrl_ppo": ((), None),
    "rllib_ppo": ((), (1, 1)),
    "sb3_ppo": (("stable_baselines3",), (192, 1, 1)),
    "supersuit_sb3": (("stable_baselines3", "supersuit"), (1, 2)),
    "torchrl_ppo": (("torchrl",), (1, 1, 1)),
    "benchmarl_mappo": (("torchrl", "benchmarl"), (1, 1)),
    "jax_dlpack": (("jax",), (2, 2)),
}


def needs(*libraries):
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is an extra that is not installed, see docs/recipes.md")


def example(name):
    """Import a file of examples/ under a name that hides nothing."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def finite(found):
    if isinstance(found, dict):
        return finite(list(found.values()))
    return all(map(math.isfinite, found)) if isinstance(found, list) else math.isfinite(found)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs(name, tmp_path, monkeypatch, capsys):
    libraries, little = RECIPES[name]
    needs(*libraries)
    monkeypatch.chdir(tmp_path)
    module = example(name)
    if name == "cleanrl_ppo":
        found = module.main(module.Args(steps=192, markets=1, days=1))
    elif name == "benchmarl_mappo":
        found = module.main(*little, folder=str(tmp_path / "runs"))
    else:
        found = module.main(*little)
    assert finite(found)
    assert "EUR" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_executes(path, tmp_path):
    needs("jupytext", "nbclient", "ipykernel")
    if path.stem in ("train_sb3", "train_torchrl"):
        needs({"train_sb3": "stable_baselines3", "train_torchrl": "torchrl"}[path.stem])
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()  # raises at the first cell that does
    shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert shown


def offered(module):
    """Return the names that a module binds, and does not run it: its library may be an extra."""
    source = Path(importlib.util.find_spec(module).origin).read_text()
    table = symtable.symtable(source, module, "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}


@pytest.mark.parametrize(
    "path", sorted([*EXAMPLES.glob("*.py"), *NOTEBOOKS]), ids=lambda path: path.stem
)
def test_what_is_imported_of_ours_is_there(path):
    """Known in every run of the suite, though files run whole only among the long tests."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gridbazaar"):
            for name in {alias.name for alias in node.names} - offered(node.module):
                assert importlib.util.find_spec(f"{node.module}.{name}"), f"{node.module}: {name}"


def test_every_recipe_is_tested_and_named_on_its_page():
    page = (ROOT / "docs" / "recipes.md").read_text()
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    assert files == set(RECIPES)
    assert set(re.findall(r"`examples/(\w+)\.py`", page)) == files
    named = set(re.findall(r"`examples/notebooks/(\w+)\.py`", page))
    assert named == {path.stem for path in NOTEBOOKS}


def test_notebooks_are_percent_scripts_that_begin_with_a_title():
    for path in NOTEBOOKS:
        text = path.read_text()
        assert "format_name: percent" in text, path.name
        first = text.split("# %%", 2)[1]
        assert first.startswith(" [markdown]\n# # "), path.name


def test_extras_are_those_that_recipes_ask_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    asked = set()
    for path in (*EXAMPLES.glob("*.py"), *NOTEBOOKS, *(ROOT / "agents").rglob("*.py")):
        for words in re.findall(r"gridbazaar\[([\w,]+)\]", path.read_text()):
            asked |= set(words.split(","))
        for extra in re.findall(r'MissingExtraError\("\w+", "(\w+)"\)', path.read_text()):
            asked.add(extra)
    assert asked <= set(extras)
    together = set(extras["examples"])
    for extra in asked:
        assert set(extras[extra]) <= together, extra
