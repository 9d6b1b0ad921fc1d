"""The command `gridbazaar`: train bidders, compare them, list what can be chosen by name.

`train.py` and `evaluate.py` of a checkout run the same. Exit codes: 0, 1 where the world failed
(no optimum, a full disk, another process at work, a closed pipe) or this project, 2 for wrong
input, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from gridbazaar.errors import (
    GridBazaarError,
    UnknownNameError,
    WorldError,
    in_one_line,
    is_out_of_memory,
)

FAILED, WRONG, INTERRUPTED = 1, 2, 130
# What a command prints at its end, and its exit code.
Answer = tuple[str, int]

_USAGE = """\
usage: gridbazaar COMMAND [WORD ...]

  gridbazaar train name=first            train bidders and write runs/first/
  gridbazaar evaluate name=first bidder=[all,runs/first]
                                         compare bidders and write results/first/
  gridbazaar render bidder=truthful out=day.gif
                                         draw a day, interval by interval
  gridbazaar view results/first          show its report in a browser, and step through a day
  gridbazaar list                        tasks, markets, devices, ledgers, bidders, ...
  gridbazaar list markets bidders        some of them
  gridbazaar COMMAND --help              more on a command
  gridbazaar --version
"""
_TRAIN = """\
Train bidders and write runs/<name>/.

    {called} name=demo
    {called} name=fast market=uniform_auction ledger=block algorithm.lr=1e-3 seed=7
    {called} name=demo resume=true      # after Ctrl-C or a crash
    {called} name=five 'seed=[0,1,2,3,4]'    # one bidder: runs/five
    {called} -m seed=0,1,2 market=uniform_auction,vcg
    {called} name=sweep resume=true     # what is finished is skipped
    {called} --tune name=search 'algorithm.lr=tag(log,interval(1e-3,1e-2))'
    {called} name=pilot preset=brooklyn    # market, ledger and community of a pilot

Options, each a word; several values, as in seed=0,1,2, are trained one after another by -m, or
several at a time by Hydra's launchers, as in hydra/launcher=joblib (docs/cluster.md):

{options}

{called} --list markets      names that can be chosen
--import my_module, --config-dir my_folder    bring variants and YAML of your own (docs/plugins.md)
Exit codes: 0 done; 1 the world failed, a full disk say; 2 wrong input; 130 stopped by Ctrl-C.
"""
_EVALUATE = """\
Compare bidders on held-out days and write results/<name>/ with its report.html.

    {called} name=demo 'bidder=[truthful,runs/demo]' market=all 'ledger=[ideal,block]'
    {called} name=quick bidder=all days=7 seed=3 overwrite=true
    {called} preset=quartierstrom days=7   # a pilot's market, ledger, community
    {called} --list markets    # names that can be chosen
    {called} -m name=sizes task.ownership.battery_share=0.2,0.5,0.8 bidder=truthful
                           # an evaluation for each value, results/sizes/<value>
    {called} --skill-range task=semiurb4-v1 task=kerber-v1 days=13
                           # what there is to win in tasks: grid alone, bidders, planner, optimum
    {called} suite=v1 'bidder=[runs/demo]'   # fixed suite, leaderboard
    {called} --generalisation name=far 'bidder=[runs/demo]'
                           # on other feeders, tariffs, PV, ledgers, markets and data

Options, each a word; a bidder is a registered name or the folder of a run or checkpoint:

{options}

--import my_module, --config-dir my_folder    bring variants and YAML of your own (docs/plugins.md)
Exit codes: 0 done; 1 the world failed, a full disk say; 2 wrong input; 130 stopped by Ctrl-C.
"""
_RENDER = """\
Play a day with one bidder and draw it: feeder, book, chain, prices and power.

    {called} out=day.gif                           # a film; .webp, .mp4 and .webm as well
    {called} task=kerber market=pay_as_bid ledger=block bidder=learned out=kerber.gif
    {called} bidder=runs/demo day=200 at=18:15 out=evening.svg    # one interval; .pdf, .png

Words are overrides of configs/render.yaml; that file names every option and its default. See
docs/pictures.md.
"""
_LIST = """\
List what can be chosen by name, with a line each.

    {called}
    {called} markets bidders
"""
_VIEW = """\
Serve results on this machine: their report, and a page to step through a day.

    {called} results/demo
    {called} results/demo port=8000     # any free port by default

