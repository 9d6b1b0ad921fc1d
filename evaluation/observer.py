"""Observer of recorded chains: what the blocks alone link and tell of a seat's load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gridbazaar.evaluation.information import guessed_share, guessed_steps, mutual_information
from gridbazaar.ledger_sim.record.signed_chain import (
    ORDER,
    PAYMENT,
    REVEAL,
    VOLUME,
    SignedChain,
)

STEP_KW = 0.5  # an appliance that is switched, in a mean of a quarter of an hour


@dataclass(frozen=True)
class Learned:
    """What one series tells of the loads of seats, means over them.

    Attributes:
        name: of the series.
        bits: mutual information per interval.
        of_another_day: what the same series of another day tells: the time of day, and chance.
        high: share of intervals guessed right to be above or below the median load.
        steps: share of switched appliances guessed right.
    """

    name: str
    bits: float
    of_another_day: float
    high: float
    steps: float


def most_learned(load_kw: Tensor, series: Mapping[str, Tensor], slots: int) -> Learned:
    """Return what the series that tells most of the loads tells.

    One series alone: what several tell together may be more.

    Args:
        load_kw: [N, T], of several days one after the other.
        series: [N, T] each, by name.
        slots: of a day.
    """
    used = load_kw.std(-1) > 0
    found = []
    for name, values in series.items():
        x, y = load_kw[used], values.double()[used]
        steps = guessed_steps(x, y, STEP_KW).nanmean()
        bits = mutual_information(x, y).mean(), mutual_information(x, y.roll(slots, -1)).mean()
        means = *bits, guessed_share(x, y).mean(), steps
        found.append(Learned(name, *map(float, means)))
    return max(found, key=lambda one: one.bits)


def public_series(chains: Sequence[SignedChain], seats: int, slots: int) -> dict[str, Tensor]:
    """Return the series [N, days x slots] that the blocks of several days hold for every seat.

    An account is taken for the seat of its number among the accounts of its slot, which is the
    seat itself where accounts stay, and a guess where they change. What covers several slots is
    taken for each of them.

    Args:
        chains: one of each day.
        seats: N.
        slots: of a day.
    """
    orders = np.zeros((len(chains), slots, seats))
    paid, volume = np.zeros_like(orders), np.zeros_like(orders)
    for day, chain in enumerate(chains):
        every = chain.records()
        book = every[np.isin(every["kind"], (ORDER, REVEAL))]
        np.add.at(orders[day], (book["slot"], book["sender"] % seats), book["quantity"])
        money = every[every["kind"] == PAYMENT]
        np.add.at(paid[day], (money["slot"], money["receiver"] % seats), money["amount"])
        told = every[every["kind"] == VOLUME]
        np.add.at(volume[day], told["slot"], told["quantity"][:, None])
    found = {
        "order": orders,
        "the book's volume": np.broadcast_to(np.abs(orders).sum(-1, keepdims=True), orders.shape),
        "payment": _for_all_covered(paid),
        "published volume": _for_all_covered(volume),
    }
    return {
        name: torch.tensor(values).permute(2, 0, 1).flatten(1) for name, values in found.items()
    }


def _for_all_covered(values: np.ndarray) -> np.ndarray:
    """Carry what is written at a period's end [days, slots, N] back to the slots before it."""
    written = (values != 0).any(-1)
    slots = np.where(written, np.arange(values.shape[1]), values.shape[1] - 1)
    ends = np.minimum.accumulate(slots[:, ::-1], axis=1)[:, ::-1]
    return np.take_along_axis(values, ends[:, :, None], axis=1)


def linked_share(chain: SignedChain, accounts: np.ndarray) -> float:
    """Return the share of pairs of a seat's orders and payments that its account links.

    Pairs are of different slots and of one kind.

    Args:
        chain: of a day.
        accounts: [slots, N], whose account is whose, which the observer does not know.
    """
    seat_of = {
        (s, a): n for s, of_slot in enumerate(accounts.tolist()) for n, a in enumerate(of_slot)
    }
    every = chain.records()
    linked = pairs = 0
    for kinds, field in (((ORDER, REVEAL), "sender"), ((PAYMENT,), "receiver")):
        seen = every[np.isin(every["kind"], kinds)]
        places = {*zip(seen["slot"].tolist(), seen[field].tolist(), strict=True)}
        by_seat = np.bincount([seat_of[place] for place in places], minlength=1)
        by_both = np.unique([(seat_of[p], p[1]) for p in places], axis=0, return_counts=True)[1]
        linked += (by_both * (by_both - 1)).sum()
        pairs += (by_seat * (by_seat - 1)).sum()
    return float(linked / pairs) if pairs else float("nan")
