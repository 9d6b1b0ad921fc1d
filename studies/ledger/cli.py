"""Command line of the ledger studies: `python -m ledger_sim`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from gridbazaar.errors import GridBazaarError
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, consensus_of
from gridbazaar.studies.ledger import configured, published_ranking, trilemma
from gridbazaar.studies.ledger.load import LoadResult, simulate, sweep
from gridbazaar.studies.ledger.text import Row, aligned, rounded

_PROGRAM = "python -m ledger_sim"
_EXAMPLES = """\
examples:
  python -m ledger_sim list
  python -m ledger_sim run tendermint --load 5 --plot tendermint.png
  python -m ledger_sim run block --loads 0.1,1,5,9 --hours 6 --set interval_s=10 --set block_gas=100
  python -m ledger_sim run pbft --set 'faults=[{from_s: 3600, to_s: 7200, crashed: 4}]'
  python -m ledger_sim run my_ledger.yaml
  python -m ledger_sim sources proof_of_stake
  python -m ledger_sim trilemma --plot trilemma.png"""
_SHOW_PROGRESS_AFTER_S = 5.0
# What a run prints: name, unit, figure.
_FIGURES: Sequence[tuple[str, str, Callable[[LoadResult], float]]] = (
    ("throughput", "tx/s", lambda r: r.throughput_per_s),
    ("in a block, median", "s", lambda r: r.latency.quantile(0.5)),
    ("in a block, 99 of 100", "s", lambda r: r.latency.quantile(0.99)),
    ("final, median", "s", lambda r: r.finality.quantile(0.5)),
    ("lost after final", "%", lambda r: 100 * r.reverted_share),
    ("so in closed form", "%", lambda r: 100 * r.reversal_probability),
    ("backlog at the end", "tx", lambda r: r.backlog),
    ("fee per transaction", "EUR", lambda r: r.fee_per_transaction_eur),
    ("of it burned", "%", lambda r: 100 * r.burned_share),
    ("energy per transaction", "kWh", lambda r: r.energy_per_transaction_kwh),
    ("messages per block", "", lambda r: r.messages_per_block),
    ("blocks per minute", "1/min", lambda r: r.blocks_per_min),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 2 for wrong input, 130 after Ctrl-C."""
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
        sys.stdout.flush()
    except (GridBazaarError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # Nobody reads on; the interpreter must not complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        _PROGRAM, description="Simulate and compare ledgers.", epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = partial(commands.add_parser, formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    add("list", help="the configured ledgers").set_defaults(command=_list)

    run = add("run", help="simulate a load on a ledger")
    run.add_argument("ledger", help="configured name, or path of a YAML file")
    loads = run.add_mutually_exclusive_group()
    loads.add_argument("--load", type=float, default=1.0, metavar="TX_S",
                       help="transactions per second that arrive on average")  # fmt: skip
    loads.add_argument("--loads", type=_floats, metavar="A,B,...", help="several of them")
    run.add_argument("--hours", type=float, default=24.0, help="simulated")
    run.add_argument("--seeds", type=int, default=4, help="runs side by side")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes",
                     help="change a parameter, as in network.latency_s=0.1")  # fmt: skip
    run.add_argument("--plot", type=Path, metavar="FILE", help="write .png, .svg or .pdf")
    run.set_defaults(command=_run)

    sources = add("sources", help="where each default comes from")
    sources.add_argument(
        "name", help="a ledger, a layer, gas (of contract calls), path of a ledger's YAML, or all"
    )
    sources.set_defaults(command=_sources)

    three = add("trilemma", help="all ledgers side by side, and in a published order")
    three.add_argument("--plot", type=Path, metavar="FILE", help="write .png, .svg or .pdf")
    three.set_defaults(command=_trilemma)
    return parser


def _floats(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        message = f"{text!r} is no list of numbers, such as 0.1,1,10"
        raise argparse.ArgumentTypeError(message) from None


def _list(_: argparse.Namespace) -> None:
    rows = [(name, configured.summary(name)) for name in configured.configured()]
    print(aligned(("ledger", "what it is"), rows))


def _sources(given: argparse.Namespace) -> None:
    names = configured.sourced() if given.name == "all" else [given.name]
    rows = [
        (f"{name}.{s.path}" if len(names) > 1 else s.path, str(s.value), s.unit, s.status, s.source)
        for name in names
        for s in configured.sources_of(name)
    ]
    print(aligned(("parameter", "value", "unit", "status", "source"), rows))


def _run(given: argparse.Namespace) -> None:
    config = configured.read(given.ledger, given.changes)
    if given.plot:
        from gridbazaar.studies.ledger import plots

        plots.check_path(given.plot)
    results = [
        simulate(config, load, given.hours, given.seeds, _progress(f"{load:g} tx/s"))
        for load in given.loads or [given.load]
    ]
    rows: list[Row] = [
        (name, unit, *(rounded(value(r)) for r in results)) for name, unit, value in _FIGURES
    ]
    if isinstance(config, ChainConfig) and config.income is not None:
        rows.append(("Gini of validators' income", "", *(rounded(r.income_gini) for r in results)))
    print(aligned(("", "", *(f"{rounded(r.load_per_s)} tx/s" for r in results)), rows))
    for r in results:
        if r.saturated:
            print(
                f"\n{rounded(r.load_per_s)} tx/s is more than the {rounded(r.capacity_per_s)} tx/s "
                "that the blocks have room for: the backlog grows as long as the load lasts."
            )
    if isinstance(config, ChainConfig):
        bound = consensus_of(config).tolerance
        print(
            f"\nOf {config.validators:,} validators, {bound.crashed:,} may be silent and "
            f"{bound.lying:,} may lie. When more fail: {bound.beyond}."
        )
    if config.layers:
        print(
            "\nOrders alone are simulated: what layers change in the market's own transactions "
            "(clearing, settlement) is not in these figures."
        )
    if given.plot:
        curve = results if given.loads else sweep(config, watch=_progress("plot"))
        title = f"{Path(given.ledger).stem.replace('_', ' ')} {' '.join(given.changes)}".strip()
        plots.save_load(given.plot, title, results, curve)
        print(f"\nwrote {given.plot}")


def _trilemma(given: argparse.Namespace) -> None:
    if given.plot:
        from gridbazaar.studies.ledger import plots

        plots.check_path(given.plot)
    names = configured.configured()
    found = trilemma.profiles(list(_progress("ledgers")(names)))
    print(f"At {trilemma.LOAD_PER_S:g} tx/s of our own; n validators, of which so many may crash "
          "or lie.\n")  # fmt: skip
    print(aligned(trilemma.OVERVIEW_HEAD, trilemma.overview(found)))
    print("\nWhen more fail:\n")
    print(aligned(("ledger", "what happens"), trilemma.beyond(found)))
    print("\nAgainst the number of validators n:\n")
    print(aligned(trilemma.growth_head(), trilemma.growth(found)))
    print("\nAgainst Cantillo-Luna et al. (IEEE Access 2022), Table 2:\n")
    print(aligned(published_ranking.HEAD, published_ranking.table(published_ranking.judge(found))))
    if given.plot:
        plots.save_trilemma(given.plot, found)
        print(f"\nwrote {given.plot}")


def _progress(what: str) -> Callable[[Iterable], Iterable]:
    return partial(
        tqdm, desc=what, delay=_SHOW_PROGRESS_AFTER_S, leave=False, disable=not sys.stderr.isatty()
    )
