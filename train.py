"""Train bidders and write runs/<name>/.

    python train.py name=demo
    python train.py name=fast market=uniform_auction ledger=block algorithm.lr=1e-3 seed=7
    python train.py name=demo resume=true      # after Ctrl-C or a crash

Words are Hydra overrides of configs/train.yaml; that file names every option and its default.
`--import my_module` and `--config-dir my_folder`, before or between them, bring variants and YAML
of your own, see docs/plugins.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gridbazaar.agents.learning.run_folder import configure
from gridbazaar.configs import take_words
from gridbazaar.errors import GridBazaarError


def main(words: Sequence[str]) -> int:
    """Train as the words say; return the exit code."""
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    try:
        config = configure(take_words(words))
        # RLlib takes seconds to import: not before the words are known to be right.
        from gridbazaar.agents.learning.trainer import train

        outcome = train(config)
    except GridBazaarError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the last whole checkpoint is kept", file=sys.stderr)
        return 130
    done, best = outcome.progress, outcome.progress.best_cost
    print(f"{outcome.folder}: {done.iteration} iterations, {done.agent_steps:,} agent steps")
    if best is not None:
        print(
            f"best validated community cost {best:.2f} per day: {outcome.folder}/checkpoints/best"
        )
    if outcome.finished:
        return 0
    print(f"continue with: python train.py name={config.name} resume=true")
    return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
