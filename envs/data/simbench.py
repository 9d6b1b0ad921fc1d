"""SimBench grids with their profiles: embedded, or from the installed `simbench` package."""

from __future__ import annotations

import copy
import gzip
import importlib.util
import warnings
from functools import lru_cache

import pandapower
import pandas as pd

from gridbazaar.envs.data.simbench_extract import FOLDER, read_package
from gridbazaar.errors import DataError, UnknownNameError

LV_CODES = tuple(
    f"1-LV-{grid}--{scenario}-sw"
    for grid in ("rural1", "rural2", "rural3", "semiurb4", "semiurb5", "urban6")
    for scenario in range(3)
)


def embedded_codes() -> list[str]:
    """Return the codes of the grids that ship with the project."""
    return sorted(path.name.removesuffix(".net.json.gz") for path in FOLDER.glob("*.net.json.gz"))


def load_grid(code: str) -> tuple[pandapower.pandapowerNet, pd.DataFrame]:
    """Return a SimBench grid and the profiles its rows name.

    Profiles [35136, n] have columns `load/<name>_pload`, `load/<name>_qload`, `renewables/<name>`,
    `storage/<name>`, relative to the row's p_mw or q_mvar, at 15 minutes, 2016. Raises
    UnknownNameError for a code that SimBench does not have and DataError where a known grid is
    neither embedded nor installed.
    """
    if code not in embedded_codes():
        _check_installed(code)
    net, profiles = _read(code)
    return copy.deepcopy(net), profiles.copy()


@lru_cache(maxsize=2)
def _read(code: str) -> tuple[pandapower.pandapowerNet, pd.DataFrame]:
    """Read a grid, or recall one of the last two: reading is half of building a world."""
    return _read_embedded(code) if code in embedded_codes() else read_package(code)


def _check_installed(code: str) -> None:
    """Raise what is wrong with a grid that does not ship with the project."""
    installed = importlib.util.find_spec("simbench") is not None
    known = _package_codes() if installed else [*LV_CODES, *embedded_codes()]
    if code not in known:
        raise UnknownNameError("SimBench grid", code, [*LV_CODES, *embedded_codes()])
    if not installed:
        raise DataError(
            f"SimBench grid {code!r} is not embedded (embedded: {', '.join(embedded_codes())}); "
            "install the extra that has it: pip install 'gridbazaar[simbench]'"
        )


def _read_embedded(code: str) -> tuple[pandapower.pandapowerNet, pd.DataFrame]:
    text = gzip.decompress((FOLDER / f"{code}.net.json.gz").read_bytes()).decode()
    with warnings.catch_warnings():
        # pandapower's reader uses pandas calls that newer pandas versions warn about.
        for kind in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        net = pandapower.from_json_string(text)
    profiles = pd.read_parquet(FOLDER / f"{code}.profiles.parquet")
    return net, profiles


def _package_codes() -> list[str]:
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        import simbench

        return list(simbench.collect_all_simbench_codes())
