"""What a configuration may not say, and how the refusal helps."""

from __future__ import annotations

import pytest
import torch
from conftest import game_of

from gridbazaar import configs, envs
from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.envs.markets import MARKETS
from gridbazaar.errors import ConfigError, DataError


def refused(*overrides, **names):
    with pytest.raises(ConfigError) as caught:
        envs.world(overrides=overrides, **names)
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "nearest"),
    [
        ({"task": "semiurb4-v99"}, "semiurb4-v0"),
        ({"market": "uniform_action"}, "uniform_auction"),
        ({"ledger": "blok"}, "block"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(names, nearest):
    message = refused(**names)
    assert next(iter(names.values())) in message
    assert f"did you mean {nearest!r}" in message


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("task.rules.penalty_prise=1", "task.rules.penalty_price"),
        ("taks.seed=1", "task.seed"),
        ("market.kk=0.5", "market.k"),
        ("+task.rules.penalty_prise=1", "penalty_price"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key, nearest):
    message = refused(key)
    assert "unknown key" in message
    assert f"did you mean {nearest!r}" in message


def test_keys_are_judged_under_the_options_that_were_chosen():
    message = refused("ledger.interval_s=5", "ledger.interval=5", ledger="block")
    assert "unknown key 'ledger.interval': did you mean 'ledger.interval_s'" in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        (
            ("task.devices.storage.soc_floor=0.9", "task.devices.storage.soc_ceiling=0.2"),
            ("0.9", "below", "0.2"),
        ),
        (("task.ownership.battery_kwh_per_kwp=-1",), ("battery_kwh_per_kwp", "greater", "-1")),
        (("task.ownership.pv_share=1.5",), ("task.ownership.pv_share", "1.5")),
        (
            ("task.devices.storage.round_trip_efficiency=0",),
            ("round_trip_efficiency", "greater than 0"),
        ),
        (("task.devices.vehicle.v2g=perhaps",), ("v2g", "boolean", "perhaps")),
        (("task.rules.forecast=prophecy",), ("forecast", "persistence", "prophecy")),
        (("task.rules.limits.action=curtial",), ("action", "curtail", "curtial")),
        (("task.rules.submission_s=880",), ("submission_s", "880", "gate_closure_s")),
        (("task.feeder.loading_percent=.nan",), ("loading_percent", "nan")),
        (("task.feeder.voltage_band=[1.1,0.9]",), ("task.feeder", "1.1 to 0.9")),
        (("task.name=Nameless",), ("task.name", "Nameless")),
    ],
)
def test_an_impossible_value_is_named_with_its_path(override, parts):
    message = refused(*override)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_word_without_equals_is_explained():
    assert "write key=value" in refused("market")


@pytest.mark.parametrize(
    ("override", "error", "parts"),
    [
        ("task.tariff.feed_in=0.9", ValueError, ("feed_in", "above retail")),
        ("market.k=1.5", ConfigError, ("market.k", "1.5")),
        ("+market.q=1", ConfigError, ("market.q", "unknown key")),
        ("market.name=unifrom_auction", KeyError, ("did you mean 'uniform_auction'",)),
        ("ledger.name=ideel", KeyError, ("did you mean 'ideal'",)),
        ("ledger.slot_s=600", ConfigError, ("ledger.slot_s", "600", "900")),
        ("task.rules.gate_closure_s=1000", ConfigError, ("gate_closure_s", "1000")),
    ],
)
def test_what_only_the_builder_can_judge_is_refused_there(town, override, error, parts):
    with pytest.raises(error) as caught:
        town.build(envs.world(overrides=(override,)))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("key", ["task.data.code", "task.feeder.code"])
def test_an_unknown_grid_is_answered_with_the_nearest(key):
    world = envs.world(overrides=(f"{key}=1-LV-semiurb4--2-ws",))
    with pytest.raises((KeyError, DataError, ValueError)) as caught:
        envs.build(world, 1, "train", 0)
    assert "1-LV-semiurb4--2-sw" in str(caught.value)


def test_unknown_splits_seeds_and_sizes_are_refused(town):
    world = envs.world()
    with pytest.raises(KeyError, match="did you mean 'validation'"):
        town.build(world, split="validaton")
    with pytest.raises(ValueError, match="num_envs is 0"):
        town.build(world, num_envs=0)
    sim = town.simulation()
    with pytest.raises(ValueError, match=r"seed has shape \(3,\), expected \(2,\)"):
        sim.reset(seed=torch.arange(3))
    with pytest.raises(ValueError, match=r"days has shape \(1,\), expected \(2,\)"):
        sim.reset(torch.tensor([96]))


def test_wrong_actions_are_refused(town):
    sim = town.simulation()
    sim.reset(seed=0)
    shape = (2, sim.num_seats, 6)
    with pytest.raises(ValueError, match=r"action has shape \(2, 3\), expected \(2, 41, 6\)"):
        sim.step(torch.zeros(2, 3))
    action = torch.zeros(shape, dtype=torch.float64)
    action[1, 7, 2] = torch.inf
    action[1, 8, 2] = -torch.inf
    with pytest.raises(ValueError, match="seat 7 in market 1 has inf as value"):
        sim.step(action)


def test_an_unknown_bidder_is_answered_with_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'truthful'"):
        make("thruthful", game_of(envs.world().task.rules))


def test_every_registered_name_has_a_yaml_and_every_yaml_a_name():
    from gridbazaar import ledger_sim

    assert configs.options("market") == MARKETS.names()
    assert configs.options("bidder") == BIDDERS.names()
    kinds = {configs.option("ledger", name)["name"] for name in configs.options("ledger")}
    assert kinds == set(ledger_sim.LEDGERS.names())


def test_a_world_cannot_be_changed():
    world = envs.world()
    with pytest.raises(ValueError, match="frozen"):
        world.task.rules.penalty_price = 1.0
    assert envs.world() == world


def test_a_task_without_a_version_means_its_newest():
    assert envs.world("semiurb4") == envs.world("semiurb4-v0")


@pytest.mark.parametrize("entry", ["train", "evaluate"])
def test_no_group_is_called_as_a_key_of_the_commands_is(entry):
    """Hydra would take the key's value for an option: device=cuda for configs/device/cuda.yaml."""
    words = ["name=x", "device=cuda"]
    values = configs.compose(entry, words)
    assert values["device"] == "cuda"
    chosen = {"task", "market", "ledger", "bidder", "algorithm"}  # these are meant
    assert not set(values) & (set(configs.groups()) - chosen)
