"""Side chains, secret stores, sub-blocks and verifiers: where data lie, and who finds a change."""

import itertools

import pytest
import torch

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger, option
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim import MarketTransactions, Transactions, gas
from gridbazaar.ledger_sim.record.cross_check import check_copy, inconsistencies
from gridbazaar.ledger_sim.record.privacy import disclosure_of
from gridbazaar.ledger_sim.record.secret_store import PRIME, DocumentStore, join, split
from gridbazaar.studies.ledger.configured import read

B, N, SLOT_S, DEADLINE_S = 3, 6, 900.0, 840.0
PRICE = 2e-9
EVM = {
    "gas": "evm",
    "block_gas": 6e7,
    "fees": {"rule": "fixed", "price": PRICE, "burned_share": 0.4},
}


def block(layers=(), **changes):
    return complete_ledger(read("block").model_dump() | changes | {"layers": list(layers)})


def with_size(transaction_bytes):
    network = read("block").model_dump()["network"]
    return {"network": network | {"transaction_bytes": transaction_bytes}}


def run(config, slots=4, batch=B, traders=4.0, refused=None):
    ledger = ledger_sim.make(config)
    ledger.reset(torch.arange(batch))
    generator = torch.Generator().manual_seed(0)
    one, found = torch.ones(batch, dtype=torch.float64), []
    no = None if refused is None else refused * one
    market = MarketTransactions(one, 2 * one, 5 * one, traders * one, refused=no)
    for _ in range(slots):
        draw = torch.rand(2, batch, N, generator=generator, dtype=torch.float64)
        orders = Transactions(draw[0] < 0.9, 800 * draw[1], torch.zeros(batch, N))
        found.append((orders, ledger.step(orders, DEADLINE_S), ledger.submit_market(market)))
    return ledger, found


def test_a_side_chain_takes_the_data_off_the_main_chain():
    fees = {"rule": "fixed", "price": 0.5, "burned_share": 0.0}
    side = block(interval_s=5.0, fees=fees, **with_size(100))
    layer = {"name": "side_chain", "side_ledger": side, "slots_per_anchor": 2}
    main = EVM | with_size(300)
    (_, got), (_, alone) = (run(block(layers, **main)) for layers in ([layer], []))
    for slot, ((sent, one, posted), (_, other, _)) in enumerate(zip(got, alone, strict=True)):
        assert torch.equal(one.fee, 0.5 * sent.sent.double())
        assert (one.finality_s > other.finality_s).all()
        paid = float(gas.batch_gas(torch.tensor(4.0))) + gas.root_gas() * (slot % 2)
        assert posted.fee.tolist() == pytest.approx([3 * 0.5 + paid * PRICE] * B)
        assert posted.transactions.tolist() == [4.0 + slot % 2] * B
        # Orders, two messages and a clearing lie beside; a payment here, and a root in two.
        torch.testing.assert_close(one.stored_bytes - one.header_bytes, 100.0 * sent.sent.sum(1))
        assert (one.header_bytes > other.header_bytes).all()
        assert posted.stored_bytes.tolist() == [100.0 * 3 + 300.0 * (1 + slot % 2)] * B


@pytest.mark.parametrize("more", [{}, {"interval_s": 5.0}])
def test_a_side_ledger_in_part_takes_the_rest_from_its_file(more):
    side = {"name": "block", **more}
    layer = {"name": "side_chain", "side_ledger": side, "slots_per_anchor": 2}
    (found,) = block([layer], slot_s=300.0)["layers"]
    assert found["side_ledger"] == {**option("ledger", "block"), "slot_s": 300.0, **more}
    assert block([found], slot_s=300.0)["layers"] == [found]


def test_what_is_stored_belongs_to_the_state():
    config = block([{"name": "secret_store"}], **EVM)
    ledger, _ = run(config)
    again = ledger_sim.make(config)
    again.state = ledger.state
    assert torch.equal(again.stored_bytes, ledger.stored_bytes)
    again.reset(torch.arange(2))
    assert again.stored_bytes.tolist() == [0, 0]


def test_a_secret_store_keeps_hashes_on_the_chain_and_waits_for_the_t_th_server():
    layer = {"name": "secret_store", "availability": 1.0, "answer_s": 6.0}
    ledger, got = run(block([layer], **EVM), batch=2000)
    _, alone = run(block([], **EVM), batch=2000)
    sent = sum(orders.sent.sum(1) for orders, _, _ in got)
    assert torch.equal(ledger.stored_bytes, 278.0 * sent)
    assert torch.equal(ledger.chain_bytes, 32.0 * sent)
    waits = torch.stack([posted.delay_s for _, _, posted in got])
    # The third of five exponentials: d (1/5 + 1/4 + 1/3).
    assert float(waits.mean()) == pytest.approx(6 * (1 / 5 + 1 / 4 + 1 / 3), rel=0.05)
    for (orders, one, posted), (_, other, _) in zip(got, alone, strict=True):
        per_order = gas.commit_gas() * PRICE
        torch.testing.assert_close(one.fee, orders.sent * per_order)
        assert (one.fee <= other.fee).all()
        expected = (float(gas.batch_gas(torch.tensor(4.0))) + gas.root_gas()) * PRICE
        torch.testing.assert_close(posted.fee, torch.full_like(posted.fee, expected))


