"""Privacy of a recorded chain: what it shows of its seats, and how that is hidden.

Keys and salts derive from the seed that stands in the genesis: whoever knows how can open
everything. They show what an observer of a chain with secret keys could see, and protect nothing.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.layers.aggregated_disclosure import AggregatedDisclosure
from gridbazaar.ledger_sim.layers.blind_credentials import BlindCredentials
from gridbazaar.ledger_sim.layers.commit_reveal import CommitReveal
from gridbazaar.ledger_sim.layers.homomorphic_aggregation import HomomorphicAggregation
from gridbazaar.ledger_sim.layers.noise import Noise
from gridbazaar.ledger_sim.layers.period import slots_left
from gridbazaar.ledger_sim.layers.protocol import layers_of
from gridbazaar.ledger_sim.layers.pseudonyms import Pseudonyms
from gridbazaar.ledger_sim.layers.secret_store import SecretStore
from gridbazaar.ledger_sim.protocol import Ledger
from gridbazaar.ledger_sim.random_streams import OfSlot


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Disclosure of orders, accounts and volumes: how much stands where all can read it.

    Attributes:
        pseudonyms: a new account for every seat and slot.
        committed: orders are committed to, and revealed after gate closure.
        seats: fewest seats in a published volume.
        slots: slots that a published volume and a payment cover.
        epsilon: privacy loss of a published volume; inf: no noise.
        sensitivity: most by which one seat changes a slot's volume.
        cipher_bits: of the key under which volumes are encrypted before they are summed; 0: the
            market sums what it reads.
        credential_bits: of the registrar's key that signed every pseudonym blindly; 0: none.
        unregistered: seats that have no credential.
    """

    pseudonyms: bool
    committed: bool
    seats: int
    slots: int
    epsilon: float
    sensitivity: float
    cipher_bits: int = 0
    credential_bits: int = 0
    unregistered: tuple[int, ...] = ()

    @property
    def sealed(self) -> bool:
        """Whether orders stand on the chain as hashes alone."""
        return self.seats > 1 or self.slots > 1 or self.epsilon < math.inf


OPEN = Disclosure(False, False, 1, 1, math.inf, 0.0)


def disclosure_of(ledger: Ledger) -> Disclosure:
    """Return what the layers on a ledger leave in the open; the outermost of a kind counts."""
    found = OPEN
    for layer in reversed(list(layers_of(ledger))):
        if isinstance(layer, Pseudonyms):
            found = replace(found, pseudonyms=True)
            if isinstance(layer, BlindCredentials):
                refused = tuple(layer.config.unregistered)
                bits = layer.config.key_bits
                found = replace(found, credential_bits=bits, unregistered=refused)
        elif isinstance(layer, CommitReveal):
            found = replace(found, committed=True)
        elif isinstance(layer, AggregatedDisclosure):
            found = replace(found, seats=layer.config.seats, slots=layer.config.slots)
            encrypted = layer.config.key_bits if isinstance(layer, HomomorphicAggregation) else 0
            found = replace(found, cipher_bits=encrypted)
        elif isinstance(layer, Noise):
            config = layer.config
            found = replace(found, epsilon=config.epsilon, sensitivity=config.sensitivity)
        elif isinstance(layer, SecretStore):
            found = replace(found, seats=max(found.seats, layer.config.seats))
    return found


def committed_s(ledger: Ledger) -> Tensor | None:
    """Return the last slot's `CommitReveal.committed_s`; None where orders are not committed to."""
    for layer in layers_of(ledger):
        if isinstance(layer, CommitReveal):
            return layer.committed_s
    return None


def noisy(value: Tensor, sensitivity: float, epsilon: float, seed: Tensor, slot: int) -> Tensor:
    """Add Laplace noise of scale sensitivity / epsilon.

    Epsilon-differentially private (Dwork, McSherry, Nissim, Smith, "Calibrating noise to
    sensitivity in private data analysis", TCC 2006): a seat that changes the value by at most
    `sensitivity` changes the probability of anything published by at most a factor e^epsilon. The
    epsilons of several slots that a seat trades in add up. True of real numbers; a floating-point
    sum leaks a little in its last bits (Mironov, CCS 2012), so publish it rounded.

    Args:
        value: [B, ...], what would be published.
        sensitivity: most by which one seat changes it, in its unit.
        epsilon: above 0; inf adds nothing.
        seed: int64 [B]; with `slot` it fixes the noise.
        slot: of the day.

    Raises:
        LedgerError: for an epsilon or a sensitivity that is not possible.
    """
    if not epsilon > 0:
        raise LedgerError(f"epsilon is {epsilon}; it must be above 0 (inf: no noise)")
    if not 0 <= sensitivity < math.inf:
        raise LedgerError(f"sensitivity is {sensitivity}; it must be finite and 0 or more")
    own = randomness.fold(seed, slot)
    centred = randomness.uniform(own, OfSlot.NOISE, value.shape[1:], torch.float64) - 0.5
    laplace = -centred.sign() * torch.log1p(-2 * centred.abs())
    return value + (laplace * (sensitivity / epsilon)).to(value)


