"""The gas table: sourced, of this contract, right on books it did not see, on two machines."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from reference.demand_response import response_gas, response_offer_gas

from gridbazaar.configs import complete_ledger, option
from gridbazaar.envs.markets import MARKETS
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim import MarketTransactions, Transactions, gas, make
from gridbazaar.ledger_sim.gas_schedule import schedule_of
from gridbazaar.sourced import STATUSES
from gridbazaar.studies.contract import MECHANISMS, source_digest

ROOT = Path(__file__).parents[1]
SECOND_EVM = ROOT / "tools" / "ethereumjs"
WITHIN = 0.01
# Bids, asks, overlap and tick; none of these sizes and seeds is among those fitted.
SHAPES = [(3, 6, 0.1, 1), (9, 7, 0.3, 40_000), (14, 20, -1.0, 1), (36, 25, 0.5, 15_000)]
MEASURED = {
    "register", "order", "relayed_order", "commit", "reveal", "clear", "clear_hinted", "settle",
    "batch", "root", "claim", "response_offer", "response", "channel_open", "channel_close",
    "channel_dispute", "channel_finish", "deploy", "clear_pairs", "clear_checked", "settle_deals",
}  # fmt: skip


@functools.cache
def measured():
    pytest.importorskip("vyper", reason="measuring needs the extra: pip install 'gridbazaar[evm]'")
    pytest.importorskip("eth", reason="measuring needs the extra: pip install 'gridbazaar[evm]'")
    from gridbazaar.studies.contract.measurements import measure

    return measure(SHAPES, seed=11, small=20)


@functools.cache
def seen_by_all():
    own = measured().seen
    from gridbazaar.studies.contract.measurements import measure_mechanisms

    return own + measure_mechanisms(SHAPES, seed=12).seen


def benchmark():
    path = ROOT / "tools" / "fit_gas.py"
    spec = importlib.util.spec_from_file_location("benchmark_gas", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_call_is_predicted_within_one_per_cent_on_unseen_books():
    seen = seen_by_all()
    assert {one.call for one in seen} == MEASURED
    for one in seen:
        assert gas.predicted(one.call, one.counts) == pytest.approx(one.gas, rel=WITHIN), one


def test_functions_say_what_the_table_says():
    """Each function against real transactions, by its own arguments."""
    seen = {one.call: one for one in seen_by_all()}
    counts = {call: one.counts for call, one in seen.items()}
    clear, settle, claim = counts["clear"], counts["settle"], counts["claim"]
    said = {
        "register": gas.register_gas(),
        "order": gas.order_gas(),
        "relayed_order": gas.order_gas(relayed=True),
        "commit": gas.commit_gas(),
        "reveal": gas.reveal_gas(),
        "clear": gas.clear_gas(clear["order"], clear["matched"], clear["shift"]),
        "clear_hinted": gas.clear_gas(
            counts["clear_hinted"]["order"], counts["clear_hinted"]["matched"], hinted=True
        ),
        "settle": gas.settle_gas(*settle.values()),
        "clear_pairs": gas.clear_otherwise_gas("pairs", *counts["clear_pairs"].values()),
        "clear_checked": gas.clear_otherwise_gas("checked", *counts["clear_checked"].values()),
        "settle_deals": gas.settle_gas(*counts["settle_deals"].values(), deals=True),
        "batch": gas.batch_gas(counts["batch"]["seat"], counts["batch"]["new"]),
        "root": gas.root_gas(),
        "claim": gas.claim_gas(claim["level"], claim["new"], claim["fresh"]),
        "response_offer": response_offer_gas(),
        "response": response_gas(*counts["response"].values()),
        "channel_open": gas.channel_open_gas(),
        "channel_close": gas.channel_close_gas(),
        "channel_dispute": gas.channel_dispute_gas(counts["channel_dispute"]["answer"]),
        "channel_finish": gas.channel_finish_gas(),
    }
    for call, told in said.items():
        assert told == pytest.approx(seen[call].gas, rel=WITHIN), call


def test_a_second_evm_takes_the_same_gas_to_the_unit():
    if shutil.which("node") is None:
        pytest.skip("needs Node 20 or newer on the path")
    if not (SECOND_EVM / "node_modules" / "@ethereumjs" / "vm").is_dir():
        pytest.skip("needs @ethereumjs/vm: npm ci --prefix tools/ethereumjs")
    done = measured()
    equal, number = benchmark().replay(done, "prague")
    assert equal == number == len(done.market.evm.sent)


def test_the_fit_needs_what_tells_counts_apart():
    pytest.importorskip("vyper", reason="the benchmark needs the extra evm")
    pytest.importorskip("eth", reason="the benchmark needs the extra evm")
    from gridbazaar.studies.contract.measurements import Observation

    fit = benchmark().fit
    draw = np.random.default_rng(0)
    true = {"call": 40_000.0, "seat": 8_000.0, "new": 17_100.0}
    seats = draw.integers(1, 50, 30)
    seen = [
        Observation(
            "x",
            {"seat": float(n), "new": float(n // 3)},
            int(40_000 + 8_000 * n + 17_100 * (n // 3)),
        )
        for n in seats
    ]
    assert fit(seen).coefficients == pytest.approx(true)
    with pytest.raises(ValueError, match="do not tell call, seat, new apart"):
        fit([Observation("x", {"seat": float(n), "new": float(n)}, 50_000) for n in seats])


def test_the_table_is_of_this_contract_and_every_figure_has_its_source():
    rows = yaml.safe_load(gas.TABLE.read_text(encoding="utf-8"))
    contract = rows.pop("contract")
    assert contract["sha256"] == source_digest(), "run python tools/fit_gas.py"
    assert contract["mechanisms_sha256"] == source_digest(MECHANISMS), "run tools/fit_gas.py"
    entries = [(f"{call}.{k}", entry) for call, row in rows.items() for k, entry in row.items()]
    for name, entry in entries:
        assert set(entry) == {"value", "unit", "source", "status"}, name
        assert entry["status"] in STATUSES, name
        assert all(str(entry[key]) for key in entry), name
    assert set(rows) == MEASURED | {"limits", "transfer"}
    assert all(entry["status"] == "measured" for call in MEASURED for entry in rows[call].values())


def test_the_table_needs_neither_compiler_nor_evm():
    script = (
        "import sys\n"
        "for name in ('vyper', 'eth', 'eth_abi', 'eth_hash'): sys.modules[name] = None\n"
        "from gridbazaar.ledger_sim import gas\n"
        "from gridbazaar.studies import contract\n"
        "print(gas.clear_gas(40, 25))\n"
        "try: contract.compile_market()\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    number, reason = ran.stdout.strip().split("\n")
    assert float(number) == pytest.approx(gas.clear_gas(40, 25))
    assert "gridbazaar[evm]" in reason


def test_a_batch_of_markets_costs_what_each_does():
    orders = torch.tensor([0.0, 12.0, 41.0, 200.0], dtype=torch.float64)
    matched = torch.tensor([0.0, 5.0, 20.0, 110.0], dtype=torch.float64)
    pairs = [*zip(orders.tolist(), matched.tolist(), strict=True)]
    for hinted in (False, True):
        together = gas.clear_gas(orders, matched, hinted=hinted)
        assert isinstance(together, torch.Tensor)
        assert together.tolist() == pytest.approx([gas.clear_gas(*p, hinted=hinted) for p in pairs])
    for function in (gas.settle_gas, gas.batch_gas, response_gas):
        assert function(orders, matched).tolist() == pytest.approx([function(*p) for p in pairs])


def test_an_insertion_sort_moves_half_of_all_pairs():
    draw = torch.rand(20_000, 12, generator=torch.Generator().manual_seed(0))
    wrong = (draw[:, :, None] > draw[:, None, :]).triu(1).sum((1, 2)).double().mean()
    assert gas.shifts_expected(12, 0) == pytest.approx(wrong.item(), rel=0.01)


def test_cost_rises_with_everything_that_is_counted():
    assert gas.clear_gas(60, 30) < gas.clear_gas(61, 30) < gas.clear_gas(61, 31)
    assert gas.clear_gas(60, 30, hinted=True) < gas.clear_gas(60, 30)
    assert gas.settle_gas(20, 3) < gas.settle_gas(21, 3) < gas.settle_gas(21, 4)
    assert gas.order_gas() < gas.order_gas(relayed=True) < gas.order_gas(1.0, relayed=True)
    assert gas.claim_gas(7) < gas.claim_gas(8)


def test_two_channel_transactions_cost_less_than_two_orders():
    once = gas.channel_open_gas() + gas.channel_close_gas()
    assert gas.order_gas() < once < 2 * gas.order_gas()


def test_a_full_book_can_always_be_cleared_with_a_hint():
    assert gas.clear_gas(512, 512, hinted=True) < gas.transaction_gas_cap()


@pytest.mark.parametrize("orders", [512.0, torch.tensor([10.0, 512.0])])
def test_what_no_transaction_can_carry_is_refused(orders):
    worst = gas.shifts_expected(512.0, 512.0)
    with pytest.raises(LedgerError, match=r"at most 16,777,216 \(EIP-7825\)"):
        gas.clear_gas(orders, orders, worst)
    with pytest.raises(LedgerError, match="256 bids and as many asks"):
        gas.clear_gas(orders + 1, orders)
    with pytest.raises(LedgerError, match="settling by meter readings takes"):
        gas.settle_gas(orders * 4)


def test_a_name_that_the_table_does_not_have_is_named():
    with pytest.raises(KeyError, match="did you mean 'settle'"):
        gas.predicted("setle", {})
    with pytest.raises(KeyError, match="did you mean 'seat'"):
        gas.predicted("settle", {"seats": 3})


def test_a_broken_source_is_refused(tmp_path):
    rows = yaml.safe_load(gas.TABLE.read_text(encoding="utf-8"))
    del rows["settle"]["seat"]["source"]
    broken = tmp_path / "gas.yaml"
    broken.write_text(json.dumps(rows))
    with pytest.raises(ConfigError, match=r"settle\.seat has no source"):
        gas.table(broken)


def test_each_kind_of_market_is_billed_its_contracts_part():
    """Table III: auctions wholly, games and central solutions a check, parallel ADMM nothing."""
    parts = {name: MARKETS[name].contract for name in MARKETS.names()}
    assert parts["uniform_auction"] == "auction"
    assert parts["pay_as_bid"] == "pairs"
    assert parts["admm_parallel"] == "none"
    for name in ("price_game", "stackelberg", "shapley", "nucleolus", "admm_sequential"):
        assert parts[name] == "checked", name
    orders, traders = (torch.tensor([n], dtype=torch.float64) for n in (41.0, 22.0))
    settlement = schedule_of("evm").settlement
    found = {part: settlement(orders, traders, part).item() for part in set(parts.values())}
    # What an auction takes is as it was before there were others.
    hinted = gas.clear_gas(41.0, 22.0, hinted=True) + gas.settle_gas(22.0)
    assert found["auction"] == pytest.approx(hinted, rel=1e-12)
    assert found["none"] == pytest.approx(gas.batch_gas(22.0), rel=1e-12)
    assert found["none"] < found["checked"] < found["auction"] < found["pairs"]
    for part in found:
        assert schedule_of("unit").settlement(orders, traders, part).item() == 1


@pytest.mark.parametrize("layer", ["multisig", "two_chains", "noise"])
def test_layers_bill_the_contracts_part_too(layer):
    """Where a layer leaves the clearing on the chain, it is this market's."""
    ledger = make(complete_ledger({**option("ledger", "proof_of_authority"), "layers": [layer]}))
    ledger.reset(torch.tensor([0]))
    sent = torch.ones(1, 41, dtype=torch.bool)
    ledger.step(Transactions(sent, torch.zeros(1, 41), torch.zeros(1, 41)), 870.0)
    one = torch.ones(1, dtype=torch.float64)
    fee = {}
    for part in ("auction", "pairs", "checked", "none"):
        market = MarketTransactions(one, 0 * one, 41 * one, 22 * one, contract=part)
        fee[part] = ledger.submit_market(market).fee.item()
    assert fee["none"] < fee["checked"] < fee["auction"] < fee["pairs"], fee
