"""Cards of the tasks: feeder, seats, spaces, tariff, rules and skill range, a page each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from example_home import example_words
from feeder_picture import Feeder, feeder_svg, key_svg
from price_picture import price_svg

from gridbazaar import envs
from gridbazaar.config import Config
from gridbazaar.configs import option, options, path_of
from gridbazaar.envs.build import make_market, place_community
from gridbazaar.envs.config import RulesConfig, WorldConfig
from gridbazaar.envs.devices.storage import Storage
from gridbazaar.envs.placement import load_grid_and_series
from gridbazaar.envs.simulation import Simulation
from gridbazaar.envs.spaces import Spaces, spaces_of
from gridbazaar.ledger_sim import make as make_ledger

ROOT = Path(__file__).parents[2]
# Okabe and Ito's, as in all plots.
_COLOURS = {"prosumer": "#E69F00", "storage": "#009E73", "ev": "#CC79A7", "consumer": "#0072B2"}
_OTHER = "#D55E00"
CACHE = ROOT / "build" / "cards"
# A card follows from these alone.
_SOURCES = ("envs", "configs", "ledger_sim", "gridbazaar", "tools/docs_site", "docs/tasks.md")


class Placed(NamedTuple):
    """A task as it stands: its configuration, pandapower net and simulation of one market."""

    world: WorldConfig
    net: Any
    simulation: Simulation


def place(task: str) -> Placed:
    """Build a task; one that needs a user's files gets those of three made-up homes."""
    words = example_words() if option("task", task)["data"]["source"] == "files" else ()
    world = envs.world(task, overrides=words)
    net, series = load_grid_and_series(world.task)
    community, delivery = place_community(world.task, net, series)
    market, ledger = make_market(world.market), make_ledger(world.ledger)
    rules = world.task.rules
    return Placed(world, net, Simulation(community, delivery, market, ledger, rules, 1, "train", 0))


def pages() -> tuple[list[Any], dict[str, str]]:
    """Return entries of the navigation, and the text of each card by path."""
    tasks = options("task")
    # Some read a year of another grid for seconds; what is made already is only read.
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        texts = {
            f"environments/{t}.md": text
            for t, text in zip(tasks, pool.map(cached, tasks), strict=True)
        }
    return [{"Cards": list(texts)}], texts


def index() -> dict[str, str]:
    """Return the page over all cards."""
    rows = [(f"[`{t}`]({t}.md)", option("task", t)["description"]) for t in options("task")]
    text = (
        "# Environments\n\nA task is a feeder, its seats and their devices, data, a tariff and "
        "rules, under a name with a version. Any market and any ledger can be put on any task:\n\n"
        "```python\nimport gridbazaar as gb\n\n"
        'env = gb.parallel_env(task="small", market="uniform_auction", ledger="block")\n```\n\n'
        f"{_table(('task', 'what it is'), rows)}\n"
        "[What there is to win](../tasks.md) compares them; "
        "[adding a task](../adding_a_task.md) shows how to make one, and "
        "[data](../data.md#your-own-files) how to bring your own.\n"
    )
    return {"environments/index.md": text}


