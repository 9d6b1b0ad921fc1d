"""Presets: every pilot composes, says where its facts are from, plays a day and yields to words."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import play as play_intervals
from conftest import random_policy

from gridbazaar import envs, ledger_sim
from gridbazaar.agents.learning.run_folder import configure as configure_training
from gridbazaar.agents.load import load
from gridbazaar.catalogue import listing
from gridbazaar.command_line import main
from gridbazaar.configs import (
    add_folder,
    complete_ledger,
    expand,
    option,
    options,
    path_of,
    search_path,
)
from gridbazaar.configs.presets import read_preset
from gridbazaar.envs.day_record import Facts
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.evaluation.audit import Audit
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.rollout import play
from gridbazaar.studies import pilots
from gridbazaar.studies.chain_observer import seen_by_all

ROOT = Path(__file__).parents[1]
PRESETS = options("preset")
# Sections and tables of the five papers, as docs/papers.md calls them.
PAPER = re.compile(r"\b(IOT|EPS|DER|P2P|SDT)( (Tables?|Fig|Section|Eq)\.?)? [IVX\d]")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_composes(name):
    config = configure(["name=x", f"preset={name}"])
    assert envs.world(preset=name) == config.world(config.market[0], config.ledger[0])


def test_a_training_takes_market_ledger_and_community_of_a_preset_but_nobody_who_bids(mine):
    trained, world = configure_training(["name=x", "preset=mine"]), envs.world(preset="mine")
    assert (trained.task, trained.market, trained.ledger) == (
        world.task,
        world.market,
        world.ledger,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_line_of_a_preset_says_whose_fact_it_is_or_that_it_is_assumed(name):
    title, *lines = path_of("preset", name).read_text(encoding="utf-8").splitlines()
    assert PAPER.search(title), title
    for line in lines:
        if line.startswith(("description:", "ledger.layers: # lowest first")):
            continue
        remark = line.partition(" # ")[2]
        assert PAPER.search(remark) or "assumed" in remark, line


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_a_market_and_a_ledger_and_says_in_a_line_who_it_is(name):
    values = read_preset(name)
    assert values["market"] in options("market")
    assert values["ledger"] in options("ledger")
    assert set(values.get("incentives", [])) <= set(options("incentive"))
    assert len(values["description"]) <= 90
    assert "\n" not in values["description"]
    assert re.search(rf"^  {name} +{re.escape(values['description'])}$", listing("presets"), re.M)


@pytest.mark.parametrize("name", PRESETS)
def test_market_and_ledger_of_a_preset_play_some_intervals(town, name):
    chosen = envs.world(preset=name)
    world = chosen.model_copy(update={"task": envs.world().task})
    simulation = town.build(world, num_envs=1)
    bidder, state = load("truthful", simulation.game), None
    observation = simulation.reset(seed=3)
    for _ in range(8):
        action, state = bidder.act(observation, state)
        interval = simulation.step(action)
        observation = interval.observation
        assert interval.reward.total.isfinite().all()
        assert interval.clearing.converged.all()


@pytest.mark.long
@pytest.mark.parametrize("name", PRESETS)
def test_a_day_of_a_preset_runs_in_its_own_community(name):
    simulation = envs.batched(preset=name, num_envs=1, split="test")
    days, seed = simulation.community.days["test"][40:41], torch.tensor([0])
    facts, limits = Facts.of(simulation.community, 0.5), simulation.delivery.limits
    day = play(simulation, load("truthful", simulation.game), days, seed, facts, limits)
    assert day.seat_cost.isfinite().all()
    assert day.cleared.all()


@pytest.mark.long
def test_power_id_has_its_members():
    seats = envs.batched(preset="power_id", num_envs=1).community.seats
    assert sum(name.startswith("prosumer") for name in seats) == 20
    assert sum(name.startswith("consumer") for name in seats) == len(seats) - 20 == 20


def words_of(*words):
    return set(expand(words))


def test_the_words_of_a_command_line_win_over_the_preset(mine):
    assert words_of("preset=mine") == {
        "task=small-v1", "task.rules.max_tip=0.02", "market=mid_market_rate",
        "market.position=0.4", "ledger=block", "ledger.block_gas=50",
        "ledger.layers=[pseudonyms,{name:noise,epsilon:0.5}]", "bidder=[own_use,truthful]",
    }  # fmt: skip
    config = configure(["name=x", "preset=mine", "market.position=0.1", "task.rules.max_tip=0.03"])
    assert config.world("mid_market_rate", "block").market["position"] == 0.1
    assert config.task.rules.max_tip == 0.03
    assert config.bidder == ("own_use", "truthful")
    assert configure(["name=x", "preset=mine", "bidder=zip"]).bidder == ("zip",)
    assert envs.world("kerber", preset="mine").task.rules.max_tip == 0.02


def test_parameters_of_a_preset_go_with_the_market_or_ledger_that_they_are_of(mine):
    assert not [w for w in words_of("preset=mine", "market=vcg") if w.startswith("market.")]
    assert not [w for w in words_of("preset=mine", "ledger=ideal") if w.startswith("ledger.")]
    both = words_of("preset=mine", "ledger=[ideal,block]")
    assert {"ledger=[ideal,block]", "ledger.block_gas=50"} < both
    assert "ledger=block" not in both
    assert envs.world(preset="mine", market="vcg").market == {"name": "vcg"}


def test_a_preset_of_a_users_own_is_listed_and_composed_once(mine):
    assert "  mine " in listing("presets")
    first = envs.world(preset="mine")
    assert first.ledger["layers"][1]["epsilon"] == 0.5
    assert first == envs.world(overrides=("preset=mine",))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A preset in a folder of the caller's own."""
    monkeypatch.setattr(search_path, "_added", [])
    write(tmp_path, "mine", MINE)
    add_folder(tmp_path)
    return tmp_path


