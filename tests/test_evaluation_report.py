import base64
import json
import math
import re
import zlib

import pandas as pd
import pytest
import torch

from gridbazaar.agents.load import load
from gridbazaar.envs.kpis import GROUPS, KPIS
from gridbazaar.errors import ConfigError, LedgerError, UnknownNameError
from gridbazaar.evaluation.comparison import FIGURES
from gridbazaar.evaluation.config import configure, label
from gridbazaar.evaluation.mechanisms import COLUMNS
from gridbazaar.evaluation.report import heading, number, tables
from gridbazaar.evaluation.results import evaluate, table
from gridbazaar.evaluation.stage import Stage
from gridbazaar.evaluation.tables import BIDDER_COLUMNS
from gridbazaar.evaluation.timing import timed
from gridbazaar.evaluation.waterfall import MEANINGS

DAYS, REPEATS = 2, 2


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return [
        "name=tiny",
        f"folder={tmp_path_factory.mktemp('results')}",
        "bidder=[truthful,zip]",
        "market=uniform_auction",
        "ledger=[ideal,block]",
        f"days={DAYS}",
        f"repeats={REPEATS}",
        "resamples=100",
        "signed_days=1",
        "planner=false",
    ]


@pytest.fixture(scope="module")
def folder(words):
    return evaluate(configure(words), quiet=True)


