"""What a configuration may not say, and how the refusal helps."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch
from conftest import game_of

from gridbazaar import configs, envs, ledger_sim
from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.configs import search_path
from gridbazaar.envs.data.tariffs import parse_tariff
from gridbazaar.envs.markets import MARKETS
from gridbazaar.errors import ConfigError, DataError
from gridbazaar.evaluation.config import configure as configure_evaluation


def refused(*overrides, **names):
    with pytest.raises(ConfigError) as caught:
        envs.world(overrides=overrides, **names)
    return str(caught.value)


def test_what_was_composed_before_is_nobody_elses_and_follows_the_files(tmp_path, monkeypatch):
    first = configs.compose("world", ("market=vcg",))
    first["task"]["rules"].clear()
    assert configs.compose("world", ("market=vcg",))["task"]["rules"]
    monkeypatch.setattr(search_path, "_added", [])
    (tmp_path / "market").mkdir()
    option = tmp_path / "market" / "mine.yaml"
    configs.add_folder(tmp_path)
    for k in (0.25, 0.5):
        option.write_text(f"name: uniform_auction\nk: {k}\n")
        assert configs.compose("world", ("market=mine",))["market"]["k"] == k
    option.unlink()
    with pytest.raises(ConfigError, match="unknown market 'mine'"):
        configs.compose("world", ("market=mine",))


@pytest.mark.parametrize(
    ("names", "nearest"),
    [
        ({"task": "semiurb4-v99"}, "semiurb4-v1"),
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
        (("task.data.source=foo",), ("task.data", "source is 'foo'", "'simbench', 'files'")),
        (("ledger.layers=[null]",), ("ledger.layers holds None", "[{name: noise}]")),
        (("ledger.layers=[4]",), ("ledger.layers holds 4", "expected names")),
        (("task.seed=[1,2]",), ("task.seed", "[1, 2]")),
        (("tariff@task.tariff=flatt",), ("unknown tariff 'flatt'", "did you mean 'flat'")),
        (
            ("task.devices.flexible_load.window_h=0",),
            ("flexible_load.window_h", "known are task.devices.storage, task.devices.vehicle"),
        ),
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
        ("market.k=1.5", ConfigError, ("market.k", "1.5")),
        ("+market.q=1", ConfigError, ("market.q", "unknown key")),
        ("market.name=unifrom_auction", KeyError, ("did you mean 'uniform_auction'",)),
        ("ledger.name=ideel", KeyError, ("did you mean 'ideal'",)),
        ("ledger.slot_s=600", ConfigError, ("ledger.slot_s", "600", "900")),
        ("task.rules.gate_closure_s=1000", ConfigError, ("gate_closure_s is 1000", "900")),
    ],
)
def test_what_only_the_builder_can_judge_is_refused_there(town, override, error, parts):
    with pytest.raises(error) as caught:
        town.build(envs.world(overrides=(override,)))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("task.data.homes=0", "task.data.homes is 0:"),
        ("task.tariff.adders=-1e300", "tariff.adders is -1e+300:"),
    ],
)
def test_a_path_is_that_of_the_yaml_whatever_kind_it_is_of(town, override, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        town.build(envs.world(overrides=(override,)))


def test_a_feed_in_tariff_above_retail_is_refused_where_prices_stand_still(town):
    with pytest.raises(ValueError, match=r"feed_in.*above retail"):
        town.build(envs.world("semiurb4_german", overrides=("task.tariff.feed_in=0.9",)))


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
    assert envs.world("semiurb4") == envs.world("semiurb4-v1")


@pytest.mark.parametrize("entry", ["train", "evaluate"])
def test_no_group_is_called_as_a_key_of_the_commands_is(entry):
    """Hydra would take the key's value for an option: device=cuda for configs/device/cuda.yaml."""
    words = ["name=x", "device=cuda"]
    values = configs.compose(entry, words)
    assert values["device"] == "cuda"
    chosen = {"task", "market", "ledger", "bidder", "algorithm"}  # these are meant
    assert not set(values) & (set(configs.groups()) - chosen)


@pytest.mark.parametrize(
    ("override", "bound"),
    [
        *(
            (f"task.rules.{price}={value}", "0 to 100,000 per kWh")
            for price in ("penalty_price", "unserved_price")
            for value in ("1e300", "100001")
        ),
        ("task.rules.max_tip=1e300", "0 to 1e+06 of the tariff's currency"),
        ("task.rules.limits.voltage_price=1e300", "0 to 1e+06 of the tariff's currency"),
        ("task.rules.limits.loading_price=1e300", "0 to 1e+06 of the tariff's currency"),
        ("task.rules.limits.unsolved_price=1e300", "0 to 1e+06 of the tariff's currency"),
        ("task.rules.forecast_spread=1e3", "0 to 3"),
        ("task.devices.storage.wear_price=1e300", "0 to 100,000 per kWh"),
        ("task.devices.vehicle.wear_price=1e300", "0 to 100,000 per kWh"),
        ("task.devices.vehicle.lent_kwh=1e300", "0 to 1e+12"),
        ("task.ownership.pv_kwp_max=1e300", "0 to 1e+12"),
    ],
)
def test_a_bound_is_given_with_its_unit_and_its_reason(override, bound):
    message = refused(override)
    assert f"{override.partition('=')[0]} is " in message
    assert f"expected {bound}" in message
    assert len(message.partition(bound)[2]) > 20  # the reason
    assert "\n" not in message


