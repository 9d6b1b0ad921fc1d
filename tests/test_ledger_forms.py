"""Closed forms of ledgers against published tables, real blocks and the ledgers' own queue."""

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from reference.base_fee import next_base_fee
from reference.channels import break_even_trades, channel_gas_per_trade
from reference.finality import confirmations_needed
from reference.propagation import fork_probability
from reference.tangle import WEIGHT_EXPONENT, weight_growth_per_s
from reference.waiting import wait_for_poisson_blocks, wait_for_regular_blocks
from scipy import stats

from gridbazaar import ledger_sim
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.consensus.finality import catch_up_probability
from gridbazaar.ledger_sim.consensus.propagation import (
    FIBRE_KM_PER_S,
    gossip_hops,
    propagation_s,
    stale_share,
    transfer_s,
)
from gridbazaar.ledger_sim.consensus.quorum import (
    faults_tolerated,
    pbft_messages,
    phase_s,
    quorum,
    round_s,
    votes_s,
)
from gridbazaar.ledger_sim.consensus.tangle import tips
from gridbazaar.ledger_sim.fees.eip1559 import MOST_BASE_FEE, MOST_GAS_TARGET

ROOT = Path(__file__).parents[1]
BLOCKS = ROOT.parent / "shared" / "data" / "ethereum" / "ethereum_blocks_24337593_24338592.parquet"

# Nakamoto 2008, section 11.
NAKAMOTO = {
    0.1: {0: 1.0, 1: 0.2045873, 2: 0.0509779, 3: 0.0131722, 4: 0.0034552, 5: 0.0009137,
          6: 0.0002428, 7: 0.0000647, 8: 0.0000173, 9: 0.0000046, 10: 0.0000012},
    0.3: {0: 1.0, 5: 0.1773523, 10: 0.0416605, 15: 0.0101008, 20: 0.0024804, 25: 0.0006132,
          30: 0.0001522, 35: 0.0000379, 40: 0.0000095, 45: 0.0000024, 50: 0.0000006},
}  # fmt: skip
NEEDED = {0.1: 5, 0.15: 8, 0.2: 11, 0.25: 15, 0.3: 24, 0.35: 41, 0.4: 89, 0.45: 340}


@pytest.mark.parametrize("share", NAKAMOTO)
def test_catching_up_is_as_likely_as_in_the_bitcoin_paper(share):
    blocks, expected = zip(*NAKAMOTO[share].items(), strict=True)
    got = catch_up_probability(share, np.array(blocks), "poisson")
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7)


def test_the_bitcoin_papers_form_is_its_sum():
    for share, blocks in itertools.product((0.02, 0.1, 0.3, 0.45), (1, 2, 7, 30)):
        odds, k = share / (1 - share), np.arange(blocks + 1)
        terms = stats.poisson.pmf(k, blocks * odds) * (1 - odds ** (blocks - k))
        assert catch_up_probability(share, blocks, "poisson") == pytest.approx(
            1 - terms.sum(), abs=1e-12
        )


def test_the_exact_form_is_the_sum_over_the_attackers_blocks():
    table = [0.2, 0.056, 0.01712, 0.005456, 0.001782, 0.000591]
    np.testing.assert_allclose(catch_up_probability(0.1, np.arange(1, 7)), table, atol=5e-7)
    for share, blocks in itertools.product((0.02, 0.1, 0.3, 0.45), (1, 2, 7, 30)):
        odds, k = share / (1 - share), np.arange(blocks + 1)
        terms = stats.nbinom.pmf(k, blocks, 1 - share) * (1 - odds ** (blocks - k))
        assert catch_up_probability(share, blocks) == pytest.approx(1 - terms.sum(), abs=1e-12)


def test_confirmations_for_a_risk_of_a_thousandth():
    assert {q: confirmations_needed(q, 1e-3, "poisson") for q in NEEDED} == NEEDED
    assert confirmations_needed(0.0, 1e-9) == 1
    assert confirmations_needed(0.1, 1e-3) == 6
    for share, risk in itertools.product((0.01, 0.2, 0.4, 0.499), (0.9, 1e-2, 1e-6)):
        z = confirmations_needed(share, risk)
        assert catch_up_probability(share, z) < risk <= catch_up_probability(share, z - 1)


