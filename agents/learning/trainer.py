"""Training from a configuration to a run's folder: the loop and its bookkeeping."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    TIMERS,
)

from gridbazaar import files
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning import checkpoints
from gridbazaar.agents.learning.algorithms import Algorithm, make
from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.agents.learning.curves import Curves
from gridbazaar.agents.learning.diary import Diary, Say, plan_lines, say
from gridbazaar.agents.learning.interrupt import Interrupt
from gridbazaar.agents.learning.rllib import env_runner
from gridbazaar.agents.learning.rllib.config import rllib_config, workload
from gridbazaar.agents.learning.rllib.session import ray_session
from gridbazaar.agents.learning.run_folder import check_new, folder_of, open_folder
from gridbazaar.agents.learning.validation import COST, Validation

Watch = Callable[[Progress, float], None]

# RLlib's name of a learner statistic -> ours; every learner has these.
_CURVES = {
    "default_optimizer_learning_rate": "learning_rate",
    "gradients_default_optimizer_global_norm": "gradient_norm",
}
_MANY_GPUS = (
    "several learners on GPUs with %d policies: RLlib is known to deadlock there (ray-project/ray, "
    "issue 63819); the order that caused it is fixed here, but seen to work on CPUs alone. If it "
    "hangs, take num_learners=1 or policies=all"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        folder: of the run.
        progress: how far it came.
        finished: False where it was interrupted.
    """

    folder: Path
    progress: Progress
    finished: bool


def _nobody(progress: Progress, cost: float) -> None:
    """Watch nothing."""


def train(config: TrainConfig, watch: Watch = _nobody, tell: Say = say) -> Outcome:
    """Train until `total_agent_steps`, or until interrupted, and leave a whole checkpoint.

    Args:
        config: of the run.
        watch: is told after each validation how far the run is, and the cost in EUR/day.
        tell: is told in lines what starts.

    Raises:
        RunError: the run exists already, or its checkpoint cannot be continued.
        BusyError: another process writes it.
    """
    # What needs no world is said at once; one that cannot be built leaves no folder behind.
    folder = folder_of(config)
    with files.claim(folder) if folder.exists() else nullcontext():
        if not config.resume:
            check_new(folder)
    algorithm = make(config.algorithm)
    tell(f"building {config.task.name}")
    validation = Validation(config, algorithm)
    with ExitStack() as held:
        held.enter_context(files.claim(folder))
        tell("starting Ray")
        held.enter_context(ray_session(config.ray))
        interrupt = held.enter_context(Interrupt())
        folder = open_folder(config)
        tell(f"training into {folder}")
        try:
            with closing(Training(config, algorithm, folder, validation, watch)) as training:
                for line in training.plan:
                    tell(line)
                return training.run(interrupt)
        except BaseException as error:
            begun = checkpoints.newest(folder) is not None
            kept = "the last whole checkpoint is kept" if begun else "no checkpoint is written yet"
            error.add_note(f"{kept}: resume=true goes on from there")
            raise