Open the address that is printed in a browser. Ctrl-C ends it.
"""
_HELP, _LISTING, _SKILL_RANGE = ("-h", "--help"), "--list", "--skill-range"
_GENERALISATION, _SUITE, _TUNE = "--generalisation", "suite=", "--tune"
_SWEEP = ("-m", "--multirun")


def main(words: Sequence[str] | None = None) -> int:
    """Run `gridbazaar` with these words, the process's own by default; return the exit code."""
    command, *rest = (sys.argv[1:] if words is None else words) or [""]
    if command in COMMANDS:
        return COMMANDS[command](rest)
    if command in _HELP or not command:
        return _run(lambda: (_USAGE, 0 if command else WRONG), "gridbazaar")
    if command == "--version":
        return _run(lambda: (version("gridbazaar"), 0), "gridbazaar")
    return _run(lambda: _unknown(command), "gridbazaar")


def train(words: Sequence[str], called: str = "gridbazaar train") -> int:
    """Train as the words say; return the exit code.

    Args:
        words: of the command line.
        called: how the user started this, for help and messages.
    """
    if set(_HELP) & set(words):
        return _run(lambda: _explained(_TRAIN, "train", words, called), called)
    if _LISTING in words:
        return show([word for word in words if word != _LISTING], called)
    return _run(lambda: _trained(words, called), called)


def evaluate(words: Sequence[str], called: str = "gridbazaar evaluate") -> int:
    """Evaluate as the words say; return the exit code. Arguments as for `train`."""
    if set(_HELP) & set(words):
        return _run(lambda: _explained(_EVALUATE, "evaluate", words, called), called)
    if _LISTING in words:
        return show([word for word in words if word != _LISTING], called)
    if _SKILL_RANGE in words:
        others = [word for word in words if word != _SKILL_RANGE]
        return _run(lambda: _ranged(others), called)
    if _GENERALISATION in words:
        rest = [word for word in words if word != _GENERALISATION]
        return _run(lambda: _generalised(rest), called)
    if any(word.startswith(_SUITE) for word in words):
        return _run(lambda: _suite(words), called)
    return _run(lambda: _evaluated(words), called)


def render(words: Sequence[str], called: str = "gridbazaar render") -> int:
    """Draw a day as the words say; return the exit code."""
    if set(_HELP) & set(words):
        return _run(lambda: (_RENDER.format(called=called), 0), called)
    return _run(lambda: _rendered(words), called)


def show(words: Sequence[str], called: str = "gridbazaar list") -> int:
    """List the families that the words name, or all; return the exit code."""
    if set(_HELP) & set(words):
        return _run(lambda: (_LIST.format(called=called), 0), called)
    return _run(lambda: _listed(words), called)


def view(words: Sequence[str], called: str = "gridbazaar view") -> int:
    """Serve the results that the words name until Ctrl-C; return the exit code."""
    if set(_HELP) & set(words):
        return _run(lambda: (_VIEW.format(called=called), 0), called)
    return _run(lambda: _viewed(words), called)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "evaluate": evaluate,
    "render": render,
    "list": show,
    "view": view,
}


def _explained(text: str, entry: str, words: Sequence[str], called: str) -> Answer:
    """Return a command's help, with the options of what its words choose."""
    from gridbazaar.configs import expand, option_help, take_words

    return text.format(called=called, options=option_help(entry, expand(take_words(words)))), 0


# Imports are heavy and stand where they are needed: RLlib alone takes seconds.
def _trained(words: Sequence[str], called: str) -> Answer:
    from gridbazaar.agents.learning.campaign import is_several
    from gridbazaar.agents.learning.run_folder import configure
    from gridbazaar.configs import bringing_words, take_words

    given, words = words, take_words(words)
    if _TUNE in words:
        return _tuned(words, called)
    again = [*bringing_words(given), *(word for word in words if word.startswith("folder="))]
    if is_several(words):
        return _trained_all(words, called, again)
    config = configure(words)
    from gridbazaar.agents.learning.trainer import train

    outcome = train(config)
    _draw(outcome.folder)
    done, best = outcome.progress, outcome.progress.best_cost
    lines = [f"{outcome.folder}: {done.iteration} iterations, {done.agent_steps:,} agent steps"]
    if best is not None:
        lines.append(
            f"best validated community cost {best:.2f} per day: {outcome.folder}/checkpoints/best"
        )
    if not outcome.finished:
        lines.append(_to_continue(called, config.name, again))
    return "\n".join(lines), 0 if outcome.finished else INTERRUPTED


def _to_continue(called: str, name: str, others: Sequence[str]) -> str:
    """Return the line that says how an interrupted training goes on."""
    return f"continue with: {called} {shlex.join([f'name={name}', 'resume=true', *others])}"


def _draw(folder: Path) -> None:
    from gridbazaar.evaluation.learning_curves import draw

    draw(folder)


