"""The study of selfish learners: its words, its table, and what is not done again."""

from __future__ import annotations

import json

import pytest

from gridbazaar.errors import ConfigError
from gridbazaar.studies import strategic_bidding
from gridbazaar.studies.strategic_bidding import configure, main, study, table, who_gains


def summary(truth, learned, who="ev_0"):
    def row(bidder, figures):
        gain = {"mean": 0.2, "low": 0.1, "high": 0.3, "who": who, "response": "value +0.1"}
        kpis = {name: {"mean": value} for name, value in figures.items()}
        both = {"exploitability": gain, "coalition_gain": gain | {"who": None}}
        return {"bidder": bidder, "baseline": False, "kpis": kpis, "deviations": both}

    return {
        "config": {"bidder": ["truthful", "results/x/runs/vcg"]},
        "days": {"count": 13, "split": "test"},
        "rows": [
            {"bidder": "stand_alone", "baseline": True, "kpis": {}},
            row("optimum_played", truth),
            row("truthful", truth),
            row("vcg", learned),
        ],
    }


def figures(cost, operator, traded, ev, price=0.2):
    return {
        "community_cost": cost,
        "operator_surplus": operator,
        "traded_energy": traded,
        "mean_price": price,
        "cost_ev": ev,
    }


FOUND = {"vcg": summary(figures(40.0, -5.0, 50.0, 6.0), figures(41.0, -3.0, 42.0, 5.5, None))}


def test_what_strategy_costs_counts_seats_and_operator():
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(FOUND).splitlines()]
    truth, learned = lines[2], lines[3]
    assert truth[:9] == [
        "`vcg`", "truthful", "40.00", "-5.00", "45.00", "–", "0.200", "50.0", "–",
    ]  # fmt: skip
    assert learned[2:9] == ["41.00", "-3.00", "44.00", "-1.00", "–", "42.0", "+8.0"]
    assert learned[9:] == ["0.20 (0.10 to 0.30): ev 0, value +0.1", "none found"]


def test_who_gains_has_roles_and_operator():
    assert who_gains(FOUND).splitlines()[-1] == "| `vcg` | +0.50 | +2.00 |"


@pytest.mark.parametrize(
    ("word", "said"),
    [("days", "no option"), ("bidder=zip", "no place"), ("reward.team_weight=1", "no place")],
)
def test_words_that_it_cannot_take_are_refused(word, said):
    with pytest.raises(ConfigError, match=said):
        configure([word])


def test_a_wrong_market_is_one_line(capsys):
    assert main(["market=[vgc]"]) == 2
    assert "did you mean 'vcg'" in capsys.readouterr().err


def test_what_is_finished_is_read(tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("trained or played again")

    monkeypatch.setattr(strategic_bidding, "train", never)
    monkeypatch.setattr(strategic_bidding, "evaluate", never)
    place = tmp_path / "x" / "evaluations" / "vcg"
    place.mkdir(parents=True)
    (place / "summary.json").write_text(json.dumps(FOUND["vcg"]))
    text = study(configure([f"folder={tmp_path}", "name=x", "market=vcg"]))
    assert text == (tmp_path / "x" / "table.md").read_text()
    assert "| `vcg` | truthful | 40.00 |" in text