@pytest.mark.parametrize("form", ["exact", "poisson"])
def test_more_confirmations_and_a_smaller_attacker_are_safer(form):
    share, blocks = np.linspace(0, 1, 41)[:, None], np.arange(60)
    probability = catch_up_probability(share, blocks, form)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability, axis=0) >= -1e-15).all()
    assert (np.diff(probability, axis=1) <= 1e-15).all()
    assert (probability[:, 0] == 1).all()
    assert (probability[20:] == 1).all()
    assert (probability[0, 1:] == 0).all()


def specified(base_fee, gas_used, gas_target):
    """EIP-1559's own code, in Python's big integers."""
    if gas_used == gas_target:
        return base_fee
    if gas_used > gas_target:
        return base_fee + max(base_fee * (gas_used - gas_target) // gas_target // 8, 1)
    return base_fee - base_fee * (gas_target - gas_used) // gas_target // 8


@pytest.mark.parametrize(("used", "after"), [(60_000_000, 3_247_321_023), (0, 263_075_578)])
def test_ten_full_and_ten_empty_blocks(used, after):
    fee = torch.tensor([10**9])
    for _ in range(10):
        fee = next_base_fee(fee, torch.tensor([used]), 30_000_000)
    assert fee.tolist() == [after]


def test_the_base_fee_is_that_of_big_integers():
    generator = np.random.default_rng(0)
    count = 20_000
    fee = (2 ** generator.uniform(0, 62, count)).astype(np.int64) - 1
    target = (2 ** generator.uniform(0, 30, count)).astype(np.int64).clip(1, MOST_GAS_TARGET)
    used = (generator.uniform(0, 1, count) * (2 * target + 2)).astype(np.int64)
    used[::9] = target[::9]
    used[1::9] = 2 * target[1::9] + 1
    fee[:3], target[:3], used[:3] = MOST_BASE_FEE, MOST_GAS_TARGET, (0, 2**31 - 1, 2**30)
    got = next_base_fee(*(torch.from_numpy(value) for value in (fee, used, target)))
    rows = zip(fee.tolist(), used.tolist(), target.tolist(), strict=True)
    assert got.tolist() == [specified(*row) for row in rows]


def test_the_base_fee_of_a_thousand_real_blocks():
    if not BLOCKS.exists():
        pytest.skip(f"{BLOCKS.name} is not in shared/data/ethereum")
    frame = pd.read_parquet(BLOCKS).sort_values("number")
    assert (frame["number"].diff().dropna() == 1).all()
    names = ("base_fee_per_gas", "gas_used", "gas_limit")
    fee, used, limit = (torch.from_numpy(frame[name].to_numpy().copy()) for name in names)
    following = next_base_fee(fee[:-1], used[:-1], limit[:-1] // 2)
    assert following.numel() == 999
    assert torch.equal(following, fee[1:])


@pytest.mark.parametrize(
    ("rate", "poisson", "regular"),
    [(5, 1.3246, 0.5047), (8, 2.9223, 0.6098), (9, 5.6603, 0.8446)],
)
def test_waits_are_those_of_the_table(rate, poisson, regular):
    assert wait_for_poisson_blocks(rate, 10) == pytest.approx(poisson, abs=5e-5)
    assert wait_for_regular_blocks(rate, 10) == pytest.approx(regular, abs=5e-5)


def spitzer(rate, places):
    """E[Q]/a + 1/2 by Spitzer's identity, up to the first terms that no longer count."""
    turn = np.arange(1, 20_000)
    mean, full = rate * turn, places * turn
    excess = mean * stats.poisson.sf(full - 1, mean) - full * stats.poisson.sf(full, mean)
    return 0.5 + (excess / turn).sum() / rate


@pytest.mark.parametrize("places", [1, 2, 10, 300])
def test_waits_for_regular_blocks_are_spitzers_sum(places):
    load = np.array([0.05, 0.5, 0.8, 0.95])
    expected = [spitzer(a, places) for a in load * places]
    np.testing.assert_allclose(wait_for_regular_blocks(load * places, places), expected, rtol=1e-9)


def test_waits_at_the_ends_of_the_load():
    # One place: M/M/1, and M/D/1 with the block's own interval counted from its start.
    load = np.array([0.1, 0.5, 0.99])
    np.testing.assert_allclose(wait_for_poisson_blocks(load, 1), 1 / (1 - load), rtol=1e-12)
    np.testing.assert_allclose(
        wait_for_regular_blocks(load, 1), 0.5 + load / (2 * (1 - load)), rtol=1e-12
    )
    for wait, quiet in ((wait_for_poisson_blocks, 1.0), (wait_for_regular_blocks, 0.5)):
        assert wait(1e-3, 10) == pytest.approx(quiet, abs=1e-9)
        rising = wait(np.linspace(0.1, 9.99, 200), 10)
        assert (np.diff(rising) >= -1e-12).all()
        assert (wait(np.array([10.0, 11.0]), 10) == math.inf).all()
        assert wait(9.999, 10) > 400


PLACES, PER_SLOT = 10, 50  # places per block, blocks per slot


def block_ledger(queue):
    """The block ledger with one block per second, free and without delays."""
    raw = yaml.safe_load((ROOT / "configs" / "ledger" / "block.yaml").read_text())
    network = raw["network"] | {"submission_delay_s": 0.0}
    return ledger_sim.make(
        raw
        | {"slot_s": float(PER_SLOT), "interval_s": 1.0, "block_gas": PLACES}
        | {"queue": queue, "network": network}
    )


def gaps_and_arrivals(rate, poisson, shape, generator):
    """Times between blocks, all 1 or random, and how many transactions come in each."""
    gap = torch.ones(shape, dtype=torch.float64)
    if poisson:
        gap.exponential_(generator=generator)
    return gap, torch.poisson(rate * gap, generator=generator)


def total_waits(rate, poisson, queue, batch=16, slots=6):
    """Wait in intervals of all that is sent: the ledger's sum, and Lindley's on the same draws.

    The ledger's clock counts blocks. Where they are to come at random, it is read as a time that
    passes at a random pace: `time` [batch, blocks + 1] holds when each block comes. Lindley's sum
    counts what each block leaves behind, Q' = max(Q + A - B, 0), which waits for the next.
    """
    generator = torch.Generator().manual_seed(1)
    ledger = block_ledger(queue)
    ledger.reset(torch.arange(batch))
    spread = rate + rate**2 if poisson else rate
    seats = int(rate * PER_SLOT + 8 * math.sqrt(spread * PER_SLOT))
    column = torch.arange(seats, dtype=torch.float64).expand(batch, seats).contiguous()
    time = torch.zeros(batch, 1, dtype=torch.float64)
    waited, lindley, left = 0.0, 0.0, torch.zeros(batch, dtype=torch.float64)
    for slot in range(slots + 6):  # the last ones only empty the queue
        load = rate * (slot < slots)
        gap, arrived = gaps_and_arrivals(load, poisson, (batch, PER_SLOT), generator)
        time = torch.cat([time, time[:, -1:] + gap.cumsum(1)], dim=1)
        ends = arrived.cumsum(1)
        assert ends.max() <= seats
        sent = column < ends[:, -1:]
        block = torch.searchsorted(ends, column, right=True).clamp(max=PER_SLOT - 1)
        part, tip = torch.rand(2, batch, seats, dtype=torch.float64, generator=generator)
        got = ledger.step(Transactions(sent, block + part, tip), float(PER_SLOT))
        sent_at = time.gather(1, slot * PER_SLOT + block) + part * gap.gather(1, block)
        on_chain = got.latency_s.isfinite()
        row = on_chain.nonzero()[:, 0]
        reached = (block + part + got.latency_s)[on_chain].round().long() + slot * PER_SLOT
        waited += float(time[row, reached].sum() - sent_at[sent].sum())
        if got.earlier is not None:
            reached = got.earlier.block_s.round().long() + slot * PER_SLOT
            waited += float(time[got.earlier.environment, reached].sum())
        lindley += float(((1 - part) * gap.gather(1, block))[sent].sum())
        for number in range(PER_SLOT):
            lindley += float((left * gap[:, number]).sum())
            left = (left + arrived[:, number] - PLACES).clamp(min=0)
    assert not got.backlog.any()
    return waited, lindley


@pytest.mark.parametrize("queue", ["fifo", "tip"])
@pytest.mark.parametrize("poisson", [False, True])
@pytest.mark.parametrize("rate", [5.0, 8.0, 9.0])
def test_the_ledgers_queue_is_lindleys(rate, poisson, queue):
    """Draw by draw, so that the ledger's mean wait is the one that the next test looks at."""
    ledger, lindley = total_waits(rate, poisson, queue)
    assert ledger == pytest.approx(lindley, rel=1e-9)


@pytest.mark.parametrize("poisson", [False, True])
@pytest.mark.parametrize("rate", [5.0, 8.0, 9.0])
def test_lindleys_queue_waits_as_the_forms_say(rate, poisson):
    """Over so many queues that five standard errors are less than the 2 % allowed.

    Until its own block, a transaction waits half an interval, or a whole one where they are random.
    """
    queues, start, blocks = (12_000, 1200, 2000) if poisson and rate > 8 else (8000, 400, 900)
    generator, left, behind = torch.Generator().manual_seed(1), torch.zeros(()), []
    for _ in range(blocks):
        _, arrived = gaps_and_arrivals(rate, poisson, (queues,), generator)
        left = (left + arrived - PLACES).clamp(min=0)
        behind.append(float(left.mean()))
    wait = (1.0 if poisson else 0.5) + np.mean(behind[start:]) / rate
    form = wait_for_poisson_blocks if poisson else wait_for_regular_blocks
    assert wait == pytest.approx(form(rate, PLACES), rel=0.02)


def test_stale_blocks_are_those_of_simblock():
    # SimBlock, 300 nodes, mean propagation 1.11 s: share of stale blocks by interval.
    measured = {30.0: 0.0323, 10.0: 0.0991, 5.0: 0.1745, 2.0: 0.3375}
    for interval_s, stale in measured.items():
        assert stale_share(1.11, interval_s) == pytest.approx(stale, rel=0.15)


def test_forks_in_bitcoin():
    # Decker and Wattenhofer 2013: 1.78 % expected, 1.69 % observed.
    assert fork_probability(11.37, 633.68) == pytest.approx(0.0178, abs=5e-5)
    assert fork_probability(11.37, 633.68) == pytest.approx(0.0169, rel=0.06)
    delay_s = torch.tensor([0.0, 1e-12, 0.5, 12.0], dtype=torch.float64)
    for form in (fork_probability, stale_share):
        batch = form(delay_s, 12.0)
        assert batch.tolist() == pytest.approx([form(d, 12.0) for d in delay_s.tolist()])
        assert batch[1] == pytest.approx(1e-12 / 12, rel=1e-9)
        assert (batch[1:] > batch[:-1]).all()


def test_data_travel_by_size_distance_and_hops():
    assert transfer_s(125_000.0, 1000.0) == pytest.approx(1.0)
    assert transfer_s(1e9, math.inf) == 0
    assert propagation_s(0.0, 1000.0, FIBRE_KM_PER_S, 3) == pytest.approx(3.0)
    size = torch.tensor([0.0, 125_000.0])
    assert propagation_s(size, 1000.0, FIBRE_KM_PER_S, 2).tolist() == pytest.approx([2.0, 4.0])


def test_gossip_reaches_a_full_tree_of_neighbours():
    assert [gossip_hops(n, 2) for n in (1, 2, 3, 4, 7, 8, 15, 16)] == [0, 1, 1, 2, 2, 3, 3, 4]
    assert [gossip_hops(n, 8) for n in (9, 10, 73, 74)] == [1, 2, 2, 3]
    assert gossip_hops(5, 1) == 4


def test_pbft_messages_are_those_of_its_phases():
    expected = {4: 24, 7: 84, 10: 180, 13: 312, 22: 924, 40: 3120}
    assert {n: pbft_messages(n) for n in expected} == expected
    assert pbft_messages(torch.tensor(list(expected))).tolist() == list(expected.values())
    for n in expected:
        assert pbft_messages(n) == (n - 1) + (n - 1) ** 2 + n * (n - 1)


def test_two_quorums_share_an_honest_validator_and_the_honest_are_enough():
    n = torch.arange(1, 200)
    f, votes = faults_tolerated(n), quorum(n)
    assert (2 * votes - n >= f + 1).all()
    assert (votes <= n - f).all()
    assert (3 * f < n).all()
    whole = 3 * f + 1 == n
    assert torch.equal(votes[whole], 2 * f[whole] + 1)
    assert [quorum(4), quorum(27), quorum(40)] == [3, 19, 27]


def test_votes_come_like_order_statistics():
    assert votes_s(1.0, 4, 3) == pytest.approx(1.0833, abs=5e-5)
    assert votes_s(1.0, 10, 7) == pytest.approx(1.0956, abs=5e-5)
    generator = np.random.default_rng(0)
    for senders in (4, 7, 22, 40):
        votes, draws = quorum(senders), 40_000
        came = np.sort(generator.exponential(0.3, (draws, senders)), axis=1)[:, votes - 1]
        error = came.std() / math.sqrt(draws)
        assert abs(came.mean() - votes_s(0.3, senders, votes)) < 4 * error
    delay_s = torch.tensor([0.0, 2.0], dtype=torch.float64)
    assert votes_s(delay_s, 4, 3).tolist() == pytest.approx([0.0, 2 * votes_s(1.0, 4, 3)])


def test_a_round_takes_its_delays_and_its_bytes():
    still = round_s(0.1, 10, 1e5, 200, math.inf)
    assert still == pytest.approx(3 * votes_s(0.1, 10, 7))
    # 9 copies of 100 kB and twice 9 votes of 200 B, at 1,000 kbit/s.
    assert round_s(0.1, 10, 1e5, 200, 1000.0) == pytest.approx(still + 7.2 + 2 * 0.0144)
    assert phase_s(0.0, 40, 1000.0, 312.0) == pytest.approx(1.0)
    times = [round_s(0.1, n, 1e4, 200, 1000.0) for n in range(4, 60, 3)]
    assert times == sorted(times)


def test_tips_and_weight_of_a_tangle():
    assert tips(50.0, 2.0) == 200
    assert tips(torch.tensor([0.0, 3.0]), 0.5).tolist() == [0.0, 3.0]
    assert pytest.approx(0.35173, abs=5e-6) == WEIGHT_EXPONENT
    assert WEIGHT_EXPONENT * math.exp(WEIGHT_EXPONENT) == pytest.approx(0.5, rel=1e-12)
    assert weight_growth_per_s(10.0) == pytest.approx(0.035173, abs=5e-7)


def test_a_grown_tangle_has_so_many_tips():
    generator = np.random.default_rng(0)
    rate, delay_s, count = 60.0, 1.0, 12_000
    arrival = generator.exponential(1 / rate, count).cumsum()
    # Seen from delay_s after arrival on; gone once an approval of it is seen.
    seen, gone = arrival + delay_s, np.full(count, np.inf)
    number = []
    for new in range(count):
        first = max(0, np.searchsorted(seen, arrival[new] - 30 * delay_s))
        known = np.searchsorted(seen, arrival[new], side="right")
        visible = first + np.flatnonzero(gone[first:known] > arrival[new])
        if len(visible):
            chosen = generator.choice(visible, 2)
            gone[chosen] = np.minimum(gone[chosen], seen[new])
        if new > count // 4 and new % 20 == 0:  # nothing approves them yet, seen or unseen
            number.append((gone[:new] - delay_s > arrival[new]).sum())
    assert np.mean(number) == pytest.approx(tips(rate, delay_s), rel=0.05)


def test_channels_pay_from_the_second_trade_on():
    gas = {"opening_gas": 43_942.0, "closing_gas": 47_714.0}
    for p, dispute, n in ((0.0, 0.0, 1.0), (0.1, 60_000.0, 4.0), (1.0, 60_000.0, 50.0)):
        got = channel_gas_per_trade(n, **gas, dispute_probability=p, dispute_gas=dispute)
        assert got == pytest.approx((91_656 + p * dispute) / n)
    n = torch.tensor([1.0, 2.0])
    per_trade = channel_gas_per_trade(n, **gas, dispute_probability=0.0, dispute_gas=0.0)
    assert per_trade.tolist() == [91_656, 45_828]
    for bid_gas in (51_600, 53_100):
        undisputed = {"dispute_probability": 0.0, "dispute_gas": 0.0}
        assert break_even_trades(bid_gas, **gas, **undisputed) == 2
        disputed = {"dispute_probability": 0.5, "dispute_gas": 60_000.0}
        assert break_even_trades(bid_gas, **gas, **disputed) == 3
    even = {"opening_gas": 50.0, "closing_gas": 50.0, "dispute_probability": 0, "dispute_gas": 0}
    assert break_even_trades(50.0, **even) == 3  # with two it is as dear


ONE = torch.tensor([1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: catch_up_probability([0.1, 1.5], 3), r"attacker_share is 1.5; allowed is 0 to 1"),
        (lambda: catch_up_probability(math.nan, 3), "attacker_share is nan"),
        (lambda: catch_up_probability(0.1, -1), "confirmations is -1.0"),
        (lambda: catch_up_probability(0.1, 1, "precise"), "'precise'; it is 'exact' or"),
        (lambda: confirmations_needed(0.5, 1e-3), "a majority overtakes"),
        (lambda: confirmations_needed(0.1, 0.0), "risk is 0.0"),
        (lambda: confirmations_needed(0.5 - 1e-12, 1e-9), "more than 1099511627776 confirmations"),
        (lambda: next_base_fee(ONE.double(), ONE, 1), "base_fee has dtype torch.float64"),
        (lambda: next_base_fee(ONE << 63, ONE, 1), "base_fee is -9223372036854775808"),
        (lambda: next_base_fee((ONE << 62) + 1, ONE, 1), "base_fee is 4611686018427387905"),
        (lambda: next_base_fee(ONE, ONE, 0), "gas_target is 0; allowed is 1 to 1073741823"),
        (lambda: next_base_fee(ONE, ONE, 2**30), "gas_target is 1073741824"),
        (lambda: next_base_fee(ONE, -ONE, 5), "gas_used is -1; allowed is 0 or more"),
        (lambda: next_base_fee(ONE, ONE * 12, 5), "exceeds the block's limit"),
        (lambda: wait_for_poisson_blocks(0.0, 5), "arrivals is 0.0"),
        (lambda: wait_for_regular_blocks([1.0, math.inf], 5), "arrivals is inf"),
        (lambda: wait_for_regular_blocks(1.0, 2.5), "places is 2.5; allowed is a whole number"),
        (lambda: wait_for_poisson_blocks(1.0, math.inf), "places is inf"),
        (lambda: fork_probability(torch.tensor([1.0, -2.0]), 5.0), "delay_s is -2.0"),
        (lambda: stale_share(1.0, 0.0), "interval_s is 0.0; allowed is above 0 s"),
        (lambda: transfer_s(1.0, 0.0), "bandwidth_kbit_s is 0.0"),
        (lambda: propagation_s(-1.0, 1.0, 0.0, 1), "size_bytes is -1.0"),
        (lambda: gossip_hops(0, 2), "nodes is 0"),
        (lambda: quorum(torch.tensor([4, 0])), "validators is 0; allowed is 1 or more"),
        (lambda: votes_s(1.0, 4, 5), "votes is 5; allowed is 1 to 4"),
        (lambda: tips(1.0, 0.0), "delay_s is 0.0"),
        (lambda: channel_gas_per_trade(0.0, 1, 1, 0, 0), "trades is 0.0"),
        (lambda: break_even_trades(1.0, 1, 1, 1.5, 0), "dispute_probability is 1.5"),
        (lambda: break_even_trades(1.0, -1, 1, 0.5, 0), "opening_gas is -1"),
    ],
)
def test_arguments_out_of_range_are_named(call, message):
    with pytest.raises(LedgerError, match=message):
        call()
