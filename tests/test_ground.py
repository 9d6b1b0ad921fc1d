"""The ground floor: configurations and the wording of their mistakes, registries, plain seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.version import getbase
from pydantic import Field

from gridbazaar import configs, envs
from gridbazaar.config import Config, Positive, Share, validate
from gridbazaar.configs import search_path
from gridbazaar.envs.kpis import KPIS
from gridbazaar.envs.kpis.registry import kpi
from gridbazaar.errors import ArgumentError, ConfigError, UnknownNameError
from gridbazaar.registry import Registry


class Wire(Config):
    length_km: float = Field(gt=0, json_schema_extra={"unit": "km"})
    limit: float = Field(allow_inf_nan=True)


class Plan(Config):
    share: Share
    wires: list[Wire]
    spare: Wire | None = None


GOOD = {"share": 0.5, "wires": [{"length_km": 1.0, "limit": float("inf")}]}
SOURCED = {"value": 2.0, "unit": "km", "source": "a map", "status": "published"}


def wires(**changes):
    return {"wires": [GOOD["wires"][0] | changes]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"share": 1.5}, "plan.share is 1.5: Input should be less than or equal to 1"),
        ({"share": float("nan")}, "plan.share is nan: Input should be a finite number"),
        ({"shares": 1}, "unknown key 'plan.shares': did you mean 'share'? known are share, wires,"),
        (wires(limits=1), "unknown key 'plan.wires[0].limits': did you mean 'limit'?"),
        (wires(length_km=float("inf")), "plan.wires[0].length_km is inf: Input should be a finite"),
        ({"wires": [{"limit": 1.0}]}, "plan.wires[0].length_km is missing; add it to the YAML"),
        (wires(length_km=SOURCED | {"unit": "m"}), "length_km has unit 'm'; it is in 'km'"),
        (wires(length_km=SOURCED | {"status": "sure"}), "length_km has status 'sure'; allowed are"),
        (wires(length_km=SOURCED | {"source": " "}), "plan.wires[0].length_km has no source"),
        (wires(length_km=SOURCED | {"by": "me"}), "plan.wires[0].length_km holds 'by'"),
        (wires(length_km=SOURCED | {"value": -1.0}), "plan.wires[0].length_km is -1.0: Input"),
        ({"share": "x" * 500}, "..."),
    ],
)
def test_a_mistake_is_one_line_with_path_value_and_what_is_allowed(changes, says):
    with pytest.raises(ConfigError) as caught:
        validate(Plan, GOOD | changes, "plan")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigError, match=r"share is 2.*; wires\[0\]\.length_km is 0"):
        validate(Plan, {"share": 2, **wires(length_km=0)})


def test_a_sourced_value_is_kept_bare_and_nothing_can_be_changed():
    plan = validate(Plan, GOOD | wires(length_km=SOURCED), "plan")
    assert plan.wires[0].length_km == 2.0
    with pytest.raises(ValueError, match="frozen"):
        plan.share = 0.1
    assert validate(Plan, plan.model_dump()) == plan


def test_a_registry_refuses_doubles_and_answers_typos_with_the_nearest():
    shapes: Registry[type] = Registry("shape")

    @shapes.register("circle")
    class Circle:
        """Round.

        Quite.
        """

        class Config(Config):
            name: str
            radius: Positive

    assert shapes["circle"] is Circle
    assert (list(shapes), shapes.names(), "circle" in shapes) == (["circle"], ["circle"], True)
    assert shapes.describe() == {"circle": "Round."}
    with pytest.raises(UnknownNameError, match="unknown shape 'circel': did you mean 'circle'"):
        shapes["circel"]
    with pytest.raises(ValueError, match="shape 'circle' is registered twice"):
        shapes.register("circle")(Circle)
    assert shapes.configure({"name": "circle", "radius": 2}, "shape").radius == 2.0
    with pytest.raises(ConfigError, match=r"shape\.name is missing; known are circle"):
        shapes.configure({"radius": 2}, "shape")
    with pytest.raises(ConfigError, match=r"shape\.radius is 0"):
        shapes.configure({"name": "circle", "radius": 0}, "shape")


def test_a_key_figure_is_entered_once():
    def community_cost(day):
        """Another one."""

    with pytest.raises(ValueError, match="key figure 'community_cost' is registered twice"):
        kpi("EUR", "lower")(community_cost)
    assert KPIS.describe()["community_cost"] == KPIS["community_cost"].meaning


def test_a_registry_finds_its_modules_by_itself(tmp_path, monkeypatch):
    package = tmp_path / "shelf"
    (package / "inner").mkdir(parents=True)
    for folder in (package, package / "inner"):
        (folder / "__init__.py").write_text("")
    (package / "kit.py").write_text(
        "from gridbazaar.registry import Registry\nKINDS = Registry('kind', 'shelf')\n"
    )
    (package / "inner" / "one.py").write_text(
        "from shelf.kit import KINDS\n@KINDS.register('one')\nclass One:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from shelf.kit import KINDS

    # A newcomer cannot take a name of ours, even where it comes before ours were looked for.
    with pytest.raises(ValueError, match="'one' is registered twice"):
        KINDS.register("one")(object)
    assert KINDS.names() == ["one"]


@pytest.mark.filterwarnings("ignore::hydra.errors.Hydra14MigrationWarning")
def test_a_callers_own_hydra_application_survives(tmp_path):
    (tmp_path / "mine.yaml").write_text("x: 1")
    with initialize_config_dir(str(tmp_path), version_base="1.1"):
        assert compose("mine").x == 1
        envs.world()
        with pytest.raises(ConfigError):
            envs.world(market="nonsense")
        assert compose("mine", ["x=2"]).x == 2
        assert str(getbase()) == "1.1"


def test_a_folder_with_a_strange_name_can_be_added(tmp_path, monkeypatch):
    monkeypatch.setattr(search_path, "_added", [])
    folder = tmp_path / "it's a [very] odd=name, with\\signs"
    (folder / "market").mkdir(parents=True)
    (folder / "market" / "odd.yaml").write_text("name: grid_only\n")
    configs.add_folder(folder)
    assert configs.option("market", "odd") == {"name": "grid_only"}
    assert envs.world(market="odd").market == {"name": "grid_only"}


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.int32])
def test_a_seed_may_be_any_integer(town, kind):
    sim = town.build(envs.world(), num_envs=2, seed=kind(3))
    first = sim.reset()
    assert torch.equal(first, town.build(envs.world(), num_envs=2, seed=3).reset())
    assert torch.equal(sim.reset(seed=kind(3)), sim.reset(seed=3))
    with pytest.raises(ArgumentError, match=r"seed is 1\.5"):
        sim.reset(seed=1.5)