def _tuned(words: Sequence[str], called: str) -> Answer:
    from gridbazaar.agents.learning.campaign_runs import table
    from gridbazaar.agents.learning.tuning import search

    results = search(words)
    return table(results), FAILED if any(result.fault for result in results) else 0


def _trained_all(words: Sequence[str], called: str, again: Sequence[str]) -> Answer:
    from gridbazaar.agents.learning.campaign import plan, train_all
    from gridbazaar.agents.learning.campaign_runs import table

    campaign = plan(words)
    results = train_all(campaign)
    for folder in {result.run.folder for result in results}:
        _draw(folder)
    text = f"{campaign.folder}\n{table(results)}"
    if any(not result.finished and not result.fault for result in results):
        line = _to_continue(called, campaign.folder.name, [*campaign.launcher, *again])
        return f"{text}\n{line}", INTERRUPTED
    return text, FAILED if any(result.fault for result in results) else 0


def _evaluated(words: Sequence[str]) -> Answer:
    from gridbazaar.configs import take_words

    words = take_words(words)
    if set(_SWEEP) & set(words):
        from gridbazaar.evaluation.sweep import evaluate_all

        return evaluate_all([word for word in words if word not in _SWEEP])
    from gridbazaar.evaluation.config import configure

    config = configure(words)
    from gridbazaar.evaluation.results import evaluate, table

    folder = evaluate(config)
    return f"{table(folder)}\n\nreport: {folder / 'report.html'}", 0


def _ranged(words: Sequence[str]) -> Answer:
    from gridbazaar.configs import take_words
    from gridbazaar.evaluation.skill_range import configure, measure, table

    return table([measure(config) for config in configure(take_words(words))]), 0


def _suite(words: Sequence[str]) -> Answer:
    from gridbazaar.configs import take_words
    from gridbazaar.evaluation import suite

    folder = suite.play_words(take_words(words))
    text = (folder / suite.BOARD).read_text(encoding="utf-8")
    return f"{text}\n{folder / suite.BOARD}", 0


def _generalised(words: Sequence[str]) -> Answer:
    from gridbazaar.configs import take_words
    from gridbazaar.evaluation import generalisation

    folder = generalisation.play_words(take_words(words))
    text = (folder / generalisation.TABLE).read_text(encoding="utf-8")
    return f"{text}\n{folder}", 0


def _rendered(words: Sequence[str]) -> Answer:
    from gridbazaar.configs import take_words
    from gridbazaar.evaluation.day_film import configure, film

    return str(film(configure(take_words(words)))), 0


def _listed(words: Sequence[str]) -> Answer:
    from gridbazaar.catalogue import listing
    from gridbazaar.configs import take_words

    return listing(*take_words(words)), 0


def _viewed(words: Sequence[str]) -> Answer:
    from gridbazaar.evaluation.view import view

    view(words, lambda line: print(line, flush=True))
    return "ended", 0


def _unknown(command: str) -> Answer:
    raise UnknownNameError("command", command, COMMANDS)


def _run(work: Callable[[], Answer], called: str) -> int:
    """Do a command's work and print its answer; an error is one line."""
    name = called.removeprefix("python ")
    try:
        text, code = work()
    except KeyboardInterrupt as stop:
        notes = getattr(stop, "__notes__", ["nothing was written"])
        print("; ".join(["interrupted", *notes]), file=sys.stderr)
        return INTERRUPTED
    except (GridBazaarError, OSError, MemoryError) as error:
        print(f"{name}: {in_one_line(error)}", file=sys.stderr)
        wrong = isinstance(error, GridBazaarError) and not isinstance(error, WorldError)
        return WRONG if wrong else FAILED
    except Exception as error:
        report = [] if is_out_of_memory(error) else [_to_report()]
        print("; ".join([f"{name}: {in_one_line(error)}", *report]), file=sys.stderr)
        return FAILED
    try:
        print(text.rstrip("\n"), flush=True)
    except BrokenPipeError:
        # Whoever reads, `head` say, has seen enough; the interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _to_report() -> str:
    """Put the traceback of what is being handled into a file; return what to do with it."""
    text = f"gridbazaar {version('gridbazaar')}: {sys.argv}\n\n{traceback.format_exc()}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="gridbazaar-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        where = f"with {file.name}, which holds the traceback,"
    except OSError:
        print(text, file=sys.stderr)
        where = "with the traceback above"
    return (
        "this is a fault of GridBazaar, or of a plug-in of yours: please report it "
        f"{where} where you got GridBazaar from, as CONTRIBUTING.md says"
    )
