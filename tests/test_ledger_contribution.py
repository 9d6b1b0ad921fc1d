"""Energy contribution: meters make the puzzle easier, and the largest contributor is awarded."""

import pytest
import torch

from gridbazaar import envs, ledger_sim
from gridbazaar.configs import complete_ledger
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim import MarketTransactions, Transactions
from gridbazaar.studies.ledger.configured import read

NAME, B, N = "proof_of_energy_contribution", 3, 4


def built(**changes):
    ledger = ledger_sim.make(complete_ledger(read(NAME).model_dump() | changes))
    ledger.reset(torch.arange(B))
    return ledger


def play(ledger, meters):
    """Energy [T, B] kWh of slots, after each of which the meters [T, B, N] are handed over."""
    nobody = torch.zeros(B, N, dtype=torch.float64)
    quiet = Transactions(nobody > 0, nobody, nobody)
    zero, energy, awards = nobody[:, 0], [], []
    for metered_kwh in meters:
        energy.append(ledger.step(quiet, 870.0).energy_kwh)
        market = MarketTransactions(zero, zero, zero, zero, metered_kwh=metered_kwh)
        awards.append(ledger.submit_market(market).award)
    return torch.stack(energy), awards


def meters(slots=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(slots, B, N, generator=generator, dtype=torch.float64)


def test_a_constant_share_is_moved_by_no_meter():
    energy, awards = play(built(), meters())
    again, _ = play(built(), meters(seed=1))
    assert torch.equal(energy, again)
    # 10 nodes of 200 W for a quarter of an hour, 1 - 0.5 x 0.3 of the work.
    torch.testing.assert_close(energy, torch.full_like(energy, 10 * 0.2 * 0.25 * 0.85))
    assert awards == [None] * 6


def test_metered_work_follows_what_members_feed_in():
    given = meters()
    energy, _ = play(built(contribution="metered", meter_intervals=3), given)
    share = torch.full((B,), 0.3, dtype=torch.float64)
    for slot, metered_kwh in enumerate(given):
        torch.testing.assert_close(energy[slot], 0.5 * (1 - 0.5 * share))
        fed, taken = metered_kwh.clamp(min=0).sum(1), metered_kwh.clamp(max=0).sum(1).abs()
        share = share + ((fed / taken).clamp(max=1) - share) / 3
    assert (energy[2:].max() - energy[2:].min()) > 0.02


def test_more_feed_in_never_makes_more_work():
    for extra in range(1, 4):
        less, _ = play(built(contribution="metered"), meters())
        more, _ = play(built(contribution="metered"), meters() + 0.5 * extra)
        assert (more <= less + 1e-12).all()
    dark, _ = play(built(contribution="metered", meter_intervals=1), torch.zeros(3, B, N).double())
    torch.testing.assert_close(dark, torch.full_like(dark, 0.5 * 0.85))  # nothing to go by
    night = torch.full((3, B, N), -1.0, dtype=torch.float64)
    taken, _ = play(built(contribution="metered", meter_intervals=1), night)
    torch.testing.assert_close(taken[1:], torch.full_like(taken[1:], 0.5))


@pytest.mark.parametrize("layers", [[], [{"name": "sharding", "shards": 3}], ["two_chains"]])
def test_the_largest_contributor_is_awarded(layers):
    given = torch.tensor(
        [
            [[1.0, 3.0, -2.0, 0.5], [2.0, 0.0, 2.0, -9.0], [-1.0, -2.0, 0.0, -4.0]],
            [[0.1, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 5.0, 4.9]],
        ],
        dtype=torch.float64,
    )
    _, awards = play(built(award_eur=0.6, layers=layers), given)
    expected = [
        [[0, 0.6, 0, 0], [0.3, 0, 0.3, 0], [0, 0, 0, 0]],
        [[0.6, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0.6, 0]],
    ]
    torch.testing.assert_close(torch.stack(awards), torch.tensor(expected, dtype=torch.float64))


def test_a_state_remembers_what_meters_said():
    config, given = {"contribution": "metered"}, meters()
    ledger = built(**config)
    play(ledger, given[:3])
    state = ledger.state
    rest, _ = play(ledger, given[3:])
    other = built(**config)
    other.state = state
    again, _ = play(other, given[3:])
    assert torch.equal(rest, again)


def test_in_the_world_the_sun_saves_energy_and_the_award_is_paid_to_seats():
    outcomes = []
    for award in (0.0, 0.2):
        words = (f"ledger.award_eur={award}", "ledger.contribution=metered")
        world = envs.batched("small", "uniform_auction", NAME, words, num_envs=2, seed=3)
        world.reset()
        nothing = torch.zeros(2, world.num_seats, len(world.game.layout.actions))
        day = [world.step(nothing) for _ in range(world.slots)]
        outcomes.append(day)
    plain, paid = outcomes
    energy = torch.stack([interval.receipts.energy_kwh for interval in plain])
    assert (energy[48:60].mean(0) < energy[8:20].mean(0)).all()  # noon against night
    for before, one, other in zip([None, *plain[:-1]], plain, paid, strict=True):
        gained = other.bill.incentive - one.bill.incentive
        torch.testing.assert_close(other.bill.fee, one.bill.fee)  # what is awarded is no fee
        charged = other.receipts.fee.sum(1) + other.market_receipts.fee
        torch.testing.assert_close(-other.bill.fee.sum(1), charged.to(other.bill.fee))
        # Coins are made by whoever pays incentives; together all gain nothing.
        balance = torch.stack([*other.bill.accounts.values()]).sum(0)
        torch.testing.assert_close(balance, torch.zeros_like(balance), rtol=0, atol=1e-4)
        net_kw = torch.zeros(2, world.num_seats) if before is None else before.delivered.net_kw
        first = (net_kw == net_kw.amax(1, keepdim=True)) & (net_kw > 1e-6)
        expected = 0.2 * first / first.sum(1, keepdim=True).clamp(min=1)
        torch.testing.assert_close(gained, expected.to(gained), rtol=0, atol=1e-5)
    assert (
        sum(
            float((o.bill.incentive - p.bill.incentive).sum())
            for p, o in zip(plain, paid, strict=True)
        )
        > 1
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="metered with saves time"):
        built(contribution="metered", saves="time")
    with pytest.raises(LedgerError, match="a reading is finite"):
        play(built(), torch.full((1, B, N), torch.nan))
