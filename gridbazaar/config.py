"""Configuration base: strict frozen models, their number types, and one wording of mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from gridbazaar.errors import ConfigError, nearest
from gridbazaar.sourced import flaw, is_sourced


def bounded(low: float, high: float, unit: str, why: str) -> AfterValidator:
    """Return an annotation of a number that keeps it within bounds and says why they are there."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"expected {low:,g} to {high:,g} {unit}: {why}")
        return value

    return AfterValidator(check)


_UNSORTED = "with margins on top, order books would no longer tell prices apart"
_DROWNED = "beside a larger amount a reward of float32, with its 7 digits, would hold nothing else"
_INFINITE = bounded(0, 1e12, "in the unit of this entry", "products of larger ones leave float32")

Positive = Annotated[float, Field(gt=0), _INFINITE]
NonNegative = Annotated[float, Field(ge=0), _INFINITE]
# Money is the tariff's currency, be it euro or dong.
EnergyPrice = Annotated[float, Field(ge=0), bounded(0, 1e5, "per kWh", _UNSORTED)]
SignedEnergyPrice = Annotated[float, bounded(-1e5, 1e5, "per kWh", _UNSORTED)]
Money = Annotated[float, Field(ge=0), bounded(0, 1e6, "of the tariff's currency", _DROWNED)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Tolerance = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
# As `gridbazaar.randomness.whole_seed`: NumPy takes no negative seed, and 64 bits hold no larger.
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

Model = TypeVar("Model", bound=BaseModel)
_LONGEST = 100  # characters of a value in a message


class Config(BaseModel):
    """Refuses unknown keys, NaN and infinity where no field allows them, and any change.

    A value may come with its source, as `gridbazaar.sourced` says: its unit must be the one that
    the field declares by `json_schema_extra={"unit": ...}`, and the bare value is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_and_plain(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {key: cls._plain(str(key), entry) for key, entry in given.items()}

    @classmethod
    def _plain(cls, key: str, entry: Any) -> Any:
        field = cls.model_fields.get(key)
        if field is None:
            hint = nearest(key, cls.model_fields)
            raise PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})
        if not is_sourced(entry):
            return entry
        extra = field.json_schema_extra
        unit = extra.get("unit") if isinstance(extra, dict) else None
        if wrong := flaw(entry, None if unit is None else str(unit)):
            raise PydanticCustomError("sourced", "{wrong}", {"key": key, "wrong": wrong})
        return entry["value"]


def validate(model: type[Model], values: Mapping[str, Any], where: str = "") -> Model:
    """Build a model.

    Args:
        model: the class of a configuration.
        values: its fields, as a YAML file gives them.
        where: path under which they stand, as in `ledger.network`.

    Raises:
        ConfigError: in one line, every wrong entry with path, value and what is allowed; unknown
            keys with the nearest known one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        items = (_described(item, where, values) for item in error.errors())
        raise ConfigError("; ".join(items)) from None


def _as_written(item: ErrorDetails, values: Mapping[str, Any]) -> list[int | str]:
    """Return where an entry stands in what was given: which kind of several it is, is no key."""
    path: list[int | str] = []
    at: Any = values
    for number, part in enumerate(item["loc"], 1):
        absent = isinstance(at, Mapping) and part not in at
        if absent and not (item["type"] == "missing" and number == len(item["loc"])):
            continue
        path.append(part)
        within = isinstance(at, Mapping) or (isinstance(at, list) and isinstance(part, int))
        at = at[part] if within and not absent else None
    return path


def _message(item: ErrorDetails) -> str:
    """Return what is wrong with an entry, in our words where pydantic's are for programmers."""
    ctx = item.get("ctx", {})
    match item["type"]:
        case "union_tag_invalid":
            key, tags = str(ctx["discriminator"]).strip("'"), ctx["expected_tags"]
            return f"{key} is {ctx['tag']!r}: expected one of {tags}"
        case "too_short" if ctx.get("actual_length") == 0:
            return f"expected at least {ctx['min_length']}"
        case "string_pattern_mismatch":
            return f"expected text of the form {ctx['pattern'].strip('^$')}"
    return item["msg"].removeprefix("Value error, ")


def _described(item: ErrorDetails, where: str, values: Mapping[str, Any]) -> str:
    path_of = _as_written(item, values)
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path_of)
    path = f"{where}{parts}".removeprefix(".")
    if item["type"] in ("unknown_key", "sourced"):
        key = f"{path}.{item['ctx']['key']}".removeprefix(".")
        unknown = item["type"] == "unknown_key"
        return f"unknown key {key!r}: {item['msg']}" if unknown else f"{key} {item['msg']}"
    if item["type"] == "missing":
        return f"{path} is missing; add it to the YAML"
    message = _message(item)
    if isinstance(item["input"], Mapping):  # the message says what in it is wrong
        return f"{path}: {message}" if path else message
    given = repr(item["input"])
    short = given if len(given) <= _LONGEST else f"{given[: _LONGEST - 3]}..."
    return f"{path} is {short}: {message}"
