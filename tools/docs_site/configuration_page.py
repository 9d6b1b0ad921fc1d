"""Page of the configuration: every option of every model with its default, unit and source."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from inspect import get_annotations
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from gridbazaar.agents.bidders import BIDDERS
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning.algorithm import ALGORITHMS
from gridbazaar.agents.learning.tuning import TuneConfig
from gridbazaar.config import Config
from gridbazaar.configs import FOLDER, option, options, path_of
from gridbazaar.envs.config import TaskConfig
from gridbazaar.envs.data.tariffs import DayAheadTariff, WindowTariff
from gridbazaar.envs.devices import DEVICES
from gridbazaar.envs.incentives import INCENTIVES
from gridbazaar.envs.markets import MARKETS
from gridbazaar.evaluation.config import EvaluationConfig
from gridbazaar.evaluation.generalisation import CasesConfig
from gridbazaar.evaluation.suite import SuiteConfig
from gridbazaar.ledger_sim.fees.protocol import FEE_RULES
from gridbazaar.ledger_sim.layers.protocol import LAYERS
from gridbazaar.ledger_sim.registry import LEDGERS
from gridbazaar.sourced import is_sourced

# Units that follow from a type of gridbazaar.config.
_BY_TYPE = {
    "Share": "share",
    "PositiveShare": "share",
    "Tolerance": "share",
    "EnergyPrice": "EUR/kWh",
    "SignedEnergyPrice": "EUR/kWh",
    "Money": "EUR",
}
# A description may begin with its unit.
_LEADING = re.compile(r"(EUR per [\w.%]+|EUR/kWh|EUR|kWh|kWp|kW|p\.u\.|nats|h|s|min)\b[ ,]")
_SAID = 1e12  # beyond which a bound keeps to what a computer holds, and tells a reader nothing
_COMMENT = re.compile(r"^( *)(\w+):(.*?)(?:\s#\s?(.*))?$")


class Model(NamedTuple):
    """One model of the page.

    Attributes:
        name: the key under which it stands, as `task.rules`.
        kind: its class.
        values: defaults, as YAML gives them; empty where it has none.
        comments: what the YAML says of each key.
    """

    name: str
    kind: type[Config]
    values: Mapping[str, Any]
    comments: Mapping[str, str]


def pages() -> dict[str, str]:
    """Return the page's text by path."""
    parts = [_INTRODUCTION]
    for title, line, models in _chapters():
        parts.append(f"## {title}\n\n{line}\n")
        parts += [_section(model) for model in models]
    return {"reference/configuration.md": "\n".join(parts)}


_INTRODUCTION = """\
# Configuration

Every option, from the models that check it. Defaults stand in the YAML files of `configs/` alone,
and their remarks, such as where a value comes from, are repeated here. Name an option to change
it: `python train.py name=first task.rules.forecast=model`. Money is in the task's currency, EUR
unless a tariff says otherwise; *share* is a number from 0 to 1. An unknown key, a value out of
range or NaN is refused in one line that names the nearest known key or what is allowed.
"""


def _chapters() -> Iterator[tuple[str, str, list[Model]]]:
    task = _of_file("task", TaskConfig, "task", "semiurb4-v1")
    yield "Tasks", "`configs/task/`; defaults are those of `semiurb4-v1`.", list(nested(task))
    yield "Devices", "`configs/devices/`, under `task.devices`.", _registered("devices", DEVICES)
    tariffs = [
        _of_file("tariff (kind: day_ahead)", DayAheadTariff, "tariff", "german_day_ahead_2016"),
        _of_file("tariff (kind: windows)", WindowTariff, "tariff", "german_tou"),
    ]
    inside = _once([each for tariff in tariffs for each in nested(tariff)])
    yield "Tariffs", "`configs/tariff/`, under `task.tariff`.", inside
    yield "Markets", "`configs/market/`.", _registered("market", MARKETS)
    ledgers = [_of_file(f"ledger {n}", _kind_of(n), "ledger", n) for n in options("ledger")]
    line = "`configs/ledger/`; [sources](../ledger_sources.md) has all values and who says so."
    yield "Ledgers", line, _once([each for ledger in ledgers for each in nested(ledger)])
    rules: Any = FEE_RULES
    fees = [Model(f"ledger.fees (rule: {n})", rules[n].Config, {}, {}) for n in rules.names()]
    yield "Fee rules", "Under `ledger.fees`.", fees
    yield "Layers", "`configs/layer/`, in the list `ledger.layers`.", _registered("layer", LAYERS)
    line = "`configs/incentive/`, in the list `incentives`."
    yield "Incentives", line, _registered("incentive", INCENTIVES)
    yield "Bidders", "`configs/bidder/`.", _registered("bidder", BIDDERS)
    train = _entry("train", TrainConfig)
    shown = [each for each in nested(train) if not each.name.startswith("train.task")]
    yield "Training", "`configs/train.yaml`.", [*shown, Model("tune", TuneConfig, {}, {})]
    yield "Algorithms", "`configs/algorithm/`.", _registered("algorithm", ALGORITHMS, nest=True)
    yield "Evaluation", "`configs/evaluate.yaml`.", [_entry("evaluate", EvaluationConfig)]
    suite = _of_file("suite", SuiteConfig, "suite", "v1")
    cases = _of_file("cases", CasesConfig, "generalisation", "standard")
    yield "Suites", "`configs/suite/` and `configs/generalisation/`.", [suite, *nested(cases)]


def _kind_of(ledger: str) -> type[Config]:
    kind: type[Config] = LEDGERS[option("ledger", ledger)["name"]].Config
    return kind


