"""Off-chain clearing: solvers' net payments on the chain, and the contract's check of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field, model_validator

from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.proposals import Proposals, draw_proposals
from gridbazaar.ledger_sim.protocol import Ledger, MarketReceipts, MarketTransactions


class OffChainClearingConfig(LayerConfig):
    """Parameters of clearing off the chain."""

    checked: bool = Field(
        description="the contract reads the book in the order given and checks the solution; else "
        "it takes the solver's word"
    )
    solvers: int = Field(
        ge=1,
        le=1000,
        description="that hand in a solution each; the best that passes the check is settled",
        json_schema_extra={"unit": "1"},
    )
    dishonest_solvers: int = Field(
        ge=0,
        description="of the solvers, whose solution is wrong or worse than the best",
        json_schema_extra={"unit": "1"},
    )
    solve_s: NonNegative = Field(
        description="to clear a book, once", json_schema_extra={"unit": "s"}
    )
    round_trip_s: NonNegative = Field(
        description="of a round of messages off the chain",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _of_the_solvers(self) -> OffChainClearingConfig:
        if self.dishonest_solvers > self.solvers:
            raise ValueError(
                f"dishonest_solvers {self.dishonest_solvers} of solvers {self.solvers}; at most all"
            )
        return self


@LAYERS.register("off_chain_clearing")
class OffChainClearing(Layer):
    """Solvers clear off the chain; the contract checks each solution, and settles the best

    Orders stay on the chain, where the contract finds them for its check: it reads them in the
    sorted order that it is given, at the gas of a hinted clearing in which nothing is stored, once
    for each solution. It asks that a solution can be carried out and that nobody trades at a loss
    (`gridbazaar.envs.clearing_check`), and of those that pass settles the one of the largest
    surplus (EPS 5.3.1 [84]); where none passes, nothing is traded. Unchecked, the first solution
    stands. Messages of iterative mechanisms stay off the chain.
    """

    Config = OffChainClearingConfig

    def __init__(self, inner: Ledger, config: OffChainClearingConfig) -> None:
        super().__init__(inner)
        self.config = config

    def proposals(self) -> Proposals | None:
        """Let all solvers hand in a solution; where all are honest, as beneath."""
        config = self.config
        handed_in = draw_proposals(
            self.seed, self.slot, config.solvers, config.dishonest_solvers,
            "feasible" if config.checked else "none", contest=config.checked,
        )  # fmt: skip
        return handed_in or super().proposals()

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write net payments and, if checked, have them checked."""
        settled = market.traders > 0
        takes = self.settlement_gas(market)
        if self.evm and market.gas is None:
            takes = gas.batch_gas(market.traders) * settled
        if self.evm and self.config.checked:
            nobody = torch.zeros_like(market.orders)
            checks = gas.clear_gas(market.orders, nobody, hinted=True) * self.config.solvers
            takes = takes + checks * settled
        nothing = torch.zeros_like(market.messages)
        written = self.inner.submit_market(
            replace(market, rounds=nothing, messages=nothing, gas=takes)
        )
        off_chain_s = market.rounds * self.config.round_trip_s + self.config.solve_s * settled
        return replace(written, delay_s=written.delay_s + off_chain_s)
