"""What can be wrong with a run or a checkpoint; each message says what, where, and the mend.

ValueError
└── RunError            a run folder that cannot be started in or continued
    └── CheckpointError a checkpoint that is damaged or foreign
"""

_OURS = {"agents", "configs", "envs", "evaluation", "ledger_sim"}


class RunError(ValueError):
    """A run folder that cannot be started in or continued."""


class CheckpointError(RunError):
    """A checkpoint that is damaged, or was not written by this project."""


def explains_itself(error: Exception) -> bool:
    """Return whether an error is of this project's own kinds: its message replaces a traceback."""
    return type(error).__module__.partition(".")[0] in _OURS
