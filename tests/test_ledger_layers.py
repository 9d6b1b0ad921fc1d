"""Layers on any ledger: what each saves or costs, and the laws that all of them keep."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from reference.channels import break_even_trades, channel_gas_per_trade

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger, option
from gridbazaar.errors import ConfigError, LedgerError, UnknownNameError
from gridbazaar.ledger_sim import MarketTransactions, Transactions, gas
from gridbazaar.ledger_sim.layers import protocol as base
from gridbazaar.sourced import plain, sources

CONFIGS = Path(__file__).parents[1] / "configs"
SLOT_S, DEADLINE_S, N, DAY = 900.0, 860.0, 6, 96
PRICE = 2e-9
EVM = {
    "gas": "evm",
    "block_gas": 6e7,
    "fees": {"rule": "fixed", "price": PRICE, "burned_share": 0.4},
}
BUSY = {
    "interval_s": 35.0,
    "block_gas": 3.0,
    "queue": "tip",
    "fees": {"rule": "fixed", "price": 0.25, "burned_share": 0.3},
}
IDEAL = {"name": "ideal", "slot_s": SLOT_S}
# Layers without the times that they take by themselves.
AT_ONCE = [
    {"name": "channels", "round_trip_s": 0.0},
    {"name": "channels", "carries": "payments"},
    "off_chain_clearing",
    "merkle_batch",
    "sharding",
    {"name": "two_chains", "settlement_ledger": "ideal"},
    {"name": "consortium", "public_ledger": "ideal"},
    {"name": "multisig", "availability": 1.0},
    "pseudonyms",
    "commit_reveal",
    "aggregated_disclosure",
    "noise",
    "homomorphic_aggregation",
    "blind_credentials",
]


def block(layers=(), **changes):
    config = plain(yaml.safe_load((CONFIGS / "ledger" / "block.yaml").read_text()))
    return complete_ledger(config | changes | {"layers": list(layers)})


def day(batch=4, slots=5, seed=0, start_s=700.0, end_s=SLOT_S):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.rand(batch, N, generator=generator, dtype=torch.float64)

    return [
        Transactions(draw() < 0.8, start_s + (end_s - start_s) * draw(), (draw() * 4).round() / 4)
        for _ in range(slots)
    ]


def market_transactions(batch, traders=4.0):
    one = torch.ones(batch, dtype=torch.float64)
    return MarketTransactions(rounds=one, messages=2 * one, orders=5 * one, traders=traders * one)


def run(config, days, seeds=None, market=None):
    """Receipts and market receipts of every slot."""
    batch = len(days[0].sent)
    ledger = ledger_sim.make(config)
    ledger.reset(torch.arange(batch) if seeds is None else torch.as_tensor(seeds))
    market = market or market_transactions(batch)
    return [(ledger.step(t, DEADLINE_S), ledger.submit_market(market)) for t in days]


def everyone(batch=2, submitted_s=800.0):
    like = torch.zeros(batch, N, dtype=torch.float64)
    return Transactions(torch.ones_like(like, dtype=torch.bool), like + submitted_s, like)


def nobody(batch):
    like = torch.zeros(batch, N, dtype=torch.float64)
    return Transactions(torch.zeros_like(like, dtype=torch.bool), like, like)


@pytest.fixture(params=ledger_sim.LAYERS.names())
def name(request):
    return request.param


@pytest.mark.parametrize("changes", [{}, BUSY, EVM])
def test_what_is_paid_is_burned_or_earned(name, changes):
    charged = 0.0
    for got, posted in run(block([name], **changes), day()):
        paid = got.burned + got.validator_income
        torch.testing.assert_close(got.fee.sum(1), paid, rtol=0, atol=1e-12)
        assert (posted.burned <= posted.fee).all()
        charged += float(paid.sum())
    assert charged > 0


@pytest.mark.parametrize("changes", [{}, BUSY])
def test_each_order_is_in_one_state_and_none_is_lost(name, changes):
    nobody = replace(everyone(4), sent=torch.zeros(4, N, dtype=torch.bool))
    days = [*day(slots=12), nobody, nobody]
    still_open = set()
    for slot, (sent, (got, _)) in enumerate(
        zip(days, run(block([name], **changes), days), strict=True)
    ):
        on_chain = got.latency_s.isfinite()
        assert not (on_chain & ~sent.sent).any()
        assert not (got.included & ~on_chain).any()
        assert (got.latency_s >= 0).all()
        assert (sent.submitted_s + got.latency_s)[on_chain].le(SLOT_S + 1e-6).all()
        still_open |= {(b, slot, i) for b, i in (sent.sent & ~on_chain).nonzero().tolist()}
        if got.earlier is not None:
            e = got.earlier
            listed = list(
                zip(e.environment.tolist(), e.slot.tolist(), e.seat.tolist(), strict=True)
            )
            assert len(set(listed)) == len(listed)
            assert (e.block_s >= 0).all()
            assert (e.block_s <= SLOT_S + 1e-6).all()
            assert set(listed) <= still_open
            still_open -= set(listed)
        waiting = torch.tensor([b for b, _, _ in still_open], dtype=torch.int64)
        assert (waiting.bincount(minlength=4) <= got.backlog).all()
        assert (got.finality_s >= 0).all()
    assert not still_open


@pytest.mark.parametrize("changes", [{}, BUSY, EVM])
def test_a_batch_equals_its_environments_alone(name, changes):
    days, seeds = day(batch=3, slots=7), [7, -3, 2**62]
    together = run(block([name], **changes), days, seeds)
    for b, seed in enumerate(seeds):
        mine = [
            Transactions(t.sent[b : b + 1], t.submitted_s[b : b + 1], t.tip[b : b + 1])
            for t in days
        ]
        alone = run(block([name], **changes), mine, [seed])
        for (whole, all_posted), (one, posted) in zip(together, alone, strict=True):
            for field in ("included", "latency_s", "fee", "finality_s", "reverted", "backlog"):
                assert torch.equal(getattr(whole, field)[b], getattr(one, field)[0]), field
            for field in ("fee", "delay_s", "transactions"):
                assert torch.equal(getattr(all_posted, field)[b], getattr(posted, field)[0]), field


@pytest.mark.parametrize("layer", AT_ONCE, ids=str)
def test_on_a_free_and_instant_ledger_the_same_orders_come_in(layer):
    days = day(slots=4, start_s=1.0, end_s=DEADLINE_S - 2.0)
    instant = block(
        [layer],
        interval_s=0.5,
        block_gas=float("inf"),
        confirmations=0,
        fees={"rule": "free"},
        network=block()["network"] | {"submission_delay_s": 0.0},
    )
    ideal = run(IDEAL | {"layers": []}, days)
    for config in (complete_ledger(IDEAL | {"layers": [layer]}), instant):
        for (got, posted), (expected, _) in zip(run(config, days), ideal, strict=True):
            assert torch.equal(got.included, expected.included)
            assert not got.fee.any()
            assert not posted.fee.any()
            assert not got.reverted.any()


@pytest.mark.parametrize("layer", ledger_sim.LAYERS.names())
@pytest.mark.parametrize("deadline_s", [845.0, 860.0, 870.0])
def test_what_is_sent_in_good_time_comes_in_through_a_layer(layer, deadline_s):
    ledger, batch = ledger_sim.make(block([layer])), 400
    ledger.reset(torch.arange(batch))
    sent_s = torch.full((batch, N), deadline_s - ledger.lead_s(deadline_s)).double()
    assert (sent_s >= 0).all()
    sent = torch.ones(batch, N, dtype=torch.bool)
    for _ in range(3):
        got = ledger.step(Transactions(sent, sent_s, torch.ones(batch, N)), deadline_s)
    assert got.included.double().mean() >= 0.97


def test_layers_compose_in_any_order():
    days = day(batch=2, slots=3)
    every = complete_ledger(IDEAL | {"layers": ledger_sim.LAYERS.names()})["layers"]
    carrier = block(**EVM)
    for pair in itertools.permutations(every, 2):
        for config in (carrier | {"layers": list(pair)}, IDEAL | {"layers": list(pair)}):
            for got, posted in run(config, days):
                paid = got.burned + got.validator_income
                torch.testing.assert_close(got.fee.sum(1), paid, rtol=0, atol=1e-12)
                for value in (posted.fee, posted.delay_s, got.finality_s, got.energy_kwh):
                    assert value.isfinite().all(), pair
                    assert (value >= 0).all(), pair


@pytest.mark.parametrize("disputed", [0.0, 1.0])
def test_a_channel_costs_opening_and_closing_whatever_is_traded(disputed):
    layer = {"name": "channels", "dispute_probability": disputed}
    quiet = block(**EVM)["network"] | {"submission_delay_s": 0.0}
    days = [everyone()] * DAY
    got = run(block([layer], **EVM, network=quiet), days)
    dispute = (
        gas.channel_dispute_gas()
        + gas.channel_dispute_gas(1.0)
        + gas.channel_finish_gas()
        - gas.channel_close_gas()
    )
    per_trade = channel_gas_per_trade(
        float(DAY), gas.channel_open_gas(), gas.channel_close_gas(), disputed, dispute
    )
    fees = torch.stack([one.fee for one, _ in got])
    torch.testing.assert_close(fees.sum(0) / DAY, torch.full_like(fees[0], per_trade * PRICE))
    assert not fees[1:-1].any()
    assert not torch.stack([posted.fee for _, posted in got]).any()
    assert all(one.included.all() for one, _ in got)


def test_a_channel_is_cheaper_than_orders_from_the_second_trade_on():
    trades = break_even_trades(
        float(gas.order_gas()), gas.channel_open_gas(), gas.channel_close_gas(), 0.0, 0.0
    )
    assert trades == 2
    assert channel_gas_per_trade(1.0, 43942.0, 47714.0, 0.1, 1000.0) == 91656 + 100


def test_a_dispute_takes_time_and_gas_and_no_more():
    outcomes = []
    for probability in (0.0, 1.0):
        layer = {"name": "channels", "dispute_probability": probability, "challenge_s": 500.0}
        outcomes.append(run(block([layer], **EVM), [everyone()] * DAY))
    for slot, ((calm, paid), (angry, posted)) in enumerate(zip(*outcomes, strict=True)):
        assert torch.equal(calm.included, angry.included)
        assert torch.equal(paid.fee, posted.fee)
        late_s = 500.0 if slot == DAY - 1 else 0.0
        torch.testing.assert_close(angry.finality_s, calm.finality_s + late_s)
        if slot < DAY - 1:
            assert torch.equal(calm.fee, angry.fee)
    torch.testing.assert_close(angry.fee.sum(1), angry.burned + angry.validator_income)


def test_an_order_waits_for_its_channel():
    slow = block(["channels"], interval_s=2000.0, block_gas=100.0)
    got = run(slow, [everyone()] * 4)
    assert not any(one.included.any() for one, _ in got[:2])
    assert (got[1][0].backlog == 3 * N).all()  # two orders and the opening of each
    came = got[2][0].earlier
    assert sorted(came.slot.tolist()) == [0] * 2 * N + [1] * 2 * N
    torch.testing.assert_close(came.block_s, torch.full_like(came.block_s, 200.0))
    assert got[2][0].included.all()


def test_payment_channels_leave_orders_on_the_chain_and_pay_elsewhere():
    still = EVM | {"network": block()["network"] | {"submission_delay_s": 0.0}}
    plain_chain = run(block(**still), day())
    paid = run(block([{"name": "channels", "carries": "payments"}], **still), day())
    for (one, written), (other, cleared) in list(zip(plain_chain, paid, strict=True))[1:]:
        torch.testing.assert_close(one.fee, other.fee)
        settle = gas.settle_gas(4.0) * PRICE
        torch.testing.assert_close(
            written.fee - cleared.fee, torch.full_like(written.fee, float(settle))
        )


def test_clearing_off_the_chain_pays_for_the_batch_and_its_check():
    for checked in (False, True):
        layer = {"name": "off_chain_clearing", "checked": checked, "solve_s": 2.0}
        _, posted = run(block([layer], **EVM), day())[0]
        expected = gas.batch_gas(4.0) + checked * gas.clear_gas(5.0, 0.0, hinted=True)
        torch.testing.assert_close(posted.fee, torch.full_like(posted.fee, expected * PRICE))
        torch.testing.assert_close(posted.delay_s, torch.full_like(posted.delay_s, 2.2))
        assert (posted.transactions == 1).all()


def test_a_root_settles_several_slots_and_claims_take_gas_by_depth():
    layer = {"name": "merkle_batch", "slots_per_root": 4, "slots_per_claim": 8}
    silent = market_transactions(2)
    silent = MarketTransactions(
        silent.rounds * 0, silent.messages * 0, silent.orders, silent.traders
    )
    got = run(block([layer], **EVM), [everyone()] * 16, market=silent)
    roots = torch.stack([posted.fee[0] for _, posted in got])
    root = gas.root_gas() * PRICE
    assert roots.tolist() == pytest.approx([0, 0, 0, root] * 4)
    waits = [float(posted.delay_s[0]) for _, posted in got]
    assert waits[:5] == [3 * SLOT_S, 2 * SLOT_S, SLOT_S, 0, 3 * SLOT_S]
    order, claim = float(gas.order_gas()) * PRICE, float(gas.claim_gas(3.0)) * PRICE
    fees = [float(one.fee[0, 0]) for one, _ in got]
    assert fees == pytest.approx([order] * 7 + [order + claim] + [order] * 7 + [order + claim])
    nobody = run(
        block([layer], **EVM), [everyone()] * 4, market=market_transactions(2, traders=0.0)
    )
    assert float(nobody[3][1].transactions[0]) == 2  # messages alone


def test_one_shard_is_the_ledger_itself():
    one = {"name": "sharding", "shards": 1}
    for (sharded, posted), (whole, written) in zip(
        run(block([one], **BUSY), day(slots=9)), run(block(**BUSY), day(slots=9)), strict=True
    ):
        for field in ("included", "latency_s", "fee", "finality_s", "backlog"):
            assert torch.equal(getattr(sharded, field), getattr(whole, field))
        assert torch.equal(posted.fee, written.fee)


def test_shards_multiply_the_room_and_orders_across_them_pay_twice():
    crowd = torch.zeros(2, 3000, dtype=torch.float64)
    all_at_once = Transactions(crowd == 0, crowd, crowd)
    room = {"interval_s": 9.0, "block_gas": 10.0, "fees": {"rule": "fixed", "price": 1.0}}
    room["fees"] |= {"burned_share": 0.0}
    taken = []
    for shards in (1, 2, 4):
        layer = {"name": "sharding", "shards": shards}
        got, _ = run(block([layer], **room), [all_at_once])[0]
        # In gas, for an order across shards takes two places.
        taken.append(float(got.fee[0].sum()))
        share = (got.fee == 2).sum() / (got.fee > 0).sum()
        # Orders of twice the size take their places alike, as all have arrived.
        spread = 4 * (0.25 / int((got.fee > 0).sum())) ** 0.5
        assert abs(float(share) - (1 - 1 / shards)) <= spread
    # A block whose last place is too small for an order across shards leaves it empty.
    assert taken[1] / taken[0] == pytest.approx(2, rel=0.05)
    assert taken[2] / taken[0] == pytest.approx(4, rel=0.05)


def test_an_order_across_shards_waits_twice_even_into_the_next_slot():
    still = block()["network"] | {"submission_delay_s": 0.0}
    layer = {"name": "sharding", "shards": 2}
    config = block([layer], interval_s=100.0, network=still)
    got = run(config, [everyone(40, 750.0)])[0][0]
    direct = got.latency_s == 50.0
    assert torch.equal(got.latency_s[~direct], torch.full_like(got.latency_s[~direct], 100.0))
    late = run(config, [everyone(40, 840.0), everyone(40, 150.0)])
    waits = late[0][0].latency_s.isinf()
    assert 0.3 < float(waits.double().mean()) < 0.7
    assert torch.equal(late[0][0].backlog, waits.sum(1))
    came = late[1][0].earlier
    assert torch.equal(came.environment.bincount(minlength=40), waits.sum(1))
    torch.testing.assert_close(came.block_s, torch.full_like(came.block_s, 60.0))


def test_two_chains_add_their_finalities_and_each_charges_its_price():
    settlement = block(
        interval_s=10.0, fees={"rule": "fixed", "price": 3.0, "burned_share": 1.0}, layers=[]
    )
    layer = {"name": "two_chains", "settlement_ledger": settlement}
    fees = {"rule": "fixed", "price": 0.5, "burned_share": 0.0}
    (got, posted), (alone, _) = (
        run(block(layers, fees=fees), day())[0] for layers in ([layer], [])
    )
    # Deadline 860 s: the block at 870 and the one that follows it.
    torch.testing.assert_close(got.finality_s, alone.finality_s + 20.0)
    assert torch.equal(got.fee, alone.fee)
    assert posted.fee.tolist() == pytest.approx([0.5 * 3 + 3.0] * 4)
    assert posted.burned.tolist() == pytest.approx([3.0] * 4)


def test_a_consortium_pays_for_an_anchor_now_and_then():
    public = block(interval_s=12.0, fees={"rule": "fixed", "price": 3.0, "burned_share": 1.0})
    private = block()["fees"]["price"] * 3
    for final in ("private", "public"):
        layer = {"name": "consortium", "public_ledger": public, "final": final}
        layer |= {"slots_per_anchor": 2}
        got = run(block([layer]), day(slots=4))
        alone = run(block(), day(slots=4))
        fees = [float(posted.fee[0]) for _, posted in got]
        assert fees == pytest.approx([private, private + 3, private, private + 3])
        for slot, ((one, _), (other, _)) in enumerate(zip(got, alone, strict=True)):
            longer_s = (one.finality_s - other.finality_s)[0]
            waits = SLOT_S * (1 - slot % 2)
            assert float(longer_s) == 0 if final == "private" else longer_s >= waits + 12


def test_an_escrow_opens_to_m_signatures_after_the_mth():
    layer = {"name": "multisig", "availability": 0.7, "signing_delay_s": 6.0}
    got = run(block([layer]), day(batch=4000, slots=2), seeds=range(4000))
    reverted = torch.stack([one.reverted for one, _ in got]).double().mean()
    fewer = 0.3**3 + 3 * 0.7 * 0.3**2
    assert abs(float(reverted) - fewer) < 4 * (fewer * (1 - fewer) / 8000) ** 0.5
    layer["availability"] = 1.0
    got = run(block([layer]), day(batch=4000, slots=2), seeds=range(4000))
    plain_delay = run(block(), day(batch=1, slots=1))[0][1].delay_s
    delay = torch.stack([posted.delay_s for _, posted in got]) - plain_delay
    # The second of three exponentials: d (1/3 + 1/2).
    assert float(delay.mean()) == pytest.approx(5.0, abs=4 * 3.6 / 8000**0.5)
    with pytest.raises(ConfigError, match="required 4 of 3 signers"):
        ledger_sim.make(block([{"name": "multisig", "required": 4}]))


def test_signatures_are_checked_where_gas_is_measured():
    (_, signed), (_, alone) = (run(block(x, **EVM), day())[0] for x in (["multisig"], []))
    expected = 2 * 4040 * PRICE
    torch.testing.assert_close(signed.fee - alone.fee, torch.full_like(alone.fee, expected))


def test_every_layer_has_a_file_and_a_line():
    assert (
        sorted(path.stem for path in (CONFIGS / "layer").glob("*.yaml"))
        == ledger_sim.LAYERS.names()
    )
    assert all(ledger_sim.LAYERS.describe().values())


def test_a_second_ledger_with_layers_counts_gas_as_its_chain_does():
    layer = {"name": "consortium", "public_ledger": block(["pseudonyms"], **EVM)}
    got = run(block([layer | {"slots_per_anchor": 1}], fees={"rule": "free"}), day(slots=2))
    fee = got[1][1].fee
    torch.testing.assert_close(fee, torch.full_like(fee, gas.root_gas() * PRICE))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -5.0])
@pytest.mark.parametrize("field", ["rounds", "messages", "orders", "traders", "gas"])
def test_impossible_postings_are_refused(field, wrong):
    numbers = {name: torch.ones(3) for name in ("rounds", "messages", "orders", "traders", "gas")}
    numbers[field][1] = wrong
    with pytest.raises(LedgerError, match=rf"{field}\[1\] is {wrong}; allowed is 0 to"):
        MarketTransactions(**numbers)
    numbers[field] = torch.ones(2)
    with pytest.raises(LedgerError, match="must have the shape"):
        MarketTransactions(**numbers)


@pytest.mark.parametrize(
    ("layer", "error", "says"),
    [
        ("chanels", UnknownNameError, "did you mean 'channels'"),
        ({"name": "channels", "roundtrip_s": 1}, ConfigError, "did you mean 'round_trip_s'"),
        ({"round_trip_s": 1}, ConfigError, r"layers\.name is missing"),
        ({"name": "sharding", "shards": 0}, ConfigError, r"layers\.sharding\.shards is 0"),
        ({"name": "sharding", "shards": 10**18}, ConfigError, "less than or equal to 1000"),
        (
            {"name": "secret_store", "servers": 10**9, "threshold": 2},
            ConfigError,
            "less than or equal to 1000",
        ),
        ({"name": "channels", "dispute_probability": 1.5}, ConfigError, "less than or equal to 1"),
        ({"name": "channels", "carries": "energy"}, ConfigError, "'payments' or 'orders'"),
        ({"name": "two_chains", "settlement_ledger": "blok"}, UnknownNameError, "mean 'block'"),
        (
            {"name": "two_chains", "settlement_ledger": IDEAL | {"slot_s": 60.0, "layers": []}},
            ConfigError,
            "must be 900",
        ),
    ],
)
def test_a_wrong_layer_is_refused_with_what_is_allowed(layer, error, says):
    with pytest.raises(error, match=says):
        ledger_sim.make(block([layer]))


def test_a_wrong_unit_is_refused():
    epsilon = {"value": 1, "unit": "m", "source": "a study", "status": "published"}
    with pytest.raises(ConfigError, match=r"noise\.epsilon has unit 'm'; it is in '1'"):
        base.wrap(ledger_sim.make(block()), option("layer", "noise") | {"epsilon": epsilon})
    with pytest.raises(ConfigError, match=r"noise\.epsilon has unit 'm'; it is in '1'"):
        ledger_sim.make(block([{"name": "noise", "epsilon": epsilon}]))
    nested = {"layers": [{"name": "noise", "epsilon": epsilon}, "pseudonyms"]}
    assert [entry.status for entry in sources(nested)] == ["given", "published", "given"]


def test_calls_out_of_order_are_refused():
    ledger = ledger_sim.make(block(["pseudonyms"]))
    with pytest.raises(LedgerError, match="before reset"):
        ledger.step(everyone(), DEADLINE_S)
    ledger.reset(torch.arange(2))
    ledger.step(everyone(), DEADLINE_S)
    fewer = Transactions(*(getattr(everyone(), f)[:, :2] for f in ("sent", "submitted_s", "tip")))
    with pytest.raises(LedgerError, match="2 accounts, but 6"):
        ledger.step(fewer, DEADLINE_S)


@pytest.mark.parametrize(
    "layers",
    [
        ["noise"],
        ["aggregated_disclosure"],
        ["homomorphic_aggregation"],
        [{"name": "secret_store", "availability": 1.0}],
        ["noise", "aggregated_disclosure"],
        [{"name": "sharding", "shards": 2}, "noise"],
        [
            {"name": "side_chain", "side_ledger": {"name": "block", "transaction_energy_kwh": 0.5}},
            "noise",
        ],
    ],
    ids=str,
)
def test_whatever_is_written_takes_its_bytes_and_its_energy(layers):
    """Of a chain that counts energy by transactions, and has as many bytes for each."""
    config = block(layers, transaction_energy_kwh=0.5)
    size = config["network"]["transaction_bytes"]
    for _, written in run(config, day()):
        torch.testing.assert_close(written.energy_kwh, 0.5 * written.transactions)
        torch.testing.assert_close(written.stored_bytes, size * written.transactions)


def test_an_order_across_shards_takes_bytes_and_energy_twice():
    busy = BUSY | {"transaction_energy_kwh": 0.5}
    config, days = block([{"name": "sharding", "shards": 2}], **busy), day(slots=12)
    ledger, size = ledger_sim.make(config), config["network"]["transaction_bytes"]
    ledger.reset(torch.arange(4))
    seats, slots = torch.arange(N).expand(4, N), torch.zeros(4, N, dtype=torch.int64)
    row = torch.arange(4).unsqueeze(1).expand(4, N)
    halves, kwh, kept = torch.zeros(3, 4, dtype=torch.float64)
    for number, transactions in enumerate([*days, *[nobody(4)] * 40]):
        got = ledger.step(transactions, DEADLINE_S)
        cross = ledger.crosses(row, seats, slots + number)
        halves += (transactions.sent * (1 + cross.double())).sum(1)
        kwh += got.energy_kwh
        kept += got.stored_bytes - got.header_bytes
        ledger.submit_market(market_transactions(4))
    assert not got.backlog.any()
    torch.testing.assert_close(kwh, 0.5 * halves)
    torch.testing.assert_close(kept, size * halves)


def test_what_goes_across_shards_takes_bytes_twice_as_well_as_fees():
    """Of a chain that counts each transaction: two legs of half of the settlements."""
    plain, shared = (
        run(block(layers), day(), market=market_transactions(4))
        for layers in ([], [{"name": "sharding", "shards": 2}])
    )
    for (_, one), (_, two) in zip(plain, shared, strict=True):
        more = two.transactions / one.transactions
        assert (more > 1).all()
        torch.testing.assert_close(
            two.stored_bytes / two.transactions, one.stored_bytes / one.transactions
        )
