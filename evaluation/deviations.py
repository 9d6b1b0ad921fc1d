"""Deviations in the environment: many side by side, each in a market of its own on the same day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.bidders import Bidder
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.envs.game import Game
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import CheckpointError
from gridbazaar.evaluation.exploitability import Trial

_MARKETS = 256  # played side by side
_SMOOTHING = 0.01  # EUR/kWh, where a slope is asked


class Change(NamedTuple):
    """What a seat does otherwise than its bidder; as it stands, nothing.

    Prices are shares of the gap between the day's lowest feed-in and highest retail price.

    Attributes:
        must_run: by how much dearer a surplus is sold, and cheaper a need is bought.
        value: added to what devices' contents are worth.
        margin: added to the margins that devices ask.
        share: factor on the shares of devices' power that are offered.
        declared: factor on the must-run net that is ordered.
    """

    must_run: float = 0.0
    value: float = 0.0
    margin: float = 0.0
    share: float = 1.0
    declared: float = 1.0

    @property
    def words(self) -> str:
        """Return what differs from nothing, as `value +0.1`."""
        parts = []
        for name, own, none in zip(self._fields, self, Change(), strict=True):
            if own != none:
                parts.append(f"{name} {own:+.3g}" if none == 0 else f"{name} × {own:.3g}")
        return ", ".join(parts) or "nothing"

    def scaled(self, factor: float) -> Change:
        """Return the change that goes so much further from nothing; factors stay at 0 or more."""
        moved = Change(
            *(none + factor * (own - none) for own, none in zip(self, Change(), strict=True))
        )
        return moved._replace(share=max(moved.share, 0.0), declared=max(moved.declared, 0.0))


class Response(NamedTuple):
    """What a deviating seat plays.

    Attributes:
        name: in words.
        bidder: that it plays as: a name or folder; None: as before.
        change: of what that bidder does.
    """

    name: str
    bidder: str | None = None
    change: Change = Change()


def refined(trial: Trial[Response]) -> Iterable[Trial[Response]]:
    """Return the same change, less and more of it."""
    coalition, response = trial
    for factor in (0.5, 1.5, 2.0):
        change = response.change.scaled(factor)
        if change != response.change:
            name = change.words if response.bidder is None else response.name
            yield Trial(coalition, Response(name, response.bidder, change))


def changed(action: Tensor, observation: Tensor, game: Game, change: Tensor) -> Tensor:
    """Return the action [B, N, A] that means a decision with a change in it.

    Args:
        action: [B, N, A] as it would be.
        observation: [B, N, layout.size].
        game: what everybody knows.
        change: [B, 5] entries of `Change` for each market.
    """
    seat = Seat(observation, game.layout)
    low, high = seat.read("day_low")[:, :1], seat.read("day_high")[:, :1]
    meaning, gap = game.meaning(low, high), high - low
    decision = meaning.decide(action)
    must_run, value, margin, share, declared = change.to(action).unsqueeze(-1).unbind(-2)
    side = torch.where(seat.must_run_kw > 0, 1.0, -1.0).to(action)
    declared_kw = declared * (seat.net_kw + decision.correction_kw)
    return meaning.encode(
        decision._replace(
            must_run_price=decision.must_run_price + side * must_run * gap,
            correction_kw=declared_kw - seat.net_kw,
            value=decision.value + (value * gap).unsqueeze(-1),
            margin=decision.margin + (margin * gap).unsqueeze(-1),
            share=decision.share * share.unsqueeze(-1),
        )
    )


class Deviant:
    """Plays as a bidder, but for the seats that deviate.

    Args:
        bidder: of all others.
        instead: that deviating seats play as; None: the same.
        deviates: [B, N] bool.
        change: [B, 5] entries of `Change`.
        game: what everybody knows.
    """

    def __init__(
        self, bidder: Bidder, instead: Bidder | None, deviates: Tensor, change: Tensor, game: Game
    ):
        self._bidder, self._instead, self._game = bidder, instead, game
        self._deviates, self._change = deviates.unsqueeze(-1), change

    def act(self, observation: Tensor, state: tuple[Any, Any] | None) -> tuple[Tensor, Any]:
        """Decide one interval; see Bidder."""
        mine, others = state or (None, None)
        action, others = self._bidder.act(observation, others)
        wanted = action
        if self._instead is not None:
            wanted, mine = self._instead.act(observation, mine)
        wanted = changed(wanted, observation, self._game, self._change)
        return torch.where(self._deviates, wanted, action), (mine, others)


@dataclass(frozen=True)
class _Other:
    """A bidder to play as instead, and the seats that it knows how to play."""

    bidder: Bidder
    seats: frozenset[int]


class Arena:
    """A world and the bidder of its seats, in which some of them may deviate; a DeviationGame.

    Samples are first slots of days; a day has the same chances whoever deviates.

    Args:
        simulation: of the world; its number of markets is changed as needed.
        bidder: of all seats that do not deviate.
        make: builds another bidder from its name or folder and the game.
        seed: of the first day's chances.
    """

    def __init__(
        self, simulation: Simulation, bidder: Bidder, make: Callable[[str, Game], Bidder], seed: int
    ):
        self.simulation, self.game = simulation, simulation.game
        self._bidder, self._make, self._seed = bidder, make, seed
        self._others: dict[str, _Other] = {}
        self._usual: dict[tuple[int, ...], Tensor] = {}

    @property
    def commits(self) -> bool:
        """Whether seats order a quantity that they may misstate."""
        return self.simulation.rules.quantity == "committed"

    def decides(self, seat: int) -> set[str]:
        """Return the names of the entries of an action that a seat has."""
        group = next(g for g in self.game.groups if seat in g.seats.tolist())
        return {self.game.layout.actions[i] for i in group.acted.tolist()}

    def played_by(self, name: str) -> frozenset[int]:
        """Return the seats that a bidder can play; a learned one those that it learned for.

        Raises CheckpointError where it can play none.
        """
        return self._other(name).seats

    @torch.no_grad()
    def usual(self, samples: Tensor) -> Tensor:
        """Return what every seat earns where nobody deviates, [D, N] EUR; see DeviationGame."""
        key = tuple(samples.tolist())
        if key not in self._usual:
            self._usual[key] = torch.cat(
                [self._earned(self._bidder, days) for days in samples.split(_MARKETS)]
            )
        return self._usual[key]

    @torch.no_grad()
    def deviating(self, trials: Sequence[Trial[Response]], samples: Tensor) -> Tensor:
        """Return what each trial's coalition earns together, [trials, D] EUR."""
        earned = samples.new_zeros(len(trials), len(samples), dtype=torch.float64)
        by_bidder: dict[str | None, list[int]] = {}
        for number, trial in enumerate(trials):
            by_bidder.setdefault(trial.response.bidder, []).append(number)
        for name, numbers in by_bidder.items():
            instead = None if name is None else self._other(name).bidder
            rows = torch.tensor(numbers).repeat_interleave(len(samples))
            columns = torch.arange(len(samples)).repeat(len(numbers))
            for row, column in zip(rows.split(_MARKETS), columns.split(_MARKETS), strict=True):
                chosen = [trials[number] for number in row.tolist()]
                earned[row, column] = self._of_trials(chosen, instead, samples[column])
        return earned

    def slope(self, coalition: tuple[int, ...], change: Change, samples: Tensor) -> Tensor:
        """Return what a little more of each entry of a change would bring a coalition, [5] EUR.

        It is the derivative in a smoothed uniform auction, a mean over days.
        """
        sim, like = self.simulation, self.simulation.community.pv_kwp
        moved = torch.tensor(change, device=like.device, dtype=like.dtype, requires_grad=True)
        deviates = torch.zeros(len(samples), sim.num_seats, dtype=torch.bool, device=like.device)
        deviates[:, list(coalition)] = True
        deviant = Deviant(self._bidder, None, deviates, moved.expand(len(samples), -1), self.game)
        sim.smoothing = _SMOOTHING
        try:
            earned = (self._earned(deviant, samples) * deviates).sum(-1).mean()
            (found,) = torch.autograd.grad(earned, moved)
        finally:
            sim.smoothing = 0.0
        return found

    def _of_trials(
        self, trials: Sequence[Trial[Response]], instead: Bidder | None, days: Tensor
    ) -> Tensor:
        deviates = torch.zeros(len(trials), self.simulation.num_seats, dtype=torch.bool)
        for number, trial in enumerate(trials):
            deviates[number, list(trial.coalition)] = True
        deviates = deviates.to(days.device)
        change = torch.tensor([trial.response.change for trial in trials], device=days.device)
        deviant = Deviant(self._bidder, instead, deviates, change, self.game)
        return (self._earned(deviant, days) * deviates).sum(-1)

    def _earned(self, bidder: Bidder, days: Tensor) -> Tensor:
        """Return what every seat earns in a day, [B, N] EUR."""
        sim = self.simulation
        sim.num_envs = len(days)
        seed = (self._seed + days // sim.slots).cpu()
        observation, state = sim.reset(days=days, seed=seed), None
        total = torch.zeros(observation.shape[:2], dtype=torch.float64, device=days.device)
        for _ in range(sim.slots):
            action, state = bidder.act(observation, state)
            interval = sim.step(action)
            observation = interval.observation
            total = total + interval.reward.total
        return total

    def _other(self, name: str) -> _Other:
        if name not in self._others:
            seats: list[int] = []
            refused: CheckpointError | None = None
            for group in self.game.groups:
                own = group.seats.tolist()
                try:
                    self._make(name, self.game.of_seats(own))
                except CheckpointError as error:
                    refused = error
                else:
                    seats += own
            if not seats and refused is not None:
                raise refused
            bidder = self._make(name, self.game.of_seats(seats))
            self._others[name] = _Other(bidder, frozenset(seats))
        return self._others[name]