def test_with_too_few_servers_a_slot_is_lost():
    layer = {"name": "secret_store", "servers": 3, "threshold": 2, "availability": 0.8}
    _, got = run(block([layer]), batch=4000, slots=2)
    lost = torch.stack([one.reverted for _, one, _ in got]).double().mean()
    fewer = 0.2**3 + 3 * 0.8 * 0.2**2
    assert abs(float(lost) - fewer) < 4 * (fewer * (1 - fewer) / 8000) ** 0.5
    with pytest.raises(ConfigError, match="threshold 4 of 3 servers"):
        ledger_sim.make(block([layer | {"threshold": 4}]))


def test_what_lies_in_a_secret_store_stands_on_no_chain():
    shown = disclosure_of(ledger_sim.make(block(["secret_store"])))
    assert (shown.sealed, shown.seats, shown.slots) == (True, 5, 1)
    more = disclosure_of(
        ledger_sim.make(block(["secret_store", {"name": "aggregated_disclosure", "seats": 7}]))
    )
    assert more.seats == 7


def test_any_t_parts_give_the_key_and_fewer_say_nothing():
    key = 123_456_789**7
    parts = split(key, 5, 3)
    for chosen in itertools.combinations(parts, 3):
        assert join({server: parts[server] for server in chosen}) == key
    assert join(parts) == key
    # Of every other key too there is a polynomial through two parts, and a third part for it.
    for other in (0, 1, key + 1, PRIME - 1):
        two = {1: parts[1], 2: parts[2]}
        through = {0: other} | two
        third = 0
        for own, value in through.items():
            weight = value
            for one in through:
                if one != own:
                    weight = weight * (3 - one) * pow(own - one, -1, PRIME) % PRIME
            third += weight
        assert join(two | {3: third % PRIME}) == other
        assert join(two) != key


def test_documents_are_read_by_those_who_may():
    store = DocumentStore(5, 3)
    name = store.put(b"sell 1.25 kWh at 0.11", ["operator", "seat 4"])
    assert store.get(name, "operator") == b"sell 1.25 kWh at 0.11"
    assert store.get(name, "seat 4", there=[5, 1, 3]) == b"sell 1.25 kWh at 0.11"
    assert b"0.11" not in store.stored[name]
    assert store.put(b"sell 1.25 kWh at 0.11", ["operator"]) != name
    with pytest.raises(LedgerError, match="0 servers give 'seat 5'"):
        store.get(name, "seat 5")
    with pytest.raises(LedgerError, match="2 servers give 'operator'"):
        store.get(name, "operator", there=[2, 4])
    with pytest.raises(LedgerError, match="no document"):
        store.get(b"\x00" * 32, "operator")
    store.servers[2].parts[name] += 1
    with pytest.raises(LedgerError, match="a false part"):
        store.get(name, "operator", there=[1, 2, 3])
    store.stored[name] = store.stored[name][:-1] + b"\x00"
    with pytest.raises(LedgerError, match="was changed"):
        store.get(name, "operator")
    for servers, threshold in ((3, 4), (3, 0)):
        with pytest.raises(LedgerError, match=f"threshold is {threshold}"):
            DocumentStore(servers, threshold)


def test_an_altered_settlement_is_refused_where_someone_looks():
    fees = {"rule": "fixed", "price": 3.0, "burned_share": 0.5}
    second = block(interval_s=10.0, fees=fees, **with_size(100))
    layer = {"name": "two_chains", "settlement_ledger": second, "altered_share": 0.3}
    watched = layer | {"verified": True, "verify_s": 2.0}
    robbed, safe, honest = (
        run(block([one]), batch=3000, slots=2)
        for one in (layer, watched, layer | {"altered_share": 0.0})
    )
    lost = torch.stack([got.reverted for _, got, _ in robbed[1]]).double().mean()
    assert float(lost) == pytest.approx(0.3, abs=4 * (0.21 / 6000) ** 0.5)
    assert not any(got.reverted.any() for _, got, _ in (*safe[1], *honest[1]))
    for slot, (_, bad, _) in enumerate(robbed[1]):
        _, _, posted = safe[1][slot]
        _, _, plain = honest[1][slot]
        torch.testing.assert_close(posted.fee - plain.fee, 3.0 * bad.reverted.double())
        torch.testing.assert_close(posted.burned - plain.burned, 1.5 * bad.reverted.double())
        assert ((posted.delay_s - plain.delay_s) >= 2.0 * (1 + bad.reverted.double())).all()
        # All that writing it takes is taken once more, and the refused one stays in its block.
        assert torch.equal(posted.transactions - plain.transactions, bad.reverted.double())
        assert torch.equal(posted.stored_bytes - plain.stored_bytes, 100.0 * bad.reverted)


