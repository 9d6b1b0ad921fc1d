"""Loads on any ledger against queue formulas, sources, the trilemma, and the command line."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference.waiting import wait_for_regular_blocks

from gridbazaar import ledger_sim
from gridbazaar.configs import path_of
from gridbazaar.errors import ConfigError, LedgerError, UnknownNameError
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig
from gridbazaar.sourced import STATUSES
from gridbazaar.studies.ledger import configured, published_ranking, trilemma
from gridbazaar.studies.ledger.cli import main
from gridbazaar.studies.ledger.distribution import Distribution
from gridbazaar.studies.ledger.load import capacity_per_s, simulate, sweep
from gridbazaar.studies.ledger.text import aligned, rounded

ROOT = Path(__file__).parents[1]
INTERVAL_S, PLACES = 30.0, 10


def test_every_kind_of_ledger_is_configured():
    kinds = {configured.read(name).name for name in configured.configured()}
    assert kinds == set(ledger_sim.LEDGERS.names())


@pytest.mark.parametrize("arrivals", [5, 8, 9])
def test_waits_are_those_of_the_queue(arrivals):
    config = configured.read("block", [f"block_gas={PLACES}", f"interval_s={INTERVAL_S}"])
    result = simulate(config, arrivals / INTERVAL_S, hours=24, seeds=48)
    wait_s = INTERVAL_S * wait_for_regular_blocks(arrivals, PLACES)
    assert result.latency.mean == pytest.approx(
        wait_s + config.network.submission_delay_s, rel=0.02
    )
    assert result.throughput_per_s == pytest.approx(arrivals / INTERVAL_S, rel=0.01)
    assert result.blocks_per_min == pytest.approx(60 / INTERVAL_S)
    assert not result.saturated


def test_beyond_its_capacity_a_ledger_carries_its_capacity_and_the_rest_waits():
    config = configured.read("block", [f"block_gas={PLACES}"])
    capacity = capacity_per_s(config)
    result = simulate(config, 1.5 * capacity, hours=4, seeds=2)
    assert capacity == PLACES / config.interval_s
    assert result.saturated
    assert result.throughput_per_s == pytest.approx(capacity, rel=0.01)
    assert result.sent - result.included == pytest.approx(2 * result.backlog)
    assert result.backlog == pytest.approx(0.5 * capacity * 4 * 3600, rel=0.05)


@pytest.mark.parametrize("name", configured.configured())
def test_transactions_and_money_are_conserved_and_finality_follows_inclusion(name):
    config = configured.read(name)
    result = simulate(config, 0.05, hours=1, seeds=3)
    assert result.sent == result.included + round(3 * result.backlog)
    assert result.sent == pytest.approx(0.05 * 3600 * 3, rel=0.25)
    assert 0 <= result.burned_eur <= result.fee_eur * (1 + 1e-6)
    assert result.energy_kwh >= 0
    assert result.finality.count == result.included
    assert result.finality.mean >= result.latency.mean
    for share in (0.5, 0.99):
        assert result.finality.quantile(share) >= result.latency.quantile(share)
    assert result.load_per_s < result.capacity_per_s


def test_settlements_are_lost_as_often_as_the_closed_form_says():
    config = configured.read("proof_of_work", ["confirmations=1"])
    result = simulate(config, 0.01, hours=72, seeds=8)
    p, slots = result.reversal_probability, 72 * 4 * 8
    assert 0.01 < p < 0.1
    assert abs(result.reverted_share - p) < 4 * (p * (1 - p) / slots) ** 0.5
    assert simulate(configured.read("raft"), 0.01, hours=24).reverted_share == 0


def test_layers_have_no_capacity_and_no_closed_form():
    config = configured.read("block", ["layers=[sharding]"])
    result = simulate(config, 1.5 * capacity_per_s(config), hours=0.5, seeds=1)
    assert result.throughput_per_s > capacity_per_s(config)
    assert not result.saturated
    assert math.isnan(result.reversal_probability)


def test_waits_grow_with_the_load_and_end_at_capacity():
    config = configured.read("block", [f"block_gas={PLACES}"])
    results = sweep(config, shares=(0.1, 0.8, 0.95), transactions=20_000)
    waits = [r.latency.mean for r in results]
    assert waits == sorted(waits)
    assert [r.load_per_s / capacity_per_s(config) for r in results] == pytest.approx(
        [0.1, 0.8, 0.95]
    )
    assert sweep(configured.read("ideal")) == []


def test_the_same_load_gives_the_same_result_whatever_runs_beside_it():
    config = configured.read("proof_of_work")
    one, other = (simulate(config, 0.2, hours=2, seeds=3) for _ in range(2))
    assert one.latency.curve() == other.latency.curve()
    assert (one.sent, one.fee_eur, one.backlog) == (other.sent, other.fee_eur, other.backlog)


@pytest.mark.parametrize(
    ("load", "hours", "seeds", "says"),
    [(0, 1, 1, "load is 0"), (float("nan"), 1, 1, "load is nan"), (1, -1, 1, "hours is -1"),
     (1, 1, 0, "seeds is 0"), (1, 1, 1.5, "whole number"), (1e6, 24, 4, "allowed are 1e")],
)  # fmt: skip
def test_impossible_loads_are_refused(load, hours, seeds, says):
    with pytest.raises(LedgerError, match=says):
        simulate(configured.read("block"), load, hours, seeds)


def test_a_distribution_keeps_mean_and_quantiles():
    times = torch.rand(20_000, dtype=torch.float64, generator=torch.manual_seed(1)) ** 3 * 1000
    kept = Distribution()
    for part in times.split(3_000):
        kept.add(part)
    assert kept.count == len(times)
    assert kept.mean == pytest.approx(float(times.mean()))
    for share in (0.1, 0.5, 0.99):
        assert kept.quantile(share) == pytest.approx(float(times.quantile(share)), rel=0.003)
    seconds, shares = kept.curve()
    assert seconds == sorted(seconds)
    assert shares[-1] == 1.0
    kept = Distribution()
    kept.add(torch.zeros(3))
    assert kept.quantile(0.99) == 0.0
    assert Distribution().quantile(0.5) != Distribution().quantile(0.5)  # nan: nothing was added


@pytest.mark.parametrize("name", configured.sourced())
def test_every_number_has_a_source(name):
    for source in configured.sources_of(name):
        if isinstance(source.value, (int, float)) and not isinstance(source.value, bool):
            assert source.status in STATUSES, f"{name}: {source.path} has no source"
            assert source.unit, source.path
            assert len(source.source) > 5, source.path


def test_changes_reach_nested_parameters_and_typos_get_the_nearest():
    config = configured.read("block", ["network.latency_s=0.5", "fees.price=1e-3", "queue=tip"])
    assert isinstance(config, ChainConfig)
    assert config.network.latency_s == 0.5
    assert config.fees["price"] == 0.001
    assert config.queue == "tip"
    with pytest.raises(ConfigError, match=r"mean 'ledger\.network\.latency_s'"):
        configured.read("block", ["network.latencys=1"])
    with pytest.raises(UnknownNameError, match="mean 'tendermint'"):
        configured.read("tendermnt")
    with pytest.raises(ConfigError, match=r"ledger\.interval_s is -5"):
        configured.read("block", ["interval_s=-5"])
    with pytest.raises(ConfigError, match="write key=value"):
        configured.read("block", ["interval_s"])


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as shorter:
        shorter.setattr(trilemma, "HOURS", 6.0)
        shorter.setattr(trilemma, "SEEDS", 4)
        return trilemma.profiles()


def test_messages_of_votes_grow_with_the_square_and_those_of_chains_with_the_number(found):
    by_name = {one.name: one for one in found}
    pbft = {n: size.messages for n, size in by_name["pbft"].sizes.items() if size}
    assert pbft == {n: 2 * n * (n - 1) for n in trilemma.VALIDATORS}
    for one in found:
        sizes = [size for size in one.sizes.values() if size]
        assert sizes, one.name
        for fewer, more in itertools.pairwise(sizes):
            assert more.messages >= fewer.messages
            assert more.capacity_per_s <= fewer.capacity_per_s * 1.001
            assert more.latency_s >= fewer.latency_s * 0.95
    assert {one.name for one in found} == set(configured.configured()) - {"ideal"}


def test_fault_bounds_are_those_of_the_protocols(found):
    by_name = {one.name: one for one in found}
    for one in found:
        assert 0 <= one.tolerance.crashed < one.validators
        assert one.tolerance.lying <= max(one.validators - 1, 1)
        assert one.tolerance.beyond
    for name in ("pbft", "qbft", "dbft", "tendermint", "tendermint_pilot"):
        assert by_name[name].tolerance.lying == (by_name[name].validators - 1) // 3
    assert by_name["raft"].tolerance.lying == 0
    assert 5 * by_name["ripple"].tolerance.lying < by_name["ripple"].validators
    assert 2 * by_name["proof_of_work"].tolerance.lying < by_name["proof_of_work"].validators


def test_the_published_ranking_holds_or_a_note_says_why_not(found):
    cells = published_ranking.judge(found)
    assert len(cells) == len(published_ranking.PAPER) * len(published_ranking.LEDGERS)
    for cell in cells:
        given = cell.row in ("decentralisation", "permission")
        assert given == (cell.agrees is None), "a judgement is no agreement of figures"
        assert given or cell.agrees or cell.note, f"{cell.row} of {cell.ledger}: {cell.ours}"
    noted = {(cell.row, cell.ledger) for cell in cells if cell.note}
    assert noted == set(published_ranking.NOTES)


def test_figures_and_tables_are_readable():
    shown = [rounded(v) for v in (0.0, 1234.56, 0.012345, 5e-8, 12.0, float("nan"), float("inf"))]
    assert shown == ["0", "1,230", "0.0123", "5.00e-08", "12", "–", "no limit"]
    lines = aligned(("name", "EUR"), [("a", "1"), ("long", "10")]).split("\n")
    assert lines == ["name  EUR", "----  ---", "a       1", "long   10"]


def test_commands_print_and_plot(tmp_path, capsys, found, monkeypatch):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in listed] == configured.configured()

    assert main(["sources", "raft"]) == 0
    assert "BatchTimeout of the sample configuration" in capsys.readouterr().out
    assert main(["sources", "channels"]) == 0
    assert "an hour to answer an outdated state" in capsys.readouterr().out
    assert main(["sources", "gas"]) == 0
    assert "EIP-7825" in capsys.readouterr().out

    plot = tmp_path / "load.png"
    run = ["run", "block", "--loads", "0.5,12", "--hours", "0.5", "--set", "interval_s=10"]
    assert main([*run, "--set", "block_gas=50", "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert printed.split("\n")[0].split() == ["0.5", "tx/s", "12", "tx/s"]
    assert "12 tx/s is more than the 5 tx/s" in printed
    assert "Of 27 validators, 26 may be silent and 0 may lie." in printed
    assert "lost after final" in printed
    assert (
        main(["run", "block", "--load", "20", "--hours", "0.2", "--set", "layers=[sharding]"]) == 0
    )
    printed = capsys.readouterr().out
    assert "backlog grows" not in printed
    assert "Orders alone are simulated" in printed

    monkeypatch.setattr(trilemma, "profiles", lambda names: found)
    both = tmp_path / "trilemma.svg"
    assert main(["trilemma", "--plot", str(both)]) == 0
    assert "Against Cantillo-Luna" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"load.png", "trilemma.svg"}
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["run", "tendermnt"], "did you mean 'tendermint'?"),
     (["run", "block", "--set", "intervl_s=5"], "did you mean 'ledger.interval_s'?"),
     (["run", "pbft", "--set", "validators=2"], "pbft needs at least 4"),
     (["run", "block", "--load", "-1"], "load is -1"),
     (["run", "block", "--plot", "load.txt"], "must end with one of .png"),
     (["run", "block", "--plot", "/nowhere/load.png"], "there is no folder /nowhere"),
     (["run", "missing.yaml"], "there is no file missing.yaml"),
     (["run", "block", "--load", "5000", "--hours", "0.02"], "at most 65536 can: send fewer"),
     (["run", "pbft", "--load", "9000", "--hours", "0.01"], "at most 65536 can: send fewer"),
     (["run", "block", "--set", "slot_s=1e300"], "slot_s is 1e+300"),
     (["run", "pbft", "--set", "faults=[{from_s: 0, to_s: 9, crashed: 11}]"],
      "error: ledger: faults: crashed 11 of 10 validators\n"),
     (["run", "proof_of_stake", "--set", "block_gas=1000"], "error: ledger: background_gas_per_s"),
     (["run", "pbft", "--set", "faults=[{from_s: 0, to_s: 9, crahsed: 1}]"],
      "unknown key 'ledger.faults[0].crahsed': did you mean 'crashed'?"),
     (["run", "pbft", "--set", "network={latency_s: 1, bandwith_kbit_s: 1}"],
      "unknown key 'ledger.network.bandwith_kbit_s': did you mean 'bandwidth_kbit_s'?"),
     (["run", "block", "--set", "fees={rule: free, rule: fixed}"], "'rule' stands there twice"),
     (["sources", "rafft"], "did you mean 'raft'?"),
     (["sources", "chanels"], "did you mean 'channels'?")],
)  # fmt: skip
def test_wrong_input_is_one_line_and_status_2(arguments, says, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "sources"])
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("# A", "# \xe4", "is not valid YAML"),
     ("gas: unit", "gas: unit\ngas: evm", "'gas' stands there twice"),
     ("  price:", "  prize:", "did you mean 'price'?"),
     ("layers: []", "layers: [chanels]", "did you mean 'channels'?"),
     ("small against the interval", " ", "ledger.network.latency_s has no source")],
)  # fmt: skip
def test_a_wrong_file_is_named_in_one_line(command, old, new, says, tmp_path, capsys):
    text = path_of("ledger", "block").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new, 1), encoding="latin-1")
    assert main([command, str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"python -m ledger_sim: error: {path}")
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["run", "block", "--loads", "1,,2"], ["nothing"], []])
def test_arguments_that_cannot_be_read_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_who_stops_reading_is_no_error():
    command = [sys.executable, "-m", "ledger_sim", "sources", "all"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait()
    assert process.returncode == 0
