"""Shape of a training configuration; the values live in YAML under configs/ alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gridbazaar.config import Config, Count, Positive, RunName, Seed, Share, Whole
from gridbazaar.envs.config import TaskConfig, WorldConfig


class RewardConfig(Config):
    """What seats learn from, made of what they earn."""

    scale: Positive = Field(
        description="learning units per EUR", json_schema_extra={"unit": "1/EUR"}
    )
    team_weight: Share = Field(description="0: own reward; 1: the community's mean")
    less_given_bill: bool = Field(
        description="leave out the bill that load and sun alone would have at the grid's prices"
    )


class RayConfig(Config):
    """Where RLlib's actors run."""

    address: str | None = Field(description="of a running cluster; null starts one here")
    num_cpus: Count | None = Field(description="of the cluster started here; null: all")


class TrainConfig(Config):
    """Everything `train.py` is told."""

    name: RunName = Field(description="of the run, written to <folder>/<name>")
    folder: str = Field(description="where runs are written")
    resume: bool = Field(
        description="whether to continue <folder>/<name> from its newest checkpoint",
    )
    seed: Seed = Field(description="of networks, days and chances")
    device: Annotated[str, Field(pattern=r"^(cpu|cuda)$")] = Field(
        description="where markets are simulated and learners run",
    )
    num_envs: Count = Field(description="parallel markets of one env runner")
    num_env_runners: Whole = Field(description="Ray actors that sample; 0: this process")
    num_learners: Whole = Field(description="Ray actors that learn; 0: this process")
    total_agent_steps: Count = Field(description="intervals times seats, after which training ends")
    validate_every: Count = Field(description="iterations")
    checkpoint_every: Count = Field(description="iterations")
    keep_checkpoints: Count = Field(description="newest checkpoints kept besides the best")
    loggers: tuple[str, ...] = Field(description="who gets all scalars besides progress.csv")
    ray: RayConfig = Field(description="the cluster")
    task: TaskConfig = Field(description="feeder, seats, data and rules")
    market: dict[str, Any] = Field(description="name and parameters of a registered market")
    ledger: dict[str, Any] = Field(description="name and parameters of a registered ledger")
    incentives: tuple[Any, ...] = Field(
        (), description="registered schemes that pay for meter readings, by name or with parameters"
    )
    policies: Literal["group", "seat", "all"] = Field(description="who shares a policy")
    fixed: dict[str, str] | None = Field(
        description="who does not learn, and the bidder that plays them; null: all learn"
    )
    reward: RewardConfig = Field(description="what seats learn from")
    algorithm: dict[str, Any] = Field(description="name and parameters of a registered algorithm")

    @property
    def world(self) -> WorldConfig:
        """Return the task under its market, ledger and incentives."""
        return WorldConfig(
            task=self.task, market=self.market, ledger=self.ledger, incentives=self.incentives
        )