def test_payments_are_worked_out_again():
    generator = torch.Generator().manual_seed(0)
    cleared = torch.randn(40, generator=generator, dtype=torch.float64)
    price = torch.rand(40, generator=generator, dtype=torch.float64)
    paid = (cleared * price * 1e6).round() / 1e6
    check_copy(cleared, price, paid)
    for seat in range(40):
        forged = paid.clone()
        forged[seat] += 2e-6
        assert [one.seat for one in inconsistencies(cleared, price, forged)] == [seat]
    # Moved from one to another the sum is right, and both are found.
    forged = paid.clone()
    forged[3] -= 0.5
    forged[7] += 0.5
    with pytest.raises(LedgerError, match=r"seat 3 is paid .* 2 of 40 payments differ"):
        check_copy(cleared, price, forged)
    forged[0] = torch.nan
    assert len(inconsistencies(cleared, price, forged)) == 3


def test_a_boss_shard_merges_sub_blocks_after_the_others():
    plain, boss = (
        run(block([{"name": "sharding", "shards": 3, "boss": boss}], **EVM), slots=3)
        for boss in (False, True)
    )
    for (_, one, posted), (_, other, merged) in zip(plain[1], boss[1], strict=True):
        for name in ("included", "latency_s", "fee", "base_fee", "backlog", "reverted"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        # Chains with a regular clock: the boss takes as long as one of the three, which take twice.
        torch.testing.assert_close(other.finality_s, one.finality_s * 1.5)
        torch.testing.assert_close(other.messages, one.messages * 4 / 3)
        torch.testing.assert_close(other.energy_kwh, one.energy_kwh * 4 / 3)
        root = torch.full_like(posted.fee, gas.root_gas() * PRICE)
        torch.testing.assert_close(merged.fee - posted.fee, root)
        torch.testing.assert_close(merged.transactions - posted.transactions, root * 0 + 1)
    state = boss[0].state
    again = ledger_sim.make(block([{"name": "sharding", "shards": 3, "boss": True}], **EVM))
    again.state = state
    quiet = Transactions(torch.zeros(B, N) > 0, torch.zeros(B, N), torch.zeros(B, N))
    assert torch.equal(
        again.step(quiet, DEADLINE_S).finality_s, boss[0].step(quiet, DEADLINE_S).finality_s
    )


def solving(layers=()):
    values = {"dishonest_solvers": 1, "solve_s": 2.0, "solver_power_w": 1e6, "layers": list(layers)}
    return complete_ledger(read("proof_of_solution").model_dump() | values)


@pytest.mark.parametrize(
    ("layers", "shards"),
    [
        ([], 1),
        ([{"name": "two_chains", "settlement_ledger": solving()}], 1),
        ([{"name": "side_chain", "side_ledger": solving()}], 1),
        ([{"name": "sharding", "shards": 3}], 3),
        ([{"name": "sharding", "shards": 3, "boss": True}], 3),
    ],
)
def test_a_refused_clearing_costs_those_who_checked_it_and_once(layers, shards):
    """Nobody who pays, anchors or merges what was cleared checks proposals of it."""
    (ledger, refusing), (_, agreeing) = (run(solving(layers), refused=no) for no in (2.0, 0.0))
    consensus = (ledger.inner if layers else ledger).consensus
    across = 2 if shards > 1 else 1  # what goes across shards waits twice
    assert consensus.refused_s > 0
    assert consensus.refused_kwh > 0
    for (_, _, more), (_, _, less) in zip(refusing, agreeing, strict=True):
        took_s, took_kwh = more.delay_s - less.delay_s, more.energy_kwh - less.energy_kwh
        waits_s, takes_kwh = 2 * across * consensus.refused_s, 2 * shards * consensus.refused_kwh
        torch.testing.assert_close(took_s, torch.full_like(took_s, waits_s))
        torch.testing.assert_close(took_kwh, torch.full_like(took_kwh, takes_kwh))
        for name in ("fee", "burned", "transactions", "stored_bytes"):
            assert torch.equal(getattr(more, name), getattr(less, name)), name
