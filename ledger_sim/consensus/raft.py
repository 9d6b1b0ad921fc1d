"""Raft as in Hyperledger Fabric: one leader, blocks cut by the clock or when they are full."""

from __future__ import annotations

import numpy as np
from scipy import integrate, special

from gridbazaar.ledger_sim.consensus.propagation import transfer_s
from gridbazaar.ledger_sim.consensus.protocol import Health, Tolerance
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class RaftConfig(VotingConfig):
    """Parameters of Raft; values and their sources are in configs/ledger/raft.yaml."""

    @property
    def leader_s(self) -> float:
        """Seconds that a full block keeps the leader busy: the pace of blocks cut early."""
        copies_bytes = (self.validators - 1) * self.block_bytes
        return transfer_s(copies_bytes, self.network.bandwidth_kbit_s) + self.checks_s(0.0)

    @property
    def cut_s(self) -> float:
        """Seconds between blocks: the timeout, or until others' traffic alone fills one."""
        if not self.background_gas_per_s:
            return max(self.interval_s, self.leader_s)
        full_s = self.block_gas / self.background_gas_per_s
        return max(min(self.interval_s, full_s), self.leader_s)

    @property
    def interval_gas(self) -> float:
        """Gas of all blocks that the leader can send between two cuts; may be inf."""
        return self.block_gas * self.cut_s / self.leader_s if self.leader_s else float("inf")

    @property
    def room_gas(self) -> float:
        """Gas between two cuts that the background leaves; may be inf."""
        return self.interval_gas - self.background_gas_per_s * self.cut_s


def round_trips(followers: int, answers: int) -> float:
    """Return the mean time until so many followers have answered, in units of one delay.

    There and back take an exponential delay each. The mean of the k-th of m such sums is the
    integral of the chance that fewer than k have come, by Simpson's rule.
    """
    if not answers:
        return 0.0
    at = np.linspace(0.0, 60.0, 2001)
    answered = 1 - np.exp(-at) * (1 + at)
    return float(integrate.simpson(special.bdtr(answers - 1, followers, answered), x=at))


@LEDGERS.register("raft")
class Raft(Voting[RaftConfig]):
    """Raft: a leader writes and a majority copies; validators may crash, but not lie

    Ongaro and Ousterhout, "In search of an understandable consensus algorithm", 2014; blocks as
    in Hyperledger Fabric, cut at a timeout or at a number of transactions.

    Early cuts follow others' traffic, which is known beforehand; the market's own orders are few
    against a block and move none. What they find in an interval is the room of all blocks that the
    leader can send in it, so that a burst waits for the cut at most, a little longer than it would
    with cuts of its own. A leader's election after a crash, about a second, is left out. The
    timeout runs from a batch's first transaction on (Fabric's BatchTimeout), so that there are no
    empty blocks; heartbeats are not counted.
    """

    Config = RaftConfig

    minimum_validators = 1
    decentralisation = "low"
    rotates = False
    empty_blocks = False

    def __init__(self, config: RaftConfig) -> None:
        super().__init__(config)
        self._commit_s = self._replicated_s(config)

    @property
    def interval_s(self) -> float:
        """Between cuts; the next block is sent while the last is on its way."""
        return self.config.cut_s

    @property
    def block_gas(self) -> float:
        """Of all blocks between two cuts."""
        return self.config.interval_gas

    @property
    def commit_s(self) -> float:
        """From cut to the majority's answer."""
        return self._commit_s

    @staticmethod
    def _replicated_s(config: RaftConfig) -> float:
        """Return the seconds of sending a full block until a majority, the leader too, has it."""
        n = config.validators
        return config.leader_s + config.network.delay_s() * round_trips(n - 1, n // 2)

    @property
    def quorum(self) -> int:
        """A majority."""
        return self.config.validators // 2 + 1

    @property
    def tolerance(self) -> Tolerance:
        """Less than half may be silent, nobody may lie."""
        beyond = "no majority: the ledger halts; a single liar may rewrite it"
        return Tolerance((self.config.validators - 1) // 2, 0, beyond)

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Go on with a majority; nothing stands once anybody lies."""
        live = self.config.validators - crashed - cut_off >= self.quorum
        return Health(block_share=float(live), final=live, safe=lying == 0)

    @property
    def block_messages(self) -> float:
        """The leader writes to n - 1 followers, and they answer."""
        return 2.0 * (self.config.validators - 1)
