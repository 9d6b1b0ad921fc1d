"""Faults of validators in a day: outages, lies and partitions."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, model_validator

from gridbazaar.config import Config, NonNegative


class FaultEvent(Config):
    """Validators that fail from one time of the day to another."""

    from_s: NonNegative = Field(description="s since the day's start")
    to_s: float = Field(gt=0, description="s since the day's start, when all is well again")
    crashed: int = Field(default=0, ge=0, description="validators that are silent")
    lying: int = Field(default=0, ge=0, description="validators that say anything to anyone")
    cut_off: int = Field(
        default=0, ge=0, description="validators that the market's side of a split cannot reach"
    )

    @model_validator(mode="after")
    def _in_order(self) -> FaultEvent:
        if self.to_s <= self.from_s:
            raise ValueError(f"to_s {self.to_s} must lie after from_s {self.from_s}")
        if not (self.crashed or self.lying or self.cut_off):
            raise ValueError("give crashed, lying or cut_off: an event without faults says nothing")
        return self


def check_faults(events: list[FaultEvent], validators: int) -> None:
    """Raise `ValueError` where more fail than there are, or the faults of two events may add up."""
    for event in events:
        kinds = {"crashed": event.crashed, "lying": event.lying, "cut_off": event.cut_off}
        if sum(kinds.values()) > validators:
            failing = " + ".join(f"{kind} {count}" for kind, count in kinds.items() if count)
            raise ValueError(f"faults: {failing} of {validators} validators")
    for one, other in pairwise(sorted(events, key=lambda event: event.from_s)):
        if other.from_s < one.to_s:
            raise ValueError(
                f"faults: the event from {one.from_s:g} to {one.to_s:g} s and that from "
                f"{other.from_s:g} to {other.to_s:g} s overlap; give one event for each stretch "
                "of the day, with all that fail in it"
            )


def cut_short(event: FaultEvent, after_s: float, **left: int) -> list[FaultEvent]:
    """Return an event, and from so many seconds after it began on, what is left of it.

    Args:
        event: the faults.
        after_s: until some of those who fail are put out.
        left: `crashed`, `lying` and `cut_off` from then on, 0 where nothing is said.
    """
    end_s = event.from_s + after_s
    if end_s >= event.to_s:
        return [event]
    early = [event.model_copy(update={"to_s": end_s})] if after_s > 0 else []
    late = {"crashed": 0, "lying": 0, "cut_off": 0} | left
    if not any(late.values()):
        return early
    return [*early, event.model_copy(update={"from_s": end_s} | late)]
