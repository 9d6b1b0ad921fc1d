"""Transactions of every kind on the contract, with what their gas is counted for.

`tools/fit_gas.py` fits the gas table to them, and tests hold the table against others of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eth_abi import encode
from eth_hash.auto import keccak

from gridbazaar.studies.contract.compiled import MECHANISMS, SOURCE
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
from gridbazaar.studies.contract.evm import MarketContract

PAGE = 256  # accounts that share one word of marks


@dataclass(frozen=True)
class Observation:
    """One transaction: its kind, what it is counted for, and its gas."""

    call: str
    counts: Mapping[str, float]
    gas: int


class Measurements:
    """A deployed market with registered accounts, and everything that was measured on it.

    Account numbers in the contract are those of the machine: 1 to `accounts`; 0 is the operator.
    """

    def __init__(
        self, accounts: int, penalty: int = 40_000, seed: int = 0, source: Path = SOURCE
    ) -> None:
        self.market = MarketContract(penalty=penalty, reveal_s=300, source=source)
        self.seen: list[Observation] = []
        self.generator = np.random.default_rng(seed)
        self._paid: set[int] = set()
        self._marked: set[tuple[str, int, int]] = set()
        gas = [self.market.send(i, "register") for i in range(1, accounts + 1)]
        self.seen += [Observation("register", {}, used) for used in gas[1:]]
        self._note("deploy", {}, self.market.evm.sent[0].gas)

    def _note(self, call: str, counts: Mapping[str, float], gas: int) -> None:
        self.seen.append(Observation(call, dict(counts), gas))

    def submit(self, book: Book, how: str = "order") -> int:
        """Enter a book, account i+1 sending order i, and return the interval.

        `how` is order, relayed_order or reveal (which commits first).
        """
        market = self.market
        interval = market.open_interval() + 1
        sides = zip(book.is_bid.tolist(), book.price.tolist(), book.energy.tolist(), strict=True)
        orders = [(interval, *order) for order in sides]
        salts = [self.generator.bytes(32) for _ in orders]
        if how == "reveal":
            self._commit(interval, orders, salts)
        for i, order in enumerate(orders):
            account, first = i + 1, {"first": float(i == 0)}
            if how == "order":
                self._note(how, first, market.send(account, "place_order", *order))
            elif how == "relayed_order":
                trader = market.evm.address(account)
                _, nonce = market.view("account_of", trader)
                signature = market.sign(account, ORDER, trader, *order, nonce)
                gas = market.send(0, "place_signed_order", trader, *order, *signature)
                self._note(how, first, gas)
            else:
                self._note(how, first, market.send(account, "reveal_order", *order, salts[i]))
        return interval

    def _commit(
        self, interval: int, orders: Sequence[tuple[int, bool, int, int]], salts: Sequence[bytes]
    ) -> None:
        types = ["address", "uint256", "bool", "uint256", "uint256", "bytes32"]
        for i, order in enumerate(orders):
            sender = self.market.evm.address(i + 1)
            hidden = keccak(encode(types, [sender, *order, salts[i]]))
            self._note("commit", {}, self.market.send(i + 1, "commit_order", interval, hidden))
        self.market.evm.move_to(interval * self.market.slot_s)

    def clear(self, book: Book, interval: int, hinted: bool = False) -> dict[int, int]:
        """Clear a book and return the trades, in Wh by account, positive sold."""
        self.market.close(interval)
        if hinted:
            hint = (book.ranking(True), book.ranking(False))
            gas = self.market.send(0, "clear_hinted", interval, *hint)
        else:
            gas = self.market.send(0, "clear", interval)
        trades = {i: self.market.view("trades", interval, i) for i in range(1, len(book.price) + 1)}
        trades = {account: energy for account, energy in trades.items() if energy}
        counts = {"order": float(len(book.price)), "matched": float(len(trades))}
        if not hinted:
            counts["shift"] = float(book.shifts)
        self._note("clear_hinted" if hinted else "clear", counts, gas)
        return trades

    def clear_otherwise(self, book: Book, interval: int, call: str) -> dict[int, int]:
        """Clear a book in pairs, or (clear_checked) enter what was found elsewhere.

        The contract is `mechanisms.vy`. Returns the trades as `clear` does.
        """
        self.market.close(interval)
        hint = (book.ranking(True), book.ranking(False))
        if call == "clear_checked":
            energy, price = at_one_price(book, self.market)
            hint = (fills(book, True, energy, price), fills(book, False, energy, price))
        gas = self.market.send(0, call, interval, *hint)
        deals = {i: self.market.view("deal", interval, i) for i in range(1, len(book.price) + 1)}
        trades = {account: energy for account, (energy, _) in deals.items() if energy}
        self._note(call, {"order": float(len(book.price)), "matched": float(len(trades))}, gas)
        return trades

    def settle(
        self,
        interval: int,
        trades: Mapping[int, int],
        deviate: bool = True,
        call: str = "settle",
    ) -> None:
        """Settle trades by readings that differ from them, or (`deviate` false) do not."""
        beside = self.generator.integers(1, 200, len(trades)) * (1 if deviate else 0)
        readings = [
            word(account, energy + int(more))
            for (account, energy), more in zip(trades.items(), beside, strict=True)
        ]
        counts = self._entries(call, interval, [*trades], pool=deviate)
        gas = self.market.send(0, call, interval, readings)
        self._note(call, {**counts, "penalised": float(deviate)}, gas)

    def batch(self, accounts: Sequence[int]) -> None:
        """Post net payments among accounts for an interval that was cleared elsewhere."""
        interval = self._past_interval()
        amounts = self.generator.integers(10**6, 10**9, len(accounts))
        amounts[::2] *= -1
        amounts[-1] -= amounts.sum()
        payments = [word(a, int(p)) for a, p in zip(accounts, amounts, strict=True)]
        counts = self._entries("batch", interval, accounts)
        del counts["page"], counts["fresh"]
        gas = self.market.send(0, "settle_net", interval, 224_483, 17_403, payments)
        self._note("batch", counts, gas)

    def claims(self, claimed: Sequence[int], size: int, accounts: Sequence[int]) -> None:
        """Post a root over `size` payments to accounts; the given ones, from 1, are claimed."""
        interval = self._past_interval()
        amounts = self.generator.integers(-(10**9), 10**9, size).tolist()
        entries = [word(a, amount) for a, amount in zip(accounts, amounts, strict=True)]
        levels = merkle_levels([leaf(interval, entry) for entry in entries])
        self._note("root", {}, self.market.send(0, "post_root", interval, levels[-1][0]))
        for place in claimed:
            proof = merkle_proof(levels, place - 1)
            counts = self._entries("claim", interval, [accounts[place - 1]])
            del counts["seat"], counts["page"]
            gas = self.market.send(place, "claim", interval, entries[place - 1], proof)
            self._note("claim", {"level": float(len(proof)), **counts}, gas)

    def response(self, batches: Sequence[Sequence[int]]) -> None:
        """Offer a reward for demand response and pay it, one transaction per batch of accounts."""
        interval = self.market.open_interval()
        self._note("response_offer", {}, self.market.send(0, "offer_response", interval, 120_000))
        self.market.close(interval)
        for accounts in batches:
            baseline = self.generator.integers(1_000, 5_000, len(accounts))
            taken = self.generator.integers(300, 900, len(accounts))
            readings = [
                (account << 128) | (int(before) << 64) | int(after)
                for account, before, after in zip(accounts, baseline, taken, strict=True)
            ]
            counts = self._entries("response", interval, accounts, pool=True)
            gas = self.market.send(0, "reward_response", interval, readings)
            self._note("response", counts, gas)

    def channel(self, payer: int, peer: int, disputed: bool) -> None:
        """Open a channel; close it in agreement, or by dispute, answer and the end of the time."""
        market, deposit = self.market, 10**17
        salt = int.from_bytes(self.generator.bytes(4), "big")
        ends = (market.evm.address(payer), market.evm.address(peer))
        gas = market.send(payer, "open_channel", ends[1], salt, value=deposit)
        self._note("channel_open", {}, gas)
        channel = keccak(encode(["address", "address", "uint256"], [*ends, salt]))
        if not disputed:
            signed = [market.sign(end, CLOSE, channel, deposit // 3) for end in (payer, peer)]
            gas = market.send(peer, "close_channel", *ends, salt, deposit // 3, *signed)
            self._note("channel_close", {}, gas)
            return
        for answer, by in enumerate((payer, peer)):
            state = (12 + 7 * answer, deposit // (4 - answer))
            signed = [market.sign(end, STATE, channel, *state) for end in (payer, peer)]
            gas = market.send(by, "dispute_channel", *ends, salt, *state, *signed)
            self._note("channel_dispute", {"answer": float(answer)}, gas)
        market.evm.move_to(market.evm.now_s + 3_600)
        self._note("channel_finish", {}, market.send(peer, "finish_channel", *ends, salt))

    def replayed(self) -> Iterator[tuple[dict[str, str], int]]:
        """Yield each transaction so far, as a second EVM takes it, and its gas on this one."""
        for sent in self.market.evm.sent:
            fields = ("timestamp", "sender", "to", "value", "data")
            yield {field: str(getattr(sent, field)) for field in fields}, sent.gas

    def _past_interval(self) -> int:
        interval = self.market.open_interval()
        self.market.close(interval)
        return interval

    def _entries(
        self, call: str, interval: int, accounts: Sequence[int], pool: bool = False
    ) -> dict[str, float]:
        """Count seats, balances that were zero so far, pages of marks, and those still empty."""
        new = {*accounts, *([0] if pool else [])} - self._paid
        pages = {(call, interval, account // PAGE) for account in accounts}
        fresh = pages - self._marked
        self._paid |= new
        self._marked |= pages
        counts = {"seat": accounts, "new": new, "page": pages, "fresh": fresh}
        return {name: float(len(counted)) for name, counted in counts.items()}


def measure(
    shapes: Sequence[tuple[int, int, float, int]], seed: int, small: int = 40
) -> Measurements:
    """Play every kind of transaction on books of given shapes.

    Args:
        shapes: bids, asks, overlap and tick of each book, see `random_book`.
        seed: of all books.
        small: books of at most so many orders are also relayed and revealed.
    """
    most = max(bids + asks for bids, asks, _, _ in shapes)
    done = Measurements(most + 1, seed=seed)
    for i, shape in enumerate(shapes):
        size = shape[0] + shape[1]
        ways = ("order", "relayed_order", "reveal") if size <= small else ("order", "order")
        for turn, how in enumerate(ways):
            book = random_book(done.generator, *shape)
            interval = done.submit(book, how)
            trades = [*done.clear(book, interval, hinted=turn == 1).items()]
            # A second batch of one interval finds its page of marks written.
            for part in (trades[::2], trades[1::2]):
                if part:
                    done.settle(interval, dict(part), deviate=turn > 0)
        accounts = range(1, size + 1)
        beyond = [account + 2 * most * (i + 1) for account in accounts]
        done.claims([1, size // 2 + 1, size], size, beyond if i % 2 else accounts)
        done.response((accounts, beyond[: size // 2], beyond[size // 2 :]))
        for entered in (accounts, [account + most for account in beyond]):
            done.batch(entered)
        done.channel(i % size + 1, i % size + 2, disputed=bool(i % 2))
    return done


def at_one_price(book: Book, market: MarketContract) -> tuple[list[int], list[int]]:
    """Return what each order of a book trades in the auction, Wh, and its price."""
    sides = (*book.side(True), *book.side(False))
    price, _, bought, sold = market.view("clear_book", *sides)
    of = {True: iter(bought), False: iter(sold)}
    return [next(of[is_bid]) for is_bid in book.is_bid.tolist()], [price] * len(book.price)


def measure_mechanisms(shapes: Sequence[tuple[int, int, float, int]], seed: int) -> Measurements:
    """Play what `mechanisms.vy` adds on books of given shapes; arguments as for `measure`."""
    most = max(bids + asks for bids, asks, _, _ in shapes)
    done = Measurements(most + 1, seed=seed, source=MECHANISMS)
    seen = []
    for shape in shapes:
        for turn, call in enumerate(("clear_pairs", "clear_checked")):
            book = random_book(done.generator, *shape)
            interval = done.submit(book)
            done.seen.clear()
            trades = [*done.clear_otherwise(book, interval, call).items()]
            for part in (trades[::2], trades[1::2]):
                if part:
                    done.settle(interval, dict(part), deviate=turn > 0, call="settle_deals")
            seen += done.seen
    done.seen = seen
    return done