@pytest.mark.parametrize("override", ["task.rules.penalty_price=-1", "task.rules.max_tip=-1e-9"])
def test_no_price_is_below_zero(override):
    assert "greater than or equal to 0" in refused(override)


@pytest.mark.parametrize(
    ("override", "group"),
    [
        ("feed_in=1e6", "tariff"),
        ("base=-1e300", "tariff"),
        ("local_network_share=1.5", "tariff"),
    ],
)
def test_tariffs_are_bounded_where_they_are_read(override, group):
    world = envs.world("semiurb4_german", overrides=(f"task.{group}.{override}",))
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        parse_tariff(world.task.tariff)


def test_a_tariff_may_charge_or_pay_less_than_nothing():
    words = ("task.tariff.base=-0.01", "task.tariff.feed_in=-0.02")
    tariff = parse_tariff(envs.world("semiurb4_german", overrides=words).task.tariff)
    prices = tariff.prices(pd.Timestamp("2016-01-01"), 1, 15)
    assert prices.feed_in.max() < 0


@pytest.mark.parametrize(
    ("names", "override"),
    [
        ({"ledger": "pbft"}, "ledger.validators=100000000"),
        ({"market": "stackelberg"}, "market.blocks=100000000"),
    ],
)
def test_counts_that_would_take_the_machines_memory_are_bounded(town, names, override):
    with pytest.raises(ConfigError, match="is 100000000: expected 1 to"):
        town.build(envs.world(overrides=(override,), **names))


def test_prices_that_are_bounded_alone_are_bounded_together():
    tariff = {**envs.world("semiurb4_german").task.tariff, "base": 9.99e4, "feed_in": 0.1}
    tariff["seasons"] = [
        {
            "months": list(range(1, 13)),
            "windows": [{"start": "00:00", "end": "24:00", "network": 5e2}],
        }
    ]
    with pytest.raises(DataError, match=r"retail price of 1\.004e\+05 per kWh; expected at most"):
        parse_tariff(tariff).prices(pd.Timestamp("2016-01-01"), 1, 15)


@pytest.mark.parametrize(
    ("market", "override"),
    [
        ("dynamic_grid_tariff", "usage_price=1e300"),
        ("bilateral_dispatch", "distance_price=1e300"),
        ("admm_parallel", "grey_price=1e300"),
    ],
)
def test_prices_of_mechanisms_are_bounded(market, override):
    world = envs.world(market=market, overrides=(f"market.{override}",))
    with pytest.raises(ConfigError, match="expected 0 to 100,000 per kWh"):
        MARKETS.configure(world.market, "market")


@pytest.mark.parametrize("key", ["fees.price", "network.latency_s", "node_power_w"])
def test_charges_and_times_of_ledgers_are_bounded(key):
    world = envs.world(ledger="block", overrides=(f"ledger.{key}=1e300",))
    with pytest.raises(ConfigError, match=f"ledger.{key} is .*expected 0 to 1e\\+"):
        ledger_sim.make(world.ledger)


@pytest.mark.parametrize("seed", [-5, 2**63, 10**20])
def test_a_seed_out_of_range_is_refused_and_the_last_within_is_not(seed):
    assert f"task.seed is {seed}" in refused(f"task.seed={seed}")
    assert envs.world(overrides=(f"task.seed={2**63 - 1}",)).task.seed == 2**63 - 1


@pytest.mark.parametrize("group", ["task", "market", "ledger"])
@pytest.mark.parametrize("value", ["null", "3", "3.5", "true", "-1", "", "[a,b]", "{a: 1}"])
def test_a_group_takes_one_name_and_nothing_else(group, value):
    with pytest.raises(ConfigError) as caught:
        configs.compose("world", [f"{group}={value}"])
    message = str(caught.value)
    assert group in message
    assert "known are" in message


@pytest.mark.parametrize(
    "part",
    ["task.rules", "task.feeder", "task.data", "task.tariff", "task.devices", "task.ownership"],
)
def test_a_part_of_a_task_cannot_be_null(part):
    assert f"{part} is None" in refused(f"{part}=null")


@pytest.mark.parametrize("value", ["3", "true", "pseudonyms"])
def test_layers_are_a_list(value):
    with pytest.raises(ConfigError, match=r"ledger.layers is .*: expected a list"):
        configs.compose("world", ["ledger=block", f"ledger.layers={value}"])


@pytest.mark.parametrize("value", ["null", "3", "word"])
def test_changes_of_the_ledgers_are_a_list(value):
    with pytest.raises(ConfigError, match=r"ledger_changes is .*: expected a list"):
        configure_evaluation(["name=x", f"ledger_changes={value}"])
