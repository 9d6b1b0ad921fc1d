"""Numbers of the random streams: each is another sequence of the same seed.

Two of the same table would draw the same numbers; Python refuses a table that holds one twice.
"""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class OfDay(IntEnum):
    """Streams and children of a day's seed; its children 0, 1, 2, ... are the slots' seeds."""

    HOME = 12  # the shard of each account
    SHARD = 14
    SECOND_CHAIN = 15
    PUBLIC_CHAIN = 16
    SIDE_CHAIN = 17
    WHO_FAILS = 1 << 20  # and one more for each event of the day


@unique
class OfSlot(IntEnum):
    """Streams of a slot's seed, or of one derived from it."""

    SUBMISSION = 0
    REVERSED = 1
    MISSED = 2
    DISPUTE = 11
    CROSS = 13  # whether an order trades across shards
    CONSENSUS = 16
    SIGNER_THERE = 17
    SIGNER_DELAY = 18
    NOISE = 19
    NAME = 20
    PROPOSER = 21
    MARKET_PROPOSER = 22
    SERVER_THERE = 23
    SERVER_DELAY = 24
    ALTERED = 25
    ARRIVALS = 32


@unique
class OfGraph(IntEnum):
    """Streams of the seed of a tangle's graph, or of one derived from it."""

    ARRIVALS = 0
    CHOICE = 1
    WALK = 1 << 20  # and one more for each step of a walk