def grouped_sums(volume: Tensor, seats: int) -> tuple[Tensor, Tensor]:
    """Sum volumes over groups of at least `seats` neighbouring seats.

    Args:
        volume: [B, N].
        seats: fewest in a group; the last group takes the rest.

    Returns:
        sums [B, G], and bool [B, G] whether each may be published: at least `seats` of the group
        have a volume, so that no sum speaks of fewer.

    Raises:
        LedgerError: where there are not so many seats.
    """
    n = volume.shape[1]
    if not 1 <= seats <= n:
        raise LedgerError(f"sums over at least {seats} seats; there are {n}: give 1 to {n}")
    group = (torch.arange(n, device=volume.device) // seats).clamp(max=n // seats - 1)
    sums = volume.new_zeros(len(volume), n // seats).index_add_(1, group, volume)
    count = torch.zeros_like(sums).index_add_(1, group, (volume != 0).to(volume))
    return sums, count >= seats


@dataclass(frozen=True, slots=True)
class Published:
    """Volumes of a period as they are published.

    Attributes:
        volume: float64 [B, G], sums over groups of seats, to the thousandth of a unit.
        shown: bool [B, G], whether each sum is published.
        slots: that the sums cover.
    """

    volume: Tensor
    shown: Tensor
    slots: int

    def of(self, markets: Tensor) -> Published:
        """Return what is published of some of the markets, int64 [R]."""
        return Published(self.volume[markets], self.shown[markets], self.slots)

    @property
    def mean(self) -> Tensor:
        """The sums that are published, all together, per slot; [B]."""
        return (self.volume * self.shown).sum(-1) / self.slots


@dataclass(frozen=True, slots=True)
class VolumeState:
    """State of a `VolumePublisher`: the volumes of a period that has not ended.

    Attributes:
        seed: int64 [B]; fixes the noise.
        slot: of the day, that came last; -1 before the first.
        covered: slots of the period so far.
        volume: float64 [B, N], their sum; 0.0 as the period begins.
    """

    seed: Tensor
    slot: int
    covered: int
    volume: Tensor | float


class VolumePublisher:
    """Publishes a day's volumes as far as they are disclosed.

    Its attribute `state` is all that changes during a day, never in place; set it to go on there.

    Args:
        disclosure: how far.
        seed: int64 [B]; fixes the noise.
        slots_per_day: the day's last slot ends a period, too.
    """

    def __init__(self, disclosure: Disclosure, seed: Tensor, slots_per_day: int) -> None:
        self._hidden, self._slots_per_day = disclosure, slots_per_day
        self.state = VolumeState(seed.clone(), -1, 0, 0.0)

    def publish(self, volume: Tensor) -> Published | None:
        """Add the next slot's volumes; return those of its period where that ends, else None.

        Without noise, a sum is not shown where fewer seats than disclosed have a volume.

        Args:
            volume: [B, N], units that each seat traded.
        """
        hidden, seed, slot = self._hidden, self.state.seed, self.state.slot + 1
        covered, so_far = self.state.covered + 1, self.state.volume + volume.double()
        if slots_left(slot, hidden.slots, self._slots_per_day):
            self.state = VolumeState(seed, slot, covered, so_far)
            return None
        exact = hidden.epsilon == math.inf
        seats = hidden.seats if hidden.seats > 1 or exact else volume.shape[1]
        sums, shown = grouped_sums(so_far, seats)
        sums = noisy(sums, hidden.sensitivity * covered, hidden.epsilon, seed, slot)
        self.state = VolumeState(seed, slot, 0, 0.0)
        return Published(sums.round(decimals=3), shown | (not exact), covered)


def names_of(seed: Tensor, slot: int, seats: int) -> Tensor:
    """Return each seat's place among a slot's pseudonyms, int64 [B, N]: a drawn permutation."""
    draw = randomness.uniform(randomness.fold(seed, slot), OfSlot.NAME, (seats,), torch.float64)
    return draw.argsort(1).argsort(1)


def salt(seed: int, slot: int, order: int) -> bytes:
    """Return the 32 bytes that hide an order among all that could have the same hash."""
    return sha256(b"simulated salt" + struct.pack(">qII", seed, slot, order)).digest()