class Training:
    """One run in progress.

    Args:
        config: of the run.
        algorithm: made of `config.algorithm`.
        folder: of the run; its newest checkpoint is restored where there is one.
        validation: the days to validate on.
        watch: see `train`.
    """

    def __init__(
        self,
        config: TrainConfig,
        algorithm: Algorithm,
        folder: Path,
        validation: Validation,
        watch: Watch = _nobody,
    ):
        self._watch = watch
        self._config, self._folder, self._validate = config, folder, validation
        if config.device == "cuda" and config.num_learners > 1 and len(validation.groups) > 1:
            _log.warning(_MANY_GPUS, len(validation.groups))
        self._curve_names = {**_CURVES, **algorithm.curves}
        work = workload(config, validation.num_seats, validation.slots)
        # RLlib recommends its newest API with a warning to those who use it already.
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        self._rllib: Any = rllib_config(config, algorithm, validation.spaces, work).build_algo()
        self._steps = work.agent_steps
        policies = checkpoints.policies_of(validation.game.layout, validation.groups)
        self._iterations = math.ceil(config.total_agent_steps / self._steps)
        self._validated: float | None = None
        self.progress = Progress(
            iteration=0,
            agent_steps=0,
            seconds=0.0,
            best_cost=None,
            policies=policies,
            state_size=next(iter(validation.spaces.values())).state.shape[0],
            algorithm=config.algorithm,
            sharing=config.policies,
            fixed=config.fixed or {},
        )
        newest = checkpoints.newest(folder)
        if newest is not None:
            self.progress = checkpoints.restore(self._rllib, newest, policies)
            checkpoints.mend(folder)  # a kill may have come before its link
        self._curves = Curves(folder, self.progress, config.loggers, config.model_dump(mode="json"))

    @property
    def plan(self) -> list[str]:
        """What the run will do, in lines."""
        minibatch = self._config.algorithm.get("minibatch_size")
        wanted = self._config.total_agent_steps
        return plan_lines(wanted, self._steps, self._iterations, minibatch)

    def run(self, interrupt: Interrupt) -> Outcome:
        """Iterate until the end or the interrupt; save a checkpoint then."""
        with closing(Diary(self._iterations, self._steps, self.progress)) as diary:
            while self.progress.iteration < self._iterations and not interrupt:
                cost = self._iterate()
                diary.note(self.progress, cost, self._validated)
        self._save()
        finished = self.progress.iteration >= self._iterations
        return Outcome(self._folder, self.progress, finished)

    def close(self) -> None:
        """Stop RLlib's actors and close the curves."""
        try:
            self._curves.close()
        finally:
            self._rllib.stop()

    def _iterate(self) -> float:
        """Sample, learn, validate and save as far as each is due; return the training cost."""
        start = time.monotonic()
        result = self._rllib.train()
        rate = self._steps / (time.monotonic() - start)
        iteration = self.progress.iteration + 1
        scalars = {**_train_scalars(result, self._curve_names), "agent_steps_per_s": rate}
        due = iteration % self._config.validate_every == 0 or iteration == self._iterations
        validated = self._validate(self._rllib.learner_group.get_weights()) if due else {}
        self._validated = validated.get(COST)
        best = math.inf if self.progress.best_cost is None else self.progress.best_cost
        better = due and validated[COST] < best
        self.progress = replace(
            self.progress,
            iteration=iteration,
            agent_steps=self.progress.agent_steps + self._steps,
            seconds=self.progress.seconds + time.monotonic() - start,
            best_cost=validated[COST] if better else self.progress.best_cost,
            best_iteration=iteration if better else self.progress.best_iteration,
        )
        self._curves.add(self.progress, scalars, validated)
        if better or iteration % self._config.checkpoint_every == 0:
            self._save()
        if due:
            self._watch(self.progress, validated[COST])
        return scalars[env_runner.COST]

    def _save(self) -> None:
        """Save a checkpoint and the curves up to it; nothing before the first iteration."""
        if self.progress.iteration == 0:
            return
        # Curves first: after a kill in between, resuming drops what the checkpoint lacks.
        self._curves.flush()
        checkpoints.save(self._rllib, self._folder, self.progress, self._config.keep_checkpoints)


def _train_scalars(result: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """Return the curves' scalars from RLlib's result of one iteration.

    Args:
        result: of RLlib's `train`.
        names: RLlib's name of a learner statistic -> ours.
    """
    sampled, timers = result[ENV_RUNNER_RESULTS], result[TIMERS]
    scalars = {
        env_runner.COST: float(sampled[env_runner.COST]),
        "sampling_s": float(timers[ENV_RUNNER_SAMPLING_TIMER]),
        "learning_s": float(timers[LEARNER_UPDATE_TIMER]),
    }
    for group, reward in sampled[env_runner.REWARD].items():
        scalars[f"{env_runner.REWARD}/{group}"] = float(reward)
    for policy, learned in result[LEARNER_RESULTS].items():
        for theirs, ours in names.items():
            if theirs in learned:
                scalars[f"{ours}/{policy}"] = float(learned[theirs])
    return scalars