@pytest.fixture(scope="module")
def summary(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((folder / "summary.json").read_text(), parse_constant=refuse)


def test_summary_has_a_row_per_combination_the_grid_alone_and_the_optimum(summary):
    assert {"task", "config", "versions", "rows"} <= summary.keys()
    places = [(row["bidder"], row["market"], row["ledger"]) for row in summary["rows"]]
    assert places == [
        ("stand_alone", "grid_only", "ideal"),
        ("optimum_played", "uniform_auction", "ideal"),
        ("truthful", "uniform_auction", "ideal"),
        ("zip", "uniform_auction", "ideal"),
        ("optimum_played", "uniform_auction", "block"),
        ("truthful", "uniform_auction", "block"),
        ("zip", "uniform_auction", "block"),
        ("optimum", "-", "-"),
    ]


def test_every_figure_has_mean_iqm_interval_and_unit(summary):
    for row in summary["rows"][:-1]:
        assert row["kpis"].keys() == {*KPIS, *FIGURES} - {"planner_share"}
        for name, figure in row["kpis"].items():
            assert figure.keys() == {"mean", "iqm", "low", "high", "unit"}
            if figure["mean"] is not None and name not in ("savings_percent", "optimum_share"):
                slack = 1e-9 * max(1, abs(figure["mean"]))
                assert figure["low"] - slack <= figure["mean"] <= figure["high"] + slack


def test_clearing_time_is_measured_for_all_that_was_played(folder, summary):
    shown = timed(summary, json.loads((folder / "timing.json").read_text()))
    *played, best = shown["rows"]
    assert all(row["kpis"]["clearing_time"]["mean"] > 0 for row in played)
    assert "clearing_time" not in best["kpis"]
    assert all(row["audit"]["verify_s"] > 0 for row in played if row["ledger"] == "block")


def test_times_of_another_run_are_refused(folder, summary):
    times = json.loads((folder / "timing.json").read_text())
    times["rows"].reverse()
    with pytest.raises(ValueError, match="files of one run"):
        timed(summary, times)


@pytest.mark.long
def test_the_same_seed_gives_the_same_files(words, folder, tmp_path):
    again = evaluate(configure([*words, f"folder={tmp_path}"]), quiet=True)
    one, other = (
        (path / "summary.json").read_text().replace(str(path.parent), "")
        for path in (folder, again)
    )
    assert one == other
    for name in ("episodes.parquet", "days.npz"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_nobody_beats_the_optimum_and_shares_follow(summary):
    alone, *played, best = summary["rows"]
    low = best["kpis"]["community_cost"]["mean"]
    base = alone["kpis"]["community_cost"]["mean"]
    assert best["kpis"]["optimum_share"]["mean"] == pytest.approx(100)
    for row in played:
        cost, kpis = row["kpis"]["community_cost"]["mean"], row["kpis"]
        if row["bidder"] == "optimum_played" and row["ledger"] == "ideal":
            assert cost == pytest.approx(low, rel=1e-5)
        else:
            assert cost > low
        assert kpis["savings"]["mean"] == pytest.approx(base - cost)
        assert kpis["optimum_share"]["mean"] == pytest.approx(100 * (base - cost) / (base - low))


def test_differences_are_paired_within_market_and_ledger(summary):
    for row in summary["rows"]:
        difference = row["difference"]
        if row["bidder"] not in ("zip", "optimum_played"):
            assert difference is None
            continue
        reference = next(
            r for r in summary["rows"]
            if r["bidder"] == "truthful" and r["ledger"] == row["ledger"]
        )  # fmt: skip
        expected = (
            row["kpis"]["community_cost"]["mean"] - reference["kpis"]["community_cost"]["mean"]
        )
        assert difference["reference"] == "truthful"
        assert difference["kpis"]["community_cost"]["mean"] == pytest.approx(expected)


def test_block_ledgers_are_signed_and_verify(summary):
    for row in summary["rows"]:
        if row["ledger"] != "block":
            assert row["audit"] is None
            continue
        assert row["audit"]["faults"] == []
        assert row["audit"]["transactions"] > 1000
        assert row["kpis"]["ledger_fees"]["mean"] > 0
        assert row["kpis"]["finality_p50"]["mean"] > 0


def test_episodes_hold_every_day_repeat_and_combination(folder, summary):
    frame = pd.read_parquet(folder / "episodes.parquet")
    assert len(frame) == len(summary["rows"]) * DAYS * REPEATS
    assert set(frame["seed"]) == set(range(DAYS * REPEATS))
    means = frame.groupby(["bidder", "market", "ledger"])["community_cost"].mean()
    for row in summary["rows"]:
        place = (row["bidder"], row["market"], row["ledger"])
        assert means[place] == pytest.approx(row["kpis"]["community_cost"]["mean"])


def test_report_has_all_sections_and_needs_nothing_else(folder):
    page = (folder / "report.html").read_text()
    sections = [
        "comparison",
        "bound",
        "waterfall",
        "reliability",
        "days",
        "day",
        "roles",
        "market",
        "network",
        "ledger",
        "figures",
        "configuration",
    ]
    assert all(f'id="{section}"' in page for section in sections)
    assert len(list((folder / "plots").glob("*.png"))) == 8
    written = re.sub(r"<script.*?</script>|<pre>.*?</pre>", "", page, flags=re.S)
    links = re.findall(r'(?:src|href)="([^"]*)', written)
    assert set(links) == {"data:,", "#comparison", "day"}  # the last is shown where it is served
    assert "http" not in written
    assert "nan" not in written.lower().replace("finance", "")


def test_every_key_figure_stands_in_one_table_of_the_report(folder, summary):
    shown = timed(summary, json.loads((folder / "timing.json").read_text()))
    found = tables(shown["kpis"])
    assert tuple(found) == GROUPS
    names = [name for group in found.values() for name in group]
    assert sorted(names) == sorted([*KPIS, *FIGURES, "clearing_time"])
    page = (folder / "report.html").read_text()
    heads = re.findall(r"<th title=[^>]*>([^<]+)<br>", page)
    chosen = unpacked(page)["kpis"]
    assert chosen.keys() >= {*names}
    assert {heading(name) for name in names} <= set(heads)


def unpacked(page):
    """The data that a page carries."""
    packed = re.search(r'id="data">([^<]+)<', page).group(1)
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_the_page_carries_every_row_and_its_days(folder, summary):
    data = unpacked((folder / "report.html").read_text())
    assert len(data["rows"]) == len(summary["rows"])
    frame = pd.read_parquet(folder / "episodes.parquet")
    for k, row in enumerate(summary["rows"][:-1]):
        mean, low, high = data["rows"][k]["kpis"]["community_cost"]
        figure = row["kpis"]["community_cost"]
        for mine, theirs in zip((mean, low, high), ("mean", "low", "high"), strict=True):
            assert mine == pytest.approx(figure[theirs], rel=1e-4)
        mine = frame[
            (frame["bidder"] == row["bidder"])
            & (frame["market"] == row["market"])
            & (frame["ledger"] == row["ledger"])
        ]
        by_day = mine.groupby("first_slot")["community_cost"].mean()
        carried = data["daily"]["rows"][str(k)]["community_cost"]
        assert data["daily"]["first_slot"] == by_day.index.tolist()
        assert carried == pytest.approx(by_day.tolist(), rel=1e-4)


def test_waterfalls_add_up_from_the_grid_alone_to_the_optimum(words, summary, tmp_path):
    words = [*words, f"folder={tmp_path}", "days=1", "repeats=1", "signatures=false"]
    planned = evaluate(configure([*words, "planner=true", "ledger=block"]), quiet=True)
    planned = json.loads((planned / "summary.json").read_text())
    for found, ledgers in ((summary, ["ideal", "block"]), (planned, ["block"])):
        means = {
            (row["bidder"], row["ledger"]): row["kpis"]["community_cost"]["mean"]
            for row in found["rows"]
        }
        assert [fall["ledger"] for fall in found["waterfalls"]] == ledgers
        for fall in found["waterfalls"]:
            steps, ledger = fall["steps"], fall["ledger"]
            assert steps[0]["cost"] == means["stand_alone", "ideal"]
            total = sum(step["change"] for step in steps)
            assert total == pytest.approx(means["optimum", "-"])
            by_name = {step["name"]: step["cost"] for step in steps}
            assert set(by_name) - {"grid alone"} <= MEANINGS.keys()
            cheapest = min(means[name, ledger] for name in ("truthful", "zip"))
            assert by_name["coordination"] == cheapest == means[fall["bidder"], ledger]
            assert by_name["ledger"] == means["optimum_played", "ideal"]
            if found is planned:
                assert by_name["bidding"] == means["planner", ledger]
    of_planner = next(row for row in planned["rows"] if row["bidder"] == "planner")["kpis"]
    assert of_planner["planner_share"]["mean"] == pytest.approx(100)
    one = next(row for row in planned["rows"] if row["bidder"] == "truthful")["kpis"]
    share = one["savings"]["mean"] / of_planner["savings"]["mean"]
    assert one["planner_share"]["mean"] == pytest.approx(100 * share)


def test_columns_of_mechanisms_and_of_the_terminal_are_key_figures(summary):
    chosen = {column.name for column in COLUMNS} | set(BIDDER_COLUMNS)
    assert chosen <= {*summary["kpis"], "clearing_time"}


def test_the_baseline_is_played_once_and_compared_with_itself(words, tmp_path):
    played = []

    def counted(name, *others):
        bidder = load(name, *others)

        class Counting:
            def act(self, observation, state):
                if state is None:
                    played.append(name)
                action, after = bidder.act(observation, state and state[0])
                return action, (after,)

        return Counting()

    changed = (f"folder={tmp_path}", "ledger=ideal", "repeats=1", "bidder=[truthful,own_use]")
    found = evaluate(configure([*words, *changed]), counted, quiet=True)
    assert played.count("stand_alone") == 1
    assert len(played) == 3
    (alone, *_) = json.loads((found / "summary.json").read_text())["rows"]
    assert alone["kpis"]["savings"]["mean"] == 0
    assert alone["kpis"]["seats_worse_off"]["mean"] == 0


def test_table_names_every_row(folder, summary):
    lines = table(folder).splitlines()
    assert len(lines) == len(summary["rows"]) + 1
    assert lines[1].startswith("optimum")


def test_a_failed_evaluation_leaves_nothing_behind(tmp_path):
    def broken(name, game, device):
        raise RuntimeError("no such bidder")

    with pytest.raises(RuntimeError):
        evaluate(configure(["name=x", f"folder={tmp_path}", "days=1"]), broken, quiet=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("market=uniform_auctoin", UnknownNameError, "did you mean 'uniform_auction'"),
        ("bidder=[zip,truthfull]", UnknownNameError, "did you mean 'truthful'"),
        ("bidder=runs/none", UnknownNameError, "folder 'runs/none'"),
        ("ledger=blok", UnknownNameError, "did you mean 'block'"),
        ("repeat=2", ConfigError, "did you mean 'repeats'"),
        ("days=0", ConfigError, "days"),
        ("device=gpu", ConfigError, "device"),
        ("reference=nobody", UnknownNameError, "nobody"),
        ("name=../x", ConfigError, "name"),
    ],
)
def test_wrong_words_are_explained(word, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        configure(["name=x", word])


@pytest.mark.parametrize(("days", "said"), [(13, True), (14, False), (1, False)])
def test_days_that_are_all_mondays_are_said(days, said, caplog):
    stage = Stage(configure(["name=x", "bidder=truthful", f"days={days}"]), load)
    assert (f"days={days}: all of them are the same day of the week" in caplog.text) == said
    weekdays = (stage.first_slot // 96) % 7
    assert (len(weekdays.unique()) == 1) == (days in (1, 13))


def test_more_days_than_there_are_is_said(caplog):
    stage = Stage(configure(["name=x", "task=small", "bidder=truthful", "days=1000"]), load)
    known = len(stage.first_slot)
    assert f"days=1000: the test split has {known} days; all of them are played" in caplog.text
    caplog.clear()
    Stage(configure(["name=x", "task=small", "bidder=truthful", f"days={known}"]), load)
    assert not caplog.text


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("ledger.slot_s=60", r"ledger\.slot_s is 60"),
        ("ledger.layers=[{name: commit_reveal, reveal_s: 1e9}]", r"commit_reveal\.reveal_s"),
        ("ledger.layers=[{name: blind_credentials, unregistered: [99]}]", "seat 99"),
    ],
)
def test_a_world_that_cannot_be_is_refused_before_any_is_played(word, message):
    config = configure(["name=x", "task=small", "bidder=truthful", "ledger=[ideal,block]", word])
    with pytest.raises((ConfigError, LedgerError), match=message):
        Stage(config, load)


def test_two_folders_of_one_label_are_refused(tmp_path):
    folders = [tmp_path / "a" / "runs" / "demo", tmp_path / "b" / "runs" / "demo"]
    for folder in folders:
        folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match="would call both"):
        configure(["name=x", f"bidder=[{folders[0]},{folders[1]}]"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_named(tmp_path):
    config = configure(["name=x", f"folder={tmp_path}", "device=cuda"])
    with pytest.raises(ConfigError, match="sees no GPU"):
        evaluate(config, quiet=True)


def test_all_means_every_known_name():
    config = configure(["name=x", "bidder=all", "market=all", "ledger=all"])
    assert {"truthful", "zip"} <= set(config.bidder)
    assert {"grid_only", "uniform_auction"} <= set(config.market)
    assert {"ideal", "block"} <= set(config.ledger)


def test_labels_are_short():
    assert label("zip") == "zip"
    assert label("runs/demo/") == "demo"
    assert label("/somewhere/runs/demo/checkpoints/best") == "demo/best"


def test_numbers_read_well():
    assert [number(v) for v in (1234.5, 64.217, 0.12345, -1e-9, None, math.nan)] == [
        "1,234", "64.22", "0.123", "0.000", "–", "–",
    ]  # fmt: skip
