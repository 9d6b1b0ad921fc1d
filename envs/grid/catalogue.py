"""Feeders by name: pandapower's own networks, a user's JSON and, with the package, SimBench's."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from gridbazaar.errors import DataError, UnknownNameError
from gridbazaar.registry import Registry

# Friendly name -> function in pandapower.networks and its arguments.
_PANDAPOWER: dict[str, tuple[str, dict[str, Any]]] = {
    "case33bw": ("case33bw", {}),
    "cigre_lv": ("create_cigre_network_lv", {}),
    "cigre_mv": ("create_cigre_network_mv", {}),
    "kerber_landnetz_freileitung_1": ("create_kerber_landnetz_freileitung_1", {}),
    "kerber_landnetz_freileitung_2": ("create_kerber_landnetz_freileitung_2", {}),
    "kerber_landnetz_kabel_1": ("create_kerber_landnetz_kabel_1", {}),
    "kerber_landnetz_kabel_2": ("create_kerber_landnetz_kabel_2", {}),
    "kerber_dorfnetz": ("create_kerber_dorfnetz", {}),
    "kerber_vorstadtnetz_kabel_1": ("create_kerber_vorstadtnetz_kabel_1", {}),
    "kerber_vorstadtnetz_kabel_2": ("create_kerber_vorstadtnetz_kabel_2", {}),
    "mv_oberrhein": ("mv_oberrhein", {}),
}
for _kind in ("rural_1", "rural_2", "village_1", "village_2", "suburb_1"):
    _PANDAPOWER[f"synthetic_lv_{_kind}"] = (
        "create_synthetic_voltage_control_lv_network",
        {"network_class": _kind},
    )


def _pandapower(function: str, arguments: dict[str, Any]) -> Any:
    import pandapower.networks

    return getattr(pandapower.networks, function)(**arguments)


FEEDERS: Registry[Callable[[], Any]] = Registry("pandapower feeder")
for _name, _recipe in _PANDAPOWER.items():
    FEEDERS.register(_name)(partial(_pandapower, *_recipe))


def sources() -> tuple[str, ...]:
    """Names that `load_net` accepts as its source."""
    return ("pandapower", "simbench", "file")


def names(source: str) -> tuple[str, ...]:
    """Known feeders of a source, sorted; for SimBench those of the installed package."""
    if source == "pandapower":
        return tuple(FEEDERS.names())
    if source == "simbench":
        return tuple(sorted(_simbench().collect_all_simbench_codes()))
    if source == "file":
        return ()
    raise UnknownNameError("feeder source", source, sources())


def load_net(source: str, code: str) -> Any:
    """Return a fresh pandapower net.

    Args:
        source: one of `sources`.
        code: name of a feeder; of source "file" the path of a pandapower JSON file.

    Raises:
        UnknownNameError: with the nearest known source or feeder.
        DataError: a file that is missing or holds no pandapower net.
    """
    if source == "pandapower":
        build = FEEDERS[code]
    elif source == "file":
        build = partial(_from_file, Path(code))
    else:
        if code not in (known := names(source)):
            raise UnknownNameError("SimBench feeder", code, known)
        build = partial(_simbench().get_simbench_net, code)
    with warnings.catch_warnings():
        # Files saved by older pandapower releases lack this column and do not need it.
        warnings.filterwarnings("ignore", "tap_dependency_table is missing", DeprecationWarning)
        return build()


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"no file {path} (looked in {path.resolve().parent})")
    import pandapower

    with warnings.catch_warnings():
        # pandapower's reader uses pandas calls that newer pandas versions warn about.
        for kind in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        try:
            text = path.read_text(encoding="utf-8")
            _refuse_foreign_code(text, path)
            net = pandapower.from_json_string(text)
        except DataError:
            raise
        except Exception as error:  # of whatever class what is written there raises
            what = " ".join(str(error).split())[:150]
            raise DataError(f"{path} holds no pandapower net: {what}; {_WRITE}") from None
    if not isinstance(net, pandapower.pandapowerNet):
        raise DataError(f"{path} holds a {type(net).__name__}, no pandapower net; {_WRITE}")
    net.name = net.name or path.stem
    return net


_WRITE = "write it by pandapower.to_json(net, path)"
# Packages of what a net is made of.
_BUILT_OF = ("builtins", "geopandas", "networkx", "numpy", "pandapower", "pandas", "shapely")


def _refuse_foreign_code(text: str, path: Path) -> None:
    """Raise DataError where a file names other modules: pandapower would import them."""
    for module in _modules(text):
        if module.partition(".")[0] not in _BUILT_OF:
            raise DataError(
                f"{path} asks for Python's module {module!r}, which is not run; a net is made of "
                f"{', '.join(_BUILT_OF)} alone: {_WRITE}, without controllers of your own"
            )


def _modules(part: Any) -> Iterator[str]:
    """List the modules that parts of a JSON file name, also in JSON that stands there as text."""
    if isinstance(part, str) and "{" in part:
        with suppress(ValueError):
            yield from _modules(json.loads(part))
    elif isinstance(part, dict):
        if "_module" in part:
            yield str(part["_module"])
        yield from (name for value in part.values() for name in _modules(value))
    elif isinstance(part, list):
        yield from (name for value in part for name in _modules(value))


def _simbench() -> Any:
    try:
        import simbench
    except ImportError as error:
        raise ImportError(
            "SimBench grids beyond the embedded one need the package: "
            "pip install 'gridbazaar[simbench]'"
        ) from error
    return simbench
