"""Byzantine quorums: votes needed, messages exchanged, and how long they take."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.consensus.bounds import require
from gridbazaar.ledger_sim.consensus.propagation import transfer_s

Number = TypeVar("Number", Tensor, float)
Count = TypeVar("Count", Tensor, int)


def faults_tolerated(validators: Count) -> Count:
    """Return f = floor((n - 1) / 3), the validators that may do anything (Pease et al., JACM 1980).

    Args:
        validators: n, one number or an int tensor.

    Raises:
        LedgerError: for less than one validator.
    """
    require(validators >= 1, "validators", validators, "1 or more")
    return (validators - 1) // 3


def quorum(validators: Count) -> Count:
    """Return the votes n - f that decide; arguments and errors as for `faults_tolerated`.

    Two quorums share an honest validator, and the honest ones alone are enough. It is 2f + 1 where
    n = 3f + 1 (Castro and Liskov, "Practical Byzantine fault tolerance", OSDI 1999) and more where
    it is not: of 6 validators, two groups of 2f + 1 = 3 could decide against each other.
    """
    return validators - faults_tolerated(validators)


def pbft_messages(validators: Count) -> Count:
    """Return the messages 2 n (n - 1) of a block without faults, client's messages left out.

    Pre-prepare n - 1, prepare (n - 1)^2, commit n (n - 1): the normal case of Castro and Liskov.
    Arguments and errors as for `faults_tolerated`.
    """
    require(validators >= 1, "validators", validators, "1 or more")
    return 2 * validators * (validators - 1)


def votes_s(mean_delay_s: Number, senders: int, votes: int) -> Number:
    """Return the mean seconds until the first `votes` of the senders' messages have come.

    d (H_n - H_(n-k)): the k-th of n independent exponential delays of mean d (Rényi, "On the theory
    of order statistics", 1953). A validator's own vote counts as one that has to come.

    Args:
        mean_delay_s: d, of one message.
        senders: n, who sends one.
        votes: k, 1 to n.

    Raises:
        LedgerError: for a negative delay, or where fewer send than must.
    """
    require(mean_delay_s >= 0, "mean_delay_s", mean_delay_s, "0 s or more")
    if not 1 <= votes <= senders:
        raise LedgerError(f"votes is {votes}; allowed is 1 to {senders}, the number of senders")
    return mean_delay_s * sum(1 / rank for rank in range(senders, senders - votes, -1))


def phase_s(
    mean_delay_s: Number, validators: int, message_bytes: float, bandwidth_kbit_s: float
) -> Number:
    """Return the mean seconds of a phase in which every validator writes to every other one.

    Each sends and receives n - 1 messages one after the other over a link of `bandwidth_kbit_s`,
    both ways at once, and goes on when a quorum has come.

    Args:
        mean_delay_s: of one message, exponential.
        validators: n.
        message_bytes: of one message with its signature.
        bandwidth_kbit_s: of each validator's link, for this ledger.

    Raises:
        LedgerError: as `quorum`, `votes_s` and `transfer_s`.
    """
    sending_s = transfer_s(float((validators - 1) * message_bytes), bandwidth_kbit_s)
    return votes_s(mean_delay_s, validators, quorum(validators)) + sending_s


def round_s(
    mean_delay_s: Number,
    validators: int,
    block_bytes: float,
    vote_bytes: float,
    bandwidth_kbit_s: float,
) -> Number:
    """Return the mean seconds from a block's proposal to its quorum of final votes.

    Three phases: the proposer sends n - 1 copies of the block, then two rounds of votes, prepare
    and commit (PBFT, QBFT) or prevote and precommit (Tendermint). Arguments and errors as for
    `phase_s`; the proposal too is awaited by a quorum.
    """
    proposal_s = phase_s(mean_delay_s, validators, block_bytes, bandwidth_kbit_s)
    return proposal_s + 2 * phase_s(mean_delay_s, validators, vote_bytes, bandwidth_kbit_s)