def _registered(group: str, registry: Any, nest: bool = False) -> list[Model]:
    """Return the models of a registry's variants that have an option of the same name."""
    named = [name for name in options(group) if name in registry]
    models = [_of_file(f"{group} {n}", registry[n].Config, group, n) for n in named]
    return [each for model in models for each in nested(model)] if nest else models


def _of_file(name: str, kind: type[Config], group: str, chosen: str) -> Model:
    text = path_of(group, chosen).read_text(encoding="utf-8")
    return Model(name, kind, option(group, chosen), comments(text))


def _entry(name: str, kind: type[Config]) -> Model:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return Model(name, kind, yaml.safe_load(text), comments(text))


def _once(models: Iterable[Model]) -> list[Model]:
    """Return the models without those of a class that came before with the same last key."""
    seen: dict[tuple[type, str], Model] = {}
    for model in models:
        seen.setdefault((model.kind, model.name.rpartition(".")[2]), model)
    return list(seen.values())


def comments(text: str) -> dict[str, str]:
    """Return what a YAML file says behind each key, by dotted path."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        if match := _COMMENT.match(line):
            depth = len(match[1])
            path = [(d, key) for d, key in path if d < depth] + [(depth, match[2])]
            if match[4]:
                found[".".join(key for _, key in path)] = match[4].strip()
    return found


def nested(model: Model) -> Iterator[Model]:
    """List a model and the models in its fields."""
    yield model
    for name, field in model.kind.model_fields.items():
        kinds = list(_models_in(field.annotation))
        for kind in kinds:
            below = model.values.get(name)
            inner = {
                key.removeprefix(f"{name}."): said
                for key, said in model.comments.items()
                if key.startswith(f"{name}.")
            }
            fits = isinstance(below, Mapping) and set(below) <= set(kind.model_fields)
            called = f"{model.name}.{name}{f' ({_apart(kind)})' if len(kinds) > 1 else ''}"
            yield from nested(Model(called, kind, below if fits and below else {}, inner))


def _apart(kind: type[Config]) -> str:
    """Return what tells a model from others that may stand in its place."""
    for name, field in kind.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return f"{name}: {get_args(field.annotation)[0]}"
    return f"with {next(iter(kind.model_fields))}"


def _models_in(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _section(model: Model) -> str:
    rows = []
    for name, field in model.kind.model_fields.items():
        value: Any = model.values.get(name)
        source = model.comments.get(name, "")
        if is_sourced(value):
            value, source = value["value"], f"{value['status']}: {value['source']}"
        default = field.default if not field.is_required() and name not in model.values else value
        shown = "" if name not in model.values and field.is_required() else _value(default)
        unit = unit_of(model.kind, name) or ""
        said = (field.description or "", source)
        rows.append((f"`{name}`", typed(field), shown, unit, *said))
    doc = (model.kind.__doc__ or "").strip().splitlines()[0]
    head = ("option", "value", "default", "unit", "meaning", "remark of the default")
    return f"### {model.name}\n\n{doc}\n\n{_table(head, rows)}"


def unit_of(kind: type[Config], name: str) -> str | None:
    """Return the unit of an option: given, of its type, or at the head of its description."""
    field = kind.model_fields[name]
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "unit" in extra:
        return str(extra["unit"])
    own = [get_annotations(c) for c in kind.__mro__]
    written = next((annotations[name] for annotations in own if name in annotations), "")
    for alias, unit in _BY_TYPE.items():
        if re.search(rf"\b{alias}\b", str(written)):
            return unit
    leading = _LEADING.match(f"{field.description or ''} ")
    return leading[1] if leading else None


def is_quantity(field: FieldInfo) -> bool:
    """Return whether an option's value is a real number, or holds some."""
    return _holds_float(field.annotation)


def _holds_float(annotation: Any) -> bool:
    return annotation is float or any(map(_holds_float, get_args(annotation)))


def typed(field: FieldInfo) -> str:
    """Return what values an option takes, in a few words."""
    words = _typed(field.annotation)
    limits = {type(m).__name__: m for m in field.metadata}
    bounds = [
        f"{sign} {getattr(limits[name], attribute):g}"
        for name, sign, attribute in (
            ("Ge", "≥", "ge"),
            ("Gt", ">", "gt"),
            ("Le", "≤", "le"),
            ("Lt", "<", "lt"),
        )
        if name in limits and getattr(limits[name], attribute) < _SAID
    ]
    return f"{words} {', '.join(bounds)}".strip()


_WORDS = {
    float: "number",
    int: "whole number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def _typed(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_typed(part) for part in parts))
    if origin in (tuple, list):
        inner = [part for part in parts if part is not Ellipsis]
        if origin is tuple and len(inner) == len(parts):
            return f"{len(inner)} of: {_typed(inner[0])}"
        return f"list of: {_typed(inner[0])}"
    if origin is dict:
        return "mapping"
    if hasattr(annotation, "__metadata__"):
        return _typed(parts[0])
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return "see below"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _value(value: Any) -> str:
    if isinstance(value, Mapping) or (isinstance(value, list | tuple) and len(str(value)) > 60):
        return "…" if value else "`{}`"
    plain = {None: "null", True: "true", False: "false"}
    return f"`{plain[value] if isinstance(value, bool | None) else value}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    escape = str.maketrans({"|": "\\|", "<": "&lt;"})
    return "".join(f"| {' | '.join(str(c).translate(escape) for c in line)} |\n" for line in lines)
