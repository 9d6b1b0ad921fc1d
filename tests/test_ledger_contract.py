"""The contract on an EVM: it clears as the project's auction does, and takes nobody's money."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

pytest.importorskip("vyper", reason="the contract needs the extra: pip install 'gridbazaar[evm]'")
pytest.importorskip("eth", reason="the contract needs the extra: pip install 'gridbazaar[evm]'")

from eth_abi import encode
from eth_hash.auto import keccak

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import MARKETS, Clearing, Context, Orders
from gridbazaar.studies.contract.compiled import MECHANISMS
from gridbazaar.studies.contract.entries import (
    CLOSE,
    ORDER,
    STATE,
    Book,
    fills,
    leaf,
    merkle_levels,
    merkle_proof,
    random_book,
    word,
)
from gridbazaar.studies.contract.evm import CHAIN_ID, MarketContract, RefusedError, private_key

F64 = torch.float64
BOOKS, NEVER = 1_000, 10**6
DEPOSIT = 10**17


def auction(books: list[Book], k: float) -> Clearing:
    """Clear books by the project's own auction; Wh stand for kW, so that floats are exact."""
    N = max(len(book.price) for book in books)
    quantity, price = torch.zeros(2, len(books), N, dtype=F64)
    for b, book in enumerate(books):
        n = len(book.price)
        quantity[b, :n] = torch.from_numpy(np.where(book.is_bid, -book.energy, book.energy))
        price[b, :n] = torch.from_numpy(book.price)
    orders = Orders(quantity, price, torch.zeros_like(price))
    edge = torch.zeros(len(books), 1, dtype=F64)
    market = MARKETS["uniform_auction"]
    config = validate(market.Config, {**option("market", "uniform_auction"), "k": k})
    return market(config).clear(orders, Context(edge, edge, 1.0))


def matches(exact: float, whole: int) -> bool:
    """Whole numbers equal exact ones where those are whole, and else are off by less than 1."""
    if abs(exact - round(exact)) < 1e-6:
        return whole == round(exact)
    return abs(exact - whole) < 1


def energy(book: Book, bought, sold) -> list[int]:
    """Each order's energy in the book's order, positive sold."""
    sides = {True: iter(bought), False: iter(sold)}
    return [next(sides[bid]) * (-1 if bid else 1) for bid in book.is_bid.tolist()]


def check(book: Book, clearing: Clearing, b: int, price: int, volume: int, trades: list[int]):
    exact = clearing.cleared_kw[b].tolist()[: len(trades)]
    assert abs(volume - clearing.volume_kw[b].item()) < 1e-6  # a sum of floats, of a whole number
    assert sum(trades) == 0
    assert sum(abs(trade) for trade in trades) == 2 * volume
    assert all(map(matches, exact, trades)), (exact, trades)
    assert matches(clearing.reference_price[b].item(), price) if volume else price == 0
    limit = (book.energy.tolist(), book.price.tolist(), book.is_bid.tolist(), trades)
    for offered, at, is_bid, trade in zip(*limit, strict=True):
        assert abs(trade) <= offered
        assert trade == 0 or (at >= price if is_bid else at <= price)