MINE = """\
description: what a test wants
task: small-v1
task.rules.max_tip: 0.02
market: mid_market_rate
market.position: 0.4
ledger: block
ledger.block_gas: 50
ledger.layers: [pseudonyms, {name: noise, epsilon: 0.5}]
bidder: [own_use, truthful]
"""


def write(folder, name, text):
    (folder / "preset").mkdir(exist_ok=True)
    (folder / "preset" / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("market: vcg\n", "lacks its description"),
        ("description: x\nmarkt: vcg\n", "sets 'markt', which a preset cannot; did you mean 'mar"),
        ("description: x\ndays: 3\n", "sets 'days', which a preset cannot"),
        ("- 3\n", "holds list; it must be a mapping"),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused_by_its_file(mine, text, line):
    write(mine, "odd", text)
    with pytest.raises(ConfigError, match=rf"odd\.yaml {re.escape(line)}"):
        expand(["preset=odd"])


def test_a_wrong_name_within_a_preset_is_refused_as_on_the_command_line(mine):
    write(mine, "odd", "description: x\nmarket: unifrom_auction\n")
    with pytest.raises(ConfigError, match="did you mean 'uniform_auction'"):
        envs.world(preset="odd")
    write(mine, "odd", "description: x\nmarket: vcg\nmarket.k: 0.3\n")
    with pytest.raises(ConfigError, match=r"unknown key 'market\.k'"):
        configure(["name=x", "preset=odd"])


@pytest.mark.parametrize("command", ["train", "evaluate", "render"])
def test_an_unknown_preset_is_one_line_with_the_nearest(command, capsys):
    assert (
        main([command, "preset=quartierstorm", *(["name=x"] if command != "render" else [])]) == 2
    )
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "unknown preset 'quartierstorm': did you mean 'quartierstrom'?" in err


def test_no_preset_is_null():
    assert expand(["preset=null", "days=1"]) == ("days=1",)
    assert configure(["name=x", "preset=null"]) == configure(["name=x"])


def test_a_mapping_where_a_list_is_due_is_refused_by_its_key():
    with pytest.raises(ConfigError, match="incentives takes no mapping"):
        configure(["name=x", "incentives={}"])


def test_one_preset_at_a_time():
    with pytest.raises(ConfigError, match="brooklyn and sunchain are several presets"):
        expand(["preset=brooklyn", "+preset=sunchain"])
    with pytest.raises(UnknownNameError, match="unknown preset ''"):
        expand(["preset="])


def test_markets_and_ledgers_of_an_evaluation_take_words_and_the_grid_alone_does_not():
    config = configure(["name=x", "market=[uniform_auction,pay_as_bid,grid_only]", "market.k=0.3"])
    assert [config.world(m, "ideal").market.get("k") for m in config.market] == [0.3, 0.3, None]
    with pytest.raises(ConfigError, match=r"market\.k=0\.3 changes nothing: grid_only"):
        configure(["name=x", "market=grid_only", "market.k=0.3"])
    with pytest.raises(ConfigError, match=r"cannot change market=vcg: unknown key 'market\.k'"):
        configure(["name=x", "market=[uniform_auction,vcg]", "market.k=0.3"])
    with pytest.raises(ConfigError, match=r"market\.k is 3"):
        configure(["name=x", "market=uniform_auction", "market.k=3"])
    fees = ["ledger.fees.rule=eip1559", "~ledger.fees.price", "~ledger.fees.burned_share"]
    fees += ["+ledger.fees.base_fee_wei=1e9", "+ledger.fees.eur_per_coin=2000"]
    config = configure(["name=x", "ledger=[ideal,block]", *fees])
    assert config.world("uniform_auction", "block").ledger["fees"]["rule"] == "eip1559"
    with pytest.raises(ConfigError, match=r"market_changes is .*: expected a list of words, as in"):
        configure(["name=x", "market_changes=3"])


class Observed:
    """Some intervals on a ledger with layers, and what their chain shows of them."""

    slots, gate_s = 6, 870.0

    def __init__(self, town, *chosen):
        plain = town.simulation(ledger="block", dtype=torch.float32)
        values = {**option("ledger", "block"), "layers": list(chosen)}
        ledger = ledger_sim.make(complete_ledger(values))
        simulation = Simulation(
            plain.community, plain.delivery, plain.market, ledger, plain.rules, 2, "train", 0
        )
        seed = torch.tensor([4, 5])
        audit = Audit(simulation, seed, torch.tensor([0]))
        policy = random_policy(7, entries=len(simulation.game.layout.actions))
        for interval in play_intervals(simulation, policy, slots=self.slots):
            audit.record(interval)
        self.seen = seen_by_all(audit, ledger, self.slots, 900.0, self.gate_s)


@pytest.mark.parametrize(
    ("chosen", "linked", "read_early", "read"),
    [
        ((), 100, (80, 100), 100),
        (("pseudonyms",), 0, (80, 100), 100),
        (("commit_reveal",), 100, (0, 0), 100),
        (("noise",), 100, (0, 0), 0),
        (({"name": "channels", "carries": "payments"},), 100, (80, 100), 100),
        (("channels",), 0, (0, 0), 0),
    ],
    ids=str,
)
def test_an_observer_links_and_reads_what_the_layers_leave_open(
    town, chosen, linked, read_early, read
):
    seen = Observed(town, *chosen).seen
    assert seen.linked == linked
    assert read_early[0] <= seen.read_early <= read_early[1]
    assert seen.read == pytest.approx(read, abs=5)


def test_the_study_plays_pilots_side_by_side_and_writes_table_picture_and_pages(tmp_path, capsys):
    (tmp_path / "pilots.md").write_text("<!-- pilots -->\n<!-- end of pilots -->\n")
    (tmp_path / "pilot_sunchain.md").write_text("<!-- row -->\n<!-- end of row -->\n")
    csv, plot = tmp_path / "made" / "pilots.csv", tmp_path / "pilots.png"
    words = ["--presets", "sunchain", "--days", "1", "--set", "task=small", "--csv", str(csv)]
    pilots.main([*words, "--write", str(tmp_path), "--plot", str(plot)])
    row = pd.read_csv(csv).iloc[0]
    assert row.cost == pytest.approx(row.ideal + row.taken)
    assert row.saved_ideal == pytest.approx(100 * (1 - row.ideal / row.alone))
    assert row.seats == 9
    assert row.linked == 0
    assert row.read_early > 90
    assert row.incentive_income != 0
    assert plot.stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert (
        "| `sunchain` | `mid_market_rate`, `pbft + pseudonyms`, `green_certificates` |" in printed
    )
    assert "| `sunchain` |" in (tmp_path / "pilots.md").read_text()
    assert "| linked, % | 0 |" in (tmp_path / "pilot_sunchain.md").read_text()
    pilots.main(["--from", str(csv)])
    assert capsys.readouterr().out.strip() in printed


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--presets", "sunchian"], "did you mean 'sunchain'?"),
        (["--days", "0"], "--days: is '0': expected a whole number of at least 1"),
        (["--threads", "0"], "--threads: is '0'"),
        (["--from", "nowhere.csv"], "nowhere.csv is no CSV of an earlier run"),
        (["--from", "/dev/null"], "/dev/null is no CSV of an earlier run"),
        (["--from", __file__], "earlier run"),
        (["--csv", f"{__file__}/x.csv"], "is no folder"),
        (["--plot", "x.foo"], "x.foo must end with one of .png"),
        (["--plot", "."], "is a folder; name a file"),
        (["--write", "tests"], "there is no page tests/pilots.md"),
        (["--presets", "sunchain", "--set", "market=all"], "a pilot has one market"),
        (["--presets", "sunchain", "--set", "bidder=[truthful,zip]"], "bidder= names 2"),
        (["--presets", "sunchain", "--set", "market.position=2"], "market.position is 2"),
    ],
)
def test_wrong_words_of_the_study_are_refused_before_anything_plays(words, line, capsys):
    with pytest.raises(SystemExit) as stop:
        pilots.main(words)
    assert stop.value.code == 2
    assert line in capsys.readouterr().err


def test_every_page_of_a_pilot_is_of_a_preset_and_takes_its_row():
    pages = sorted((ROOT / "docs").glob("pilot_*.md"))
    assert len(pages) >= 6
    for page in pages:
        name = page.stem.removeprefix("pilot_")
        text = page.read_text(encoding="utf-8")
        assert f"preset={name} " in text
        assert "<!-- row -->" in text
        facts = [line for line in text.splitlines() if re.match(r"\|.*\|.*\|.*\|$", line)]
        assert any(PAPER.search(line) for line in facts), name


def test_the_page_of_pilots_names_every_preset():
    text = (ROOT / "docs" / "pilots.md").read_text(encoding="utf-8")
    assert [name for name in PRESETS if f"| `{name}` | " not in text] == []
