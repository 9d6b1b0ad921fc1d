"""Tables of README.md and docs/ that come from the code: `python tools/tables.py` writes them.

A table stands between `<!-- table: name -->` and `<!-- end -->`; a test checks that it is current.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from gridbazaar import envs, files
from gridbazaar.catalogue import FAMILIES
from gridbazaar.envs import observation
from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.layout import CORRECTION, DEVICE_ENTRIES, MUST_RUN_PRICE, PRIORITY_FEE
from gridbazaar.envs.spaces import spaces_of
from gridbazaar.evaluation.summary import kpi_table
from gridbazaar.ledger_sim import gas
from gridbazaar.studies.ledger import configured, published_ranking, trilemma
from gridbazaar.studies.ledger.cli import main as ledger_command

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PARTS = {
    "SEAT": "of the seat, never changes",
    "RATINGS": "of the device, never changes",
    "PUBLIC": "public, of the slot bid for",
    "OWN": "own, of the slot bid for",
    "SCHEDULE": "of the device, of the slot bid for",
    "DEVICE": "of the device, as the slot bid for begins",
    "USE": "of the device, left by the last interval",
    "OWN_STATE": "own, left by the last interval",
    "PUBLIC_STATE": "public, left by the last interval",
}
_COUNTED = {
    "first": "first order of the interval",
    "order": "order in the book",
    "matched": "order that trades",
    "shift": "place that sorting moves an order by",
    "seat": "seat",
    "new": "balance that was zero",
    "page": "256 accounts touched",
    "fresh": "256 accounts not marked before",
    "penalised": "any penalty",
    "level": "level of the proof",
    "answer": "answer to a posted state",
}


def spaces() -> str:
    """Return what the agents of the default task see and give, by policy."""
    rows = []
    for name, of in spaces_of(envs.batched(num_envs=1)).items():
        entries = ", ".join(f"`{entry.name}`" for entry in of.action_entries)
        sizes = (len(of.group.seats), len(of.features), len(of.action_entries))
        rows.append((f"`{name}`", *sizes, entries))
    return _table(("policy", "agents", "entries seen", "entries given", "which"), rows)


def actions() -> str:
    """Return the entries of an action."""
    entries = (MUST_RUN_PRICE, CORRECTION, *DEVICE_ENTRIES, PRIORITY_FEE)
    rows = [(f"`{entry.name}`", entry.unit, entry.meaning) for entry in entries]
    return _table(("entry", "unit", "meaning of -1 to +1"), rows)


def features() -> str:
    """Return the observation vector, entry by entry."""
    rows, index = [], 0
    for part, known in _PARTS.items():
        for feature in getattr(observation, part):
            cells = (index, f"`{feature.name}`", feature.unit, feature.scale, feature.meaning)
            rows.append((*cells, known))
            index += 1
    return _table(("entry", "name", "unit", "scale", "meaning", "who knows it"), rows)


def kpis() -> str:
    """Return the key figures."""
    table = kpi_table("EUR")
    keys = ("unit", "better", "group", "meaning")
    rows = [(f"`{name}`", *(figure[key] for key in keys)) for name, figure in table.items()]
    return _table(("name", "unit", "better", "table", "meaning"), rows)


def box() -> str:
    """Return every task, market, ledger, layer, device, bidder and algorithm."""
    rows = [
        (family.removesuffix("s"), f"`{name}`", line)
        for family, entries in FAMILIES.items()
        for name, line in entries().items()
    ]
    return _table(("kind", "name", "what it is"), rows)


def contract_gas() -> str:
    """Return the gas of every call of the market contract."""
    rows = []
    for call, row in gas.table().items():
        if call not in ("contract", "limits"):
            counted = (f"{value:,.0f} × {_COUNTED[k]}" for k, value in row.items() if k != "call")
            rows.append((f"`{call}`", f"{row['call']:,.0f}", ", ".join(counted)))
    return _table(("call", "gas", "and"), rows)


def ledgers() -> str:
    """Return the configured ledgers."""
    rows = [(f"`{name}`", configured.summary(name)) for name in configured.configured()]
    return _table(("ledger", "what it is, and after whom"), rows)


def ledger_run() -> str:
    """Return what a run on the command line prints."""
    arguments = "run tendermint_pilot --loads 0.1,5,9.9,12 --hours 6"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        ledger_command(arguments.split())
    return f"```console\n$ python -m ledger_sim {arguments}\n{printed.getvalue()}```\n"


@cache
def _profiles() -> list[trilemma.Profile]:
    return trilemma.profiles()


def ledger_overview() -> str:
    """Return all ledgers side by side."""
    return _table(trilemma.OVERVIEW_HEAD, trilemma.overview(_profiles()))


def ledger_beyond() -> str:
    """Return what happens when too many validators fail."""
    return _table(("ledger", "when more fail"), trilemma.beyond(_profiles()))


def ledger_growth() -> str:
    """Return speed and messages against validators."""
    return _table(trilemma.growth_head(), trilemma.growth(_profiles()))


def ledger_order() -> str:
    """Return the comparison with a published table."""
    rows = published_ranking.table(published_ranking.judge(_profiles()))
    return _table(published_ranking.HEAD, rows)


def ledger_sources() -> str:
    """Return every value of ledgers, layers and contract calls with its source."""
    rows = [
        (f"`{name}`", f"`{s.path}`", s.value, s.unit, s.status, s.source.replace("|", "\\|"))
        for name in configured.sourced()
        for s in configured.sources_of(name)
        if s.source
    ]
    return _table(("file", "parameter", "value", "unit", "status", "source"), rows)


def day_record() -> str:
    """Return the fields of a day's record, as its docstring says."""
    _, _, fields = (inspect.getdoc(DayRecord) or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", fields, re.MULTILINE)
    rows = []
    for names, said in entries:
        shape, _, meaning = " ".join(said.split()).partition("]")
        named = ", ".join(f"`{name}`" for name in names.split(", "))
        rows.append((named, f"{shape.removeprefix('[')}", meaning.strip(" .")))
    return _table(("fields", "shape", "meaning"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "spaces": spaces,
    "actions": actions,
    "features": features,
    "kpis": kpis,
    "day_record": day_record,
    "box": box,
    "ledgers": ledgers,
    "ledger_run": ledger_run,
    "ledger_overview": ledger_overview,
    "ledger_beyond": ledger_beyond,
    "ledger_growth": ledger_growth,
    "ledger_order": ledger_order,
    "ledger_sources": ledger_sources,
    "gas": contract_gas,
}


def current(text: str) -> str:
    """Return a page with its tables as the code has them now."""
    return _PLACE.sub(lambda place: place[1] + TABLES[place[2]]() + place[3], text)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def main() -> None:
    """Rewrite the pages whose tables are out of date."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := current(text)) != text:
            files.write(page, new)
            print(f"rewrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