@pytest.mark.parametrize(("k", "seed"), [(0.5, 0), (0.3, 1)])
def test_a_thousand_random_books_clear_as_in_the_auction(k, seed):
    contract = MarketContract(k=k)
    generator = np.random.default_rng(seed)
    books = []
    for i in range(BOOKS // 2):
        bids, asks = generator.integers(0, 15 if i % 50 == 0 else 7, 2)
        tick = (1, 20_000, 50_000)[i % 3]
        books.append(random_book(generator, int(bids), int(asks), overlap=0.3, tick=tick))
    clearing = auction(books, k)
    rationed = fractions = 0
    for b, book in enumerate(books):
        sides = (*book.side(True), *book.side(False))
        price, volume, bought, sold = contract.view("clear_book", *sides)
        trades = energy(book, bought, sold)
        check(book, clearing, b, price, volume, trades)
        partly = [abs(t) for t, q in zip(trades, book.energy, strict=True) if 0 < abs(t) < q]
        rationed += len(partly) > 1
        exact = clearing.cleared_kw[b]
        fractions += bool(((exact - exact.round()).abs() > 1e-6).any())
    assert rationed > 50
    assert fractions > 50


@functools.cache
def community() -> MarketContract:
    """A market of 24 accounts, numbered as they registered."""
    contract = MarketContract(k=0.5, penalty=40_000, reveal_s=300)
    for account in range(1, 25):
        contract.send(account, "register")
    return contract


def submit(contract: MarketContract, interval: int, book: Book) -> None:
    orders = zip(book.is_bid.tolist(), book.price.tolist(), book.energy.tolist(), strict=True)
    for i, order in enumerate(orders):
        contract.send(i + 1, "place_order", interval, *order)


def trades_of(contract: MarketContract, interval: int, accounts: int) -> list[int]:
    return [contract.view("trades", interval, i + 1) for i in range(accounts)]


@pytest.mark.parametrize("seed", range(5))
def test_submitted_books_clear_as_in_the_auction_sorted_or_hinted(seed):
    contract = community()
    tick = 1 if seed % 2 else 25_000
    book = random_book(np.random.default_rng(seed), 6 + seed, 12 - 2 * seed, 0.2, tick)
    clearing, N = auction([book], 0.5), len(book.price)
    first, second = contract.open_interval(), contract.open_interval() + 1
    submit(contract, first, book)
    submit(contract, second, book)
    contract.close(second)
    contract.send(7, "clear", first)
    contract.send(8, "clear_hinted", second, book.ranking(True), book.ranking(False))
    found = []
    for interval in (first, second):
        cleared, price, volume = contract.view("result", interval)
        assert cleared
        found.append((price, volume, trades_of(contract, interval, N)))
        check(book, clearing, 0, *found[-1])
    assert found[0] == found[1]


def cleared_interval(contract: MarketContract, seed: int = 3) -> tuple[int, list[int]]:
    """Submit and clear a book of twelve orders; return the interval and its trades."""
    book = random_book(np.random.default_rng(seed), 6, 6, 0.4)
    interval = contract.open_interval()
    submit(contract, interval, book)
    contract.close(interval)
    contract.send(0, "clear", interval)
    return interval, trades_of(contract, interval, 12)


def balances(contract: MarketContract) -> list[int]:
    return [contract.view("balances", i) for i in range(25)]


def refuses(reason: str):
    return pytest.raises(RefusedError, match=reason)


def test_settlement_pays_the_price_less_penalties_and_sums_to_zero():
    contract = community()
    interval, trades = cleared_interval(contract)
    _, price, _ = contract.view("result", interval)
    before = balances(contract)
    metered = {i + 1: trade + 10 * i for i, trade in enumerate(trades) if trade}
    readings = [word(account, energy) for account, energy in metered.items()]
    contract.send(0, "settle", interval, readings)
    change = [after - b for after, b in zip(balances(contract), before, strict=True)]
    for account, reading in metered.items():
        trade = trades[account - 1]
        assert change[account] == price * trade - 40_000 * abs(reading - trade)
    assert change[0] == 40_000 * sum(abs(r - trades[a - 1]) for a, r in metered.items()) > 0
    assert sum(change) == 0
    with refuses("done already"):
        contract.send(0, "settle", interval, readings[:1])
    without = next(i + 1 for i, trade in enumerate(trades) if not trade)
    with refuses("no trade"):
        contract.send(0, "settle", interval, [word(without, 5)])
    with refuses("operator only"):
        contract.send(1, "settle", interval, [])


def test_net_payments_of_a_clearing_elsewhere_sum_to_zero_or_are_refused():
    contract = community()
    interval, before = contract.open_interval(), balances(contract)
    contract.close(interval)
    payments = {1: 5 * 10**9, 2: -3 * 10**9, 3: -2 * 10**9}
    words = [word(*payment) for payment in payments.items()]
    with refuses("sum to zero"):
        contract.send(0, "settle_net", interval, 200_000, 900, words[:2])
    with refuses("operator only"):
        contract.send(1, "settle_net", interval, 200_000, 900, words)
    contract.send(0, "settle_net", interval, 200_000, 900, words)
    after = balances(contract)
    assert all(after[i] - before[i] == payments.get(i, 0) for i in range(25))
    assert contract.view("result", interval) == (True, 200_000, 900)
    for again in (("settle_net", interval, 200_000, 900, words), ("clear", interval)):
        with refuses("cleared already"):
            contract.send(0, *again)


def test_orders_are_refused_where_they_break_a_rule():
    contract = community()
    interval = contract.open_interval()
    for wrong in ((200_000, 0), (2**64, 100), (200_000, 2**64)):
        with refuses("out of range"):
            contract.send(1, "place_order", interval, True, *wrong)
    with refuses("register first"):
        contract.send(30, "place_order", interval, True, 200_000, 100)
    with refuses("registered already"):
        contract.send(1, "register")
    with refuses("interval open"):
        contract.send(1, "clear", interval)
    contract.send(1, "place_order", interval, True, 200_000, 100)
    contract.send(2, "place_order", interval, True, 210_000, 100)
    contract.close(interval)
    with refuses("interval closed"):
        contract.send(1, "place_order", interval, True, 200_000, 100)
    for hint, reason in (([0, 1], "order"), ([1, 1], "order"), ([1, 2], "order"), ([1], "length")):
        with refuses(reason):
            contract.send(1, "clear_hinted", interval, hint, [])
    contract.send(1, "clear_hinted", interval, [1, 0], [])
    assert contract.view("result", interval) == (True, 0, 0)
    with refuses("cleared already"):
        contract.send(1, "clear", interval)


def test_a_full_book_takes_no_more_orders():
    contract = MarketContract()
    contract.send(1, "register")
    interval = contract.open_interval()
    for _ in range(256):
        contract.send(1, "place_order", interval, False, 200_000, 100)
    with refuses("book full"):
        contract.send(1, "place_order", interval, False, 200_000, 100)
    contract.send(1, "place_order", interval, True, 200_000, 100)
    contract.close(interval)
    contract.send(1, "clear", interval)
    assert contract.view("result", interval) == (True, 200_000, 100)


def test_a_relayed_order_is_its_traders_own_and_counts_once():
    contract = community()
    trader, interval = contract.evm.address(5), contract.open_interval()
    _, nonce = contract.view("account_of", trader)
    order = (interval, False, 150_000, 700)
    signature = contract.sign(5, ORDER, trader, *order, nonce)
    v, r, s = signature
    for wrong in ((v, r, s + 1), (v ^ 1, r, s), contract.sign(6, ORDER, trader, *order, nonce)):
        with refuses("sign"):
            contract.send(9, "place_signed_order", trader, *order, *wrong)
    with refuses("not signed"):
        changed = (interval, False, 150_001, 700)
        contract.send(9, "place_signed_order", trader, *changed, *signature)
    contract.send(9, "place_signed_order", trader, *order, *signature)
    with refuses("not signed"):
        contract.send(9, "place_signed_order", trader, *order, *signature)
    contract.send(6, "place_order", interval, True, 250_000, 700)
    contract.close(interval)
    contract.send(0, "clear", interval)
    assert trades_of(contract, interval, 6) == [0, 0, 0, 0, 700, -700]


def test_a_wallet_signs_the_same_bytes():
    account = pytest.importorskip("eth_account", reason="needs eth-account, of the extra dev")
    from eth_account.messages import encode_typed_data

    contract = community()
    trader = contract.evm.address(5)
    names = ("trader", "interval", "isBid", "price", "energy", "nonce")
    values = (trader, 2_000_001, True, 210_000, 800, 7)
    fields = [f.split() for f in ORDER[ORDER.index("(") + 1 : -1].split(",")]
    message = encode_typed_data(
        {
            "name": "GridBazaar",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": contract.address,
        },
        {"Order": [{"name": name, "type": kind} for kind, name in fields]},
        dict(zip(names, values, strict=True)),
    )
    signed = account.Account.sign_message(message, private_key(5).to_bytes())
    assert (signed.v, signed.r, signed.s) == contract.sign(5, ORDER, *values)


def test_hidden_orders_open_only_as_committed_and_in_time():
    contract = community()
    interval, salt = contract.open_interval(), b"s" * 32
    types = ["address", "uint256", "bool", "uint256", "uint256", "bytes32"]
    order = (interval, True, 240_000, 300)
    hidden = keccak(encode(types, [contract.evm.address(3), *order, salt]))
    contract.send(3, "commit_order", interval, hidden)
    contract.send(4, "commit_order", interval, hidden)  # copies what it cannot read
    contract.send(5, "place_order", interval, False, 100_000, 300)
    with refuses("interval open"):
        contract.send(3, "reveal_order", *order, salt)
    contract.evm.move_to(interval * contract.slot_s)
    with refuses("interval open"):
        contract.send(3, "clear", interval)
    with refuses("not what was committed"):
        contract.send(4, "reveal_order", *order, salt)
    with refuses("not what was committed"):
        contract.send(3, "reveal_order", interval, True, 200_000, 300, salt)
    contract.send(3, "reveal_order", *order, salt)
    with refuses("not what was committed"):
        contract.send(3, "reveal_order", *order, salt)
    contract.close(interval)
    with refuses("time to reveal is over"):
        contract.send(3, "reveal_order", *order, salt)
    contract.send(0, "clear", interval)
    assert contract.view("result", interval) == (True, 170_000, 300)


@pytest.mark.parametrize("size", [1, 2, 7, 24])
def test_claims_pay_what_the_root_holds_once(size):
    contract = community()
    interval, before = contract.open_interval(), balances(contract)
    amounts = [10**9 * (i - 5) for i in range(1, size + 1)]
    entries = [word(i + 1, amount) for i, amount in enumerate(amounts)]
    levels = merkle_levels([leaf(interval, entry) for entry in entries])
    root = levels[-1][0]
    contract.close(interval)
    with refuses("operator only"):
        contract.send(1, "post_root", interval, root)
    contract.send(0, "post_root", interval, root)
    with refuses("posted already"):
        contract.send(0, "post_root", interval, root)
    for i, entry in enumerate(entries):
        proof = merkle_proof(levels, i)
        with refuses("not under the root"):
            contract.send(1, "claim", interval, entry + 1, proof)
        contract.send(1, "claim", interval, entry, proof)
        with refuses("done already"):
            contract.send(1, "claim", interval, entry, proof)
    after = balances(contract)
    assert [after[i + 1] - before[i + 1] for i in range(size)] == amounts


def test_demand_response_is_rewarded_below_the_baseline_and_paid_by_the_pool():
    contract = community()
    interval, before = contract.open_interval(), balances(contract)
    with refuses("operator only"):
        contract.send(1, "offer_response", interval, 120_000)
    contract.send(0, "offer_response", interval, 120_000)
    seats = {1: (2_000, 500), 2: (800, 900), 3: (600, 600)}
    readings = [(a << 128) | (base << 64) | taken for a, (base, taken) in seats.items()]
    with refuses("no reward offered"):
        contract.send(0, "reward_response", interval - 9, readings)
    with refuses("interval open"):
        contract.send(0, "reward_response", interval, readings)
    contract.close(interval)
    with refuses("interval closed"):
        contract.send(0, "offer_response", interval, 10**9)
    contract.send(0, "reward_response", interval, readings)
    change = [after - b for after, b in zip(balances(contract), before, strict=True)]
    assert change[:4] == [-120_000 * 1_500, 120_000 * 1_500, 0, 0]
    with refuses("done already"):
        contract.send(0, "reward_response", interval, readings[:1])


def open_channel(contract: MarketContract, salt: int) -> tuple[tuple, bytes]:
    ends = (contract.evm.address(1), contract.evm.address(2))
    contract.send(1, "open_channel", ends[1], salt, value=DEPOSIT)
    return (*ends, salt), keccak(encode(["address", "address", "uint256"], [*ends, salt]))


def wealth(contract: MarketContract) -> tuple[int, int]:
    return contract.evm.balance(1), contract.evm.balance(2)


@pytest.mark.parametrize("paid", [0, 1, DEPOSIT // 3, DEPOSIT])
def test_a_channel_closes_on_what_both_signed(paid):
    contract = community()
    key, channel = open_channel(contract, salt=paid)
    with refuses("salt used before"):
        open_channel(contract, salt=paid)
    signed = [contract.sign(end, CLOSE, channel, paid) for end in (1, 2)]
    state = [contract.sign(end, STATE, channel, 1, paid) for end in (1, 2)]
    for wrong in (signed[::-1], state, [signed[0], signed[0]]):
        with refuses("not signed"):
            contract.send(9, "close_channel", *key, paid, *wrong)
    before = wealth(contract)
    contract.send(9, "close_channel", *key, paid, *signed)
    after = wealth(contract)
    assert (after[0] - before[0], after[1] - before[1]) == (DEPOSIT - paid, paid)
    with refuses("no open channel"):
        contract.send(9, "close_channel", *key, paid, *signed)
    with refuses("salt used before"):
        open_channel(contract, salt=paid)


def test_the_newest_state_of_a_disputed_channel_counts():
    contract = community()
    key, channel = open_channel(contract, salt=NEVER)
    unsigned = [(0, 0, 0), (0, 0, 0)]

    def state(sequence: int, paid: int) -> tuple:
        signed = [contract.sign(end, STATE, channel, sequence, paid) for end in (1, 2)]
        return (*key, sequence, paid, *signed)

    with refuses("not disputed"):
        contract.send(9, "finish_channel", *key)
    with refuses("nothing is paid"):
        contract.send(1, "dispute_channel", *key, 0, 5, *unsigned)
    with refuses("sign"):
        contract.send(2, "dispute_channel", *key, 3, DEPOSIT, *unsigned)
    with refuses("out of range"):
        contract.send(2, "dispute_channel", *state(3, DEPOSIT + 1))
    contract.send(1, "dispute_channel", *key, 0, 0, *unsigned)
    contract.send(2, "dispute_channel", *state(9, DEPOSIT // 2))
    for old in (8, 9):
        with refuses("no newer state"):
            contract.send(1, "dispute_channel", *state(old, 0))
    with refuses("time to answer"):
        contract.send(2, "finish_channel", *key)
    contract.evm.move_to(contract.evm.now_s + 3_600)
    with refuses("too late to answer"):
        contract.send(1, "dispute_channel", *state(10, 0))
    before = wealth(contract)
    contract.send(9, "finish_channel", *key)
    after = wealth(contract)
    assert (after[0] - before[0], after[1] - before[1]) == (DEPOSIT // 2, DEPOSIT // 2)
    with refuses("no open channel"):
        contract.send(9, "finish_channel", *key)


def test_a_call_that_the_contract_does_not_have_is_named():
    with pytest.raises(KeyError, match="did you mean 'settle_net'"):
        community().send(0, "settle_nett")
    with pytest.raises(ValueError, match="place_order takes 4 arguments"):
        community().send(1, "place_order", 5)
    with pytest.raises(ValueError, match="clock stands at"):
        community().evm.move_to(0)


# --- mechanisms beside the auction ------------------------------------------------------------


@functools.cache
def others() -> MarketContract:
    """`mechanisms.vy` with 24 accounts, numbered as they registered."""
    contract = MarketContract(k=0.5, penalty=40_000, reveal_s=300, source=MECHANISMS)
    for account in range(1, 25):
        contract.send(account, "register")
    return contract


def deals_of(contract: MarketContract, interval: int, accounts: int) -> list[tuple[int, int]]:
    return [contract.view("deal", interval, i + 1) for i in range(accounts)]


@pytest.mark.parametrize("seed", range(6))
def test_pairs_trade_and_pay_as_pay_as_bid_does(seed):
    contract = others()
    book = random_book(np.random.default_rng(seed), 5 + seed, 11 - seed, 0.2)
    sign = np.where(book.is_bid, -book.energy, book.energy)
    quantity = torch.from_numpy(sign.astype(float)).unsqueeze(0)
    limit = torch.from_numpy(book.price.astype(float)).unsqueeze(0)
    orders, edge = Orders(quantity, limit, torch.zeros_like(limit)), torch.zeros(1, 1, dtype=F64)
    market = MARKETS["pay_as_bid"]
    config = validate(market.Config, option("market", "pay_as_bid"))
    own = market(config).clear(orders, Context(edge, edge, 1.0))
    interval = contract.open_interval()
    submit(contract, interval, book)
    contract.close(interval)
    contract.send(3, "clear_pairs", interval, book.ranking(True), book.ranking(False))
    deals = deals_of(contract, interval, len(book.price))
    assert contract.view("result", interval)[2] == pytest.approx(own.volume_kw.item())
    assert own.volume_kw > 0
    for (energy, money), cleared, paid in zip(
        deals, own.cleared_kw[0].tolist(), own.payment_eur[0].tolist(), strict=True
    ):
        assert energy == pytest.approx(cleared, abs=1e-6)
        # A pair's price is rounded down to a whole millionth.
        assert money == pytest.approx(paid, abs=abs(cleared) + 1e-6)
    assert sum(energy for energy, _ in deals) == sum(money for _, money in deals) == 0
    readings = [word(i + 1, energy) for i, (energy, _) in enumerate(deals) if energy]
    before = [contract.view("balances", i + 1) for i in range(len(deals))]
    contract.send(0, "settle_deals", interval, readings)
    after = [contract.view("balances", i + 1) for i in range(len(deals))]
    assert [b - a for a, b in zip(before, after, strict=True)] == [money for _, money in deals]
    with pytest.raises(RefusedError, match="done already"):
        contract.send(0, "settle_deals", interval, readings)


def test_a_clearing_from_elsewhere_is_entered_only_if_it_can_stand():
    """Every way in which a solver may cheat is refused; the true clearing then passes."""
    contract = others()
    book = random_book(np.random.default_rng(8), 6, 6, 0.4)
    sides = (*book.side(True), *book.side(False))
    price, volume, bought, sold = contract.view("clear_book", *sides)
    of = {True: iter(bought), False: iter(sold)}
    energy = [next(of[is_bid]) for is_bid in book.is_bid.tolist()]
    buyer, seller = (
        next(i for i, wh in enumerate(energy) if wh and bool(book.is_bid[i]) == bid)
        for bid in (True, False)
    )
    interval = contract.open_interval()
    submit(contract, interval, book)
    contract.close(interval)

    def enter(energy: list[int], at: list[int]) -> int:
        pair = fills(book, True, energy, at), fills(book, False, energy, at)
        return contract.send(9, "clear_checked", interval, *pair)

    def changed(values: list[int], place: int, by: int) -> list[int]:
        return [value + by * (i == place) for i, value in enumerate(values)]

    one = [price] * len(energy)
    limits = book.price.tolist()
    for cheated, at, why in (
        (changed(energy, buyer, -1), one, "not as much bought as sold"),
        (changed(energy, seller, 10**6), one, "more than ordered"),
        (energy, changed(one, buyer, limits[buyer] - price + 1), "beyond the limit price"),
        (energy, changed(one, seller, limits[seller] - price - 1), "beyond the limit price"),
        (energy, changed(one, seller, 1), "buyers pay less"),
    ):
        with pytest.raises(RefusedError, match=why):
            enter(cheated, at)
    with pytest.raises(RefusedError, match="fills of another length"):
        contract.send(9, "clear_checked", interval, [], [])
    pool = contract.view("balances", 0)
    enter(energy, changed(one, buyer, 2))
    assert contract.view("balances", 0) - pool == 2 * energy[buyer], "the pool keeps what is over"
    assert contract.view("result", interval)[2] == volume
    deals = deals_of(contract, interval, len(energy))
    assert sum(traded for traded, _ in deals) == 0
    assert sum(money for _, money in deals) == -2 * energy[buyer]
    with pytest.raises(RefusedError, match="cleared already"):
        enter(energy, one)
