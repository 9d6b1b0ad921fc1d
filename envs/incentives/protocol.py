"""Incentive protocol: what a scheme is told, what it pays and issues, and the schemes by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.envs.incentives.reading import Reading
from gridbazaar.registry import Registry

# What a good counts as in key figures; an escrow is held and given back.
Kind = Literal["coin", "certificate", "credit", "escrow"]


class IncentiveConfig(Config):
    """Parameters that all schemes have; a scheme adds its own."""

    name: str = Field(description="registered scheme")


class GoodsConfig(IncentiveConfig):
    """Parameters that all schemes with goods have."""

    on_ledger: bool = Field(
        description="whether a seat whose holdings change writes a transaction on the market's "
        "ledger, with the next interval's orders"
    )


class Movement(NamedTuple):
    """What became of a good in an interval, [B, N] units each.

    Attributes:
        issued: to the seat, for what its meter shows.
        received: from other seats (positive) and given to them; together nothing.
        redeemed: handed in for money, or used up for what it is a proof of.
        expired: lost by age.
    """

    issued: Tensor
    received: Tensor
    redeemed: Tensor
    expired: Tensor

    @property
    def moves(self) -> Tensor:
        """Which seats had it issued, moved or redeemed, [B, N] bool; ageing needs nobody."""
        return (self.issued != 0) | (self.received != 0) | (self.redeemed != 0)

    def held(self, before: Tensor) -> Tensor:
        """Return the holdings [B, N] after it."""
        return before + self.issued + self.received - self.redeemed - self.expired


class Outcome(NamedTuple):
    """What a scheme does in an interval.

    Attributes:
        payment_eur: [B, N] that seats receive (positive) from the scheme, or pay it; payments
            among seats included.
        movements: of each of its goods.
        memory: what it has to remember for the next interval, [B, ...] each.
    """

    payment_eur: Tensor
    movements: Mapping[str, Movement]
    memory: dict[str, Tensor]


class Incentive(ABC):
    """A scheme that turns meter readings into goods and money: a pure function of its state.

    It changes nothing of who trades what at which price; whoever runs it pays what its seats
    receive. Days begin with nothing held.

    Class attributes:
        Config: its parameters.
        payer: who runs it, and pays.
        goods: kind of each good by name.
        backed_by: the field of `Reading` without which a good is not issued, by good; of a scheme
            without goods, the fields without which nothing is paid, by any name.
    """

    Config: ClassVar[type[IncentiveConfig]]
    payer: ClassVar[str]
    goods: ClassVar[dict[str, Kind]] = {}
    backed_by: ClassVar[dict[str, str]]

    def __init__(self, config: Any):
        self.config = config

    @property
    def on_ledger(self) -> bool:
        """Whether what becomes of its goods is written on the market's ledger."""
        return isinstance(self.config, GoodsConfig) and self.config.on_ledger

    def begin(self, like: Tensor) -> dict[str, Tensor]:
        """Return what is remembered as a day begins; `like` is a [B, N] tensor of its type."""
        return {}

    @abstractmethod
    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Return what the scheme does once the meters were read.

        Args:
            held: [B, N] units of each good, at the interval's beginning.
            memory: as `begin` or the last outcome gave it.
            reading: of the interval.
        """


def share_of(part: Tensor) -> Tensor:
    """Return each seat's share [B, N] of what [B, N] amounts to together; zeros of nothing."""
    whole = part.sum(-1, keepdim=True)
    return part / whole.where(whole > 0, 1.0)


INCENTIVES: Registry[type[Incentive]] = Registry("incentive", "gridbazaar.envs.incentives")