def cached(task: str) -> str:
    """Return a task's card, made anew where something has changed that it follows from."""
    kept = CACHE / f"{task}-{_digest()}.md"
    if not kept.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob(f"{task}-*.md"):
            old.unlink()
        text = card(task, place(task))
        kept.write_text(text, encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def card(task: str, placed: Placed) -> str:
    """Return the page of a task."""
    world, simulation = placed.world, placed.simulation
    groups = spaces_of(simulation)
    parts = (
        f"# {task}\n\n{world.task.description}.\n",
        f'```python\nimport gridbazaar as gb\n\nenv = gb.parallel_env(task="{task}")\n```\n',
        _facts(placed),
        f"## Feeder\n\n{_picture(task, placed)}\n",
        f"## Seats and devices\n\n{_seats(simulation, groups)}",
        f"## Actions\n\n{_actions(groups)}",
        f"## Observations\n\n{_observations(groups)}",
        f"## Tariff\n\n{_tariff(world, simulation)}",
        f"## Rules\n\n{_rules(world.task.rules)}",
        f"## Skill range\n\n{skill_range(task)}",
        f"## Version history\n\n{_versions(task)}",
        f"## Sources\n\n{_notes(task)}",
    )
    return "\n".join(parts)


def _facts(placed: Placed) -> str:
    net, community = placed.net, placed.simulation.community
    days = ", ".join(f"{len(first)} {split}" for split, first in community.days.items())
    rows = [
        ("seats (agents)", len(community.seats)),
        ("buses, lines, transformers", f"{len(net.bus)}, {len(net.line)}, {len(net.trafo)}"),
        (
            "episode",
            f"a day of {community.slots_per_day} intervals of {community.slot_minutes} min",
        ),
        ("days", days),
        ("policies by default", len(community.groups)),
    ]
    return _table(("what", "how many"), rows)


def feeder_of(placed: Placed) -> Feeder:
    """Return what the picture of a placed task shows."""
    net, simulation = placed.net, placed.simulation
    community, delivery = simulation.community, simulation.delivery
    buses = delivery._feeder.network.buses[delivery._seat_row.numpy()]
    seats: dict[int, list[tuple[str, str]]] = {}
    for name, role, bus in zip(community.seats, community.role, buses, strict=True):
        seats.setdefault(int(bus), []).append((community.roles[int(role)], name))
    switch = net.switch[net.switch.closed] if len(net.switch) else net.switch
    opened = net.switch[~net.switch.closed.astype(bool)] if len(net.switch) else net.switch
    fused = switch[switch.et == "b"] if len(switch) else switch
    without = {et: set(opened.element[opened.et == et]) if len(opened) else set() for et in "lt"}
    lines = net.line[net.line.in_service & ~net.line.index.isin(without["l"])]
    trafos = net.trafo[net.trafo.in_service & ~net.trafo.index.isin(without["t"])]
    return Feeder(
        roots=net.ext_grid.bus[net.ext_grid.in_service].astype(int).tolist(),
        lines=_pairs(lines.from_bus, lines.to_bus),
        trafos=_pairs(trafos.hv_bus, trafos.lv_bus),
        fused=_pairs(fused.bus, fused.element) if len(fused) else [],
        seats=seats,
        names={int(bus): str(name) for bus, name in net.bus.name.items()},
    )


def _pairs(start: Iterable[Any], end: Iterable[Any]) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in zip(start, end, strict=True)]


def _picture(task: str, placed: Placed) -> str:
    community = placed.simulation.community
    colours = {role: _COLOURS.get(role, _OTHER) for role in community.roles}
    present = [role for role in community.roles if len(community.seats_of(role))]
    keys = " · ".join(f"{key_svg(role, colours[role])} {role}" for role in present)
    svg = feeder_svg(feeder_of(placed), colours, f"Feeder of {task} with its seats")
    words = (
        "The external grid is at the left, rings are transformers, dots are buses; a dashed line "
        "closes a loop. Distances are not to scale; pointing at a mark names the seat."
    )
    return f"<p>{keys}</p>\n\n{svg}\n{words}"


def _seats(simulation: Simulation, groups: dict[str, Spaces]) -> str:
    community = simulation.community
    rows = []
    for name, spaces in groups.items():
        seats = spaces.group.seats.numpy()
        owned = []
        if community.pv_kwp[seats].any():
            owned.append(f"PV {_span(community.pv_kwp[seats].numpy())} kWp")
        for kind, device in community.fleet.kinds.items():
            mine = np.isin(device.seat.numpy(), seats)
            if mine.any():
                rated = np.maximum(device.import_kw.numpy(), device.export_kw.numpy())[mine]
                room = ""
                if isinstance(device, Storage):
                    room = f", {_span(device.capacity_kwh.numpy()[mine])} kWh"
                owned.append(f"`{kind}` {_span(rated)} kW{room}")
        sizes = (len(spaces.features), len(spaces.action_entries))
        rows.append((f"`{name}`", len(seats), ", ".join(owned) or "load alone", *sizes))
    head = ("group, and its policy", "seats", "devices of each", "entries seen", "entries given")
    return _table(head, rows) + "\n[Devices](../devices.md) says what each kind does.\n"


def _span(values: Any) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _actions(groups: dict[str, Spaces]) -> str:
    entries = {e.name: e for spaces in groups.values() for e in spaces.action_entries}
    had = {g: {e.name for e in spaces.action_entries} for g, spaces in groups.items()}
    rows = [
        (f"`{name}`", e.unit, "-1 to 1", e.meaning, _who(name, had)) for name, e in entries.items()
    ]
    return _table(("entry", "unit", "range", "meaning of -1 to +1", "groups"), rows)


