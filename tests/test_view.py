"""Viewer of results, example days, the feeder's plan, and the standing of the cheapest."""

import json
import threading
import urllib.request
from urllib.error import HTTPError

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from gridbazaar.command_line import main
from gridbazaar.envs.day_record import DayRecord
from gridbazaar.errors import ConfigError, ResultsError, UnknownNameError
from gridbazaar.evaluation import view
from gridbazaar.evaluation.config import configure, label, learned_parts
from gridbazaar.evaluation.example_days import FILE, ExampleDays
from gridbazaar.evaluation.feeder_plan import branches, positions
from gridbazaar.evaluation.results import evaluate, table
from gridbazaar.evaluation.statistics import Summary
from gridbazaar.evaluation.validation import apart


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = [
        "name=tiny",
        f"folder={tmp_path_factory.mktemp('results')}",
        "bidder=[learned,truthful]",
        "ledger=block",
        "days=3",
        "resamples=100",
        "signatures=false",
        "planner=false",
    ]
    return evaluate(configure(words), quiet=True)


@pytest.fixture(scope="module")
def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def address(folder):
    with view.server(folder) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield view.address(serving)
        serving.shutdown()
        thread.join()


def read(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_days_are_those_that_were_played(folder, summary):
    days, slots = ExampleDays(folder), summary["days"]["first_slots"]
    assert sorted(days.index["first_slot"]) == sorted(slots)
    assert days.rows == list(range(len(summary["rows"]) - 1))
    frame = pd.read_parquet(folder / "episodes.parquet")
    best = frame[frame["bidder"] == "optimum"]
    potential = dict(zip(best["first_slot"], best["optimum_savings"], strict=True))
    middling, low, high = (potential[slot] for slot in days.index["first_slot"])
    assert low <= middling <= high
    for number in days.rows:
        found = days.of(number)
        N, T = len(days.index["seats"]), round(24 / days.index["slot_h"])
        assert found["cost"].shape == (3, T, N)
        mean = summary["rows"][number]["kpis"]["community_cost"]["mean"]
        assert found["cost"].sum((1, 2)).mean() == pytest.approx(mean, abs=0.05)


def test_power_is_balanced_in_what_is_kept(folder):
    days = ExampleDays(folder)
    for number in days.rows:
        day = days.of(number)
        net = day["pv_kw"] - day["load_kw"] + day["battery_kw"] + day["consumer_kw"]
        rest = net - day["cleared_kw"] - day["grid_kw"]
        assert np.isfinite(rest).all()
        assert (abs(day["filled_kw"]) <= abs(day["order_kw"]) + 2e-3).all()
        assert set(np.unique(day["reverted"])) <= {0.0, 1.0}


def test_what_combinations_share_is_kept_once(folder):
    index = ExampleDays(folder).index["rows"]
    assert len({keys["load_kw"] for keys in index.values()}) == 1
    assert len({keys["cost"] for keys in index.values()}) > 1


def test_a_seat_is_shown_with_the_name_of_its_home(folder):
    homes = view.Results(folder)._days.index["homes"]
    named = [
        seat for seat, home in zip(ExampleDays(folder).index["seats"], homes, strict=True) if home
    ]
    assert named
    assert all(seat.startswith(("prosumer", "consumer")) for seat in named)
    page = view.Results(folder).day_page()
    assert "homes[n]" in page


def test_results_without_days_are_named(folder, tmp_path):
    with pytest.raises(ResultsError, match="evaluate again"):
        ExampleDays(tmp_path)
    (tmp_path / FILE).write_bytes((folder / FILE).read_bytes()[:500])
    with pytest.raises(ResultsError, match="cannot be read"):
        ExampleDays(tmp_path)


def test_the_server_gives_report_page_and_days_and_nothing_else(folder, summary, address):
    kind, report = read(address)
    assert kind.startswith("text/html")
    assert report == (folder / "report.html").read_bytes()
    assert b"interval by interval" in read(f"{address}day")[1]
    kind, text = read(f"{address}day/1/2.json")
    assert kind == "application/json"
    day, kept = json.loads(text), ExampleDays(folder).of(1)
    assert np.allclose(day["load_kw"], kept["load_kw"][2], atol=1e-4)
    assert all(value is None or np.isfinite(value) for row in day["latency_s"] for value in row)
    best = len(summary["rows"]) - 1  # the optimum has no days
    for path in (f"day/{best}/0.json", "day/0/3.json", "summary.json", "../x", "day/x/0.json"):
        with pytest.raises(HTTPError, match="404"):
            read(address + path)


def test_words_of_the_viewer_are_checked(folder, tmp_path):
    assert view.configure([str(folder), "port=8000"]) == (folder, 8000)
    with pytest.raises(UnknownNameError, match=r"tinny.*did you mean .*tiny"):
        view.configure([str(folder.parent / "tinny")])
    for words in ([], ["a", "b"], [str(folder), "port=http"], [str(folder), "port=70000"]):
        with pytest.raises(ConfigError):
            view.configure(words)


def test_learned_bidders_are_played_on_validation_days_beside_one_that_is_not(summary):
    learned, rule = summary["validation"]
    assert (learned["bidder"], learned["learned"]) == ("learned", True)
    assert (rule["bidder"], rule["learned"]) == ("truthful", False)
    for row in summary["validation"]:
        mine = next(
            r for r in summary["rows"] if (r["bidder"], r["ledger"]) == (row["bidder"], "block")
        )
        assert row["judged"]["mean"] == pytest.approx(mine["kpis"]["optimum_share"]["mean"])
        assert row["less"]["mean"] == pytest.approx(
            row["judged"]["mean"] - row["validation"]["mean"]
        )
        assert row["less"]["low"] <= row["less"]["mean"] <= row["less"]["high"]


def test_a_difference_of_independent_means_is_as_wide_as_theory_says():
    one, other = Summary(5.0, 5.0, 2.0, 8.0), Summary(1.0, 1.0, -3.0, 5.0)
    found = apart(one, other)  # halves of 3 and 4 make 5
    assert found == pytest.approx({"mean": 4.0, "low": -1.0, "high": 9.0})


def test_the_cheapest_is_named_with_what_is_alike(summary):
    standing, rows = summary["cheapest"], summary["rows"]
    played = [r for r in rows if r["bidder"] not in ("optimum", "optimum_played")]
    best = min(played, key=lambda r: r["kpis"]["community_cost"]["mean"])
    assert standing["bidder"] == best["bidder"]
    assert standing["others"] == len(played) - 1
    names = {r["bidder"] for r in played} - {best["bidder"]}
    assert {each["bidder"] for each in standing["alike"]} <= names
    # with the reference as the cheapest, the paired differences of the summary say the same
    if best["bidder"] == "learned":
        for row in played:
            if row["difference"]:
                low = row["difference"]["kpis"]["community_cost"]["low"]
                alike = any(each["bidder"] == row["bidder"] for each in standing["alike"])
                assert alike == (low <= 0.001)


class Tree:
    """A feeder of six nodes: 0-1, 1-2, 1-3, 3-4, 0-5."""

    slack_nodes = np.array([0])

    def __init__(self):
        pairs = np.array([(0, 1), (1, 2), (1, 3), (3, 4), (0, 5)])
        matrix = np.zeros((6, 6), complex)
        matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = -1j
        self.pairs, self.ybus = pairs, sparse.csc_matrix(matrix + 5j * np.eye(6))


def test_a_feeder_is_drawn_as_a_tree_without_crossings():
    tree = Tree()
    x, y = positions(tree)
    assert x.tolist() == [0, 1, 2, 2, 3, 1]
    assert sorted(map(tuple, branches(tree.ybus).tolist())) == sorted(map(tuple, tree.pairs))
    leaves = [2, 4, 5]
    assert len({y[leaf] for leaf in leaves}) == 3
    assert y[3] == y[4]
    assert y[1] == pytest.approx((y[2] + y[3]) / 2)
    assert not min(y[2], y[4]) < y[5] < max(y[2], y[4])


def test_days_are_selected_in_the_order_asked_for():
    names = {name for name in DayRecord.__dataclass_fields__ if name != "facts"}
    values = {name: torch.arange(3.0).expand(2, 3) for name in names}
    found = DayRecord(None, **values).select(2, 0)
    assert found.retail.tolist() == [[2.0, 0.0]] * 2


def test_what_was_trained_elsewhere_says_so_everywhere(folder, summary):
    trained = "learned was trained by apg on semiurb4-v1 under uniform auction and the ideal ledger"
    warning = "learned was trained with ledger ideal and plays block without having been trained"
    assert summary["trained"]["learned"]["ledger"] == "ideal"
    assert any(line.startswith(warning) for line in summary["warnings"])
    report = (folder / "report.html").read_text()
    assert f'<p class="warn">{warning}' in report
    for text in (report, (folder / "table.md").read_text(), table(folder).replace("\n", " ")):
        assert trained in text
        assert warning in text


def test_the_command_names_the_nearest_results(folder, capsys):
    assert main(["view", str(folder.parent / "tinny")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "tiny" in said
    assert main(["view", "--help"]) == 0
    assert "port=8000" in capsys.readouterr().out


def test_populations_tell_what_their_learned_parts_were_trained_on():
    config = configure(["name=x", "bidder={default: truthful, ev: learned}"])
    parts = [label(name) for mix in config.bidder for name in learned_parts(mix)]
    assert parts == ["learned"]