def _observations(groups: dict[str, Spaces]) -> str:
    rows: dict[str, tuple[str, ...]] = {}
    had = {g: {f.name for f in spaces.features} for g, spaces in groups.items()}
    order = next(iter(groups.values())).layout.features
    for spaces in groups.values():
        box = spaces.observation
        for feature, low, high in zip(spaces.features, box.low, box.high, strict=True):
            span = f"{_bound(low) / feature.scale:.3g} to {_bound(high) / feature.scale:.3g}"
            who = _who(feature.name, had)
            cells = (f"`{feature.name}`", feature.unit, span, f"{feature.scale:g}")
            rows[feature.name] = (*cells, feature.meaning, who)
    head = ("entry", "unit", "range", "scale", "meaning", "groups")
    said = (
        "Ranges are of the physical values, under the ideal ledger, less the spaces' slack of 1e-4 "
        "for rounding; the entry is the value times its scale. Groups: "
    )
    said += ", ".join(f"{number} `{name}`" for number, name in enumerate(groups, 1))
    table = _table(head, [rows[f.name] for f in order if f.name in rows])
    return f"{said}.\n\n{table}"


def _bound(end: float) -> float:
    """Return a bound of a space without its slack where it is nothing but slack."""
    return 0.0 if abs(end) <= 1.1e-4 else float(end)


def _who(name: str, had: dict[str, set[str]]) -> str:
    numbers = [str(number) for number, names in enumerate(had.values(), 1) if name in names]
    return "all" if len(numbers) == len(had) else ", ".join(numbers)


def _tariff(world: WorldConfig, simulation: Simulation) -> str:
    community, tariff = simulation.community, world.task.tariff
    per_day = community.slots_per_day
    prices = community.prices
    series = {
        "retail": prices.retail.numpy(),
        "feed-in": prices.feed_in.numpy(),
        "network charge on a local kWh": prices.local_charge.numpy(),
    }
    rows = [
        (name, f"{p.min():.4f}", f"{p.mean():.4f}", f"{p.max():.4f}") for name, p in series.items()
    ]
    mean_day = {
        n: p[: len(p) // per_day * per_day].reshape(-1, per_day).mean(0) for n, p in series.items()
    }
    table = _table((f"{community.currency}/kWh", "least", "mean", "greatest"), rows)
    source = " ".join(str(tariff["source"]).split())
    return (
        f"`{tariff['name']}`, the mean day of the data:\n\n"
        f"{price_svg(mean_day, community.currency)}\n\n{table}\nSource: {source}.\n"
    )


def _rules(rules: RulesConfig) -> str:
    rows = []
    for name, field in type(rules).model_fields.items():
        value = getattr(rules, name)
        if isinstance(value, Config):
            for inner, below in type(value).model_fields.items():
                shown = f"`{getattr(value, inner)}`"
                rows.append((f"`{name}.{inner}`", shown, below.description or ""))
        else:
            rows.append((f"`{name}`", f"`{value}`", field.description or ""))
    return _table(("task.rules.", "value", "meaning"), rows)


def skill_range(task: str) -> str:
    """Return a task's row of the table in docs/tasks.md, or how to measure it where it has none."""
    lines = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| task | grid alone |"))
    cells = _cells(lines[start])
    for line in lines[start + 2 :]:
        row = _cells(line)
        if not line.startswith("|"):
            break
        if row[0] == f"`{task}`":
            pairs = list(zip(cells[1:], row[1:], strict=True))
            return (
                "Thirteen test days, uniform auction, ideal ledger, EUR a day; "
                f"[what the columns mean](../tasks.md).\n\n{_table(('figure', 'value'), pairs)}"
            )
    return (
        "Not measured yet. "
        f"`python evaluate.py --skill-range task={task} days=13` prints it; "
        "[what the columns mean](../tasks.md).\n"
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _versions(task: str) -> str:
    """Return the versions of a task that can be played, and what is known of earlier ones."""
    family, _, number = task.rpartition("-v")
    here = [name for name in options("task") if name.rpartition("-v")[0] == family]
    lines = [f"- `{name}`: {option('task', name)['description']}" for name in here]
    if family == "semiurb4" and number == "1":
        lines.append(
            "- `semiurb4-v0`: devices ran whatever cleared; see [changes](../changelog.md)"
        )
    return "\n".join(lines) + "\n"


def _notes(task: str) -> str:
    """Return the words at the head of the task's file, and where it lies."""
    lines = path_of("task", task).read_text(encoding="utf-8").splitlines()
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").strip())
    words = " ".join(head)
    return f"`configs/task/{task}.yaml`: {words or 'every value with its source.'}\n"


def _digest() -> str:
    seen = hashlib.sha256()
    for name in _SOURCES:
        top = ROOT / name
        files = [top] if top.is_file() else sorted((*top.rglob("*.py"), *top.rglob("*.yaml")))
        for file in files:
            seen.update(file.read_bytes())
    return seen.hexdigest()[:16]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n"
        for line in lines
    )
