"""Extract of SimBench that is embedded here, rebuilt from the PyPI package `simbench`.

Run `python -m gridbazaar.envs.data.simbench_extract [code ...]`; the result is the same bytes every
time.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pandapower
import pandas as pd

from gridbazaar.errors import DataError

FOLDER = Path(__file__).parent / "simbench"
DEFAULT_CODE = "1-LV-semiurb4--2-sw"
STEP = pd.Timedelta(minutes=15)

NOTICE = """# SimBench extract

Contains information from the SimBench database, which is made available under the Open Database
License (ODbL) 1.0, https://opendatacommons.org/licenses/odbl/1-0/. Any rights in individual
contents of the database are licensed under the Database Contents License (DbCL) 1.0,
https://opendatacommons.org/licenses/dbcl/1-0/.

Copyright (c) 2019-2026 by University of Kassel, TU Dortmund, RWTH Aachen University and Fraunhofer
Institute for Energy Economics and Energy System Technology (IEE) Kassel and individual
contributors.

- Source: PyPI package `simbench` {version}, `simbench.get_simbench_net(code)`, codes: {codes}.
- Changed: the profiles are cut to those the grid uses, rounded to float32, put on Central European
  standard time and stored as Parquet; the grid is stored as pandapower JSON without profiles.
  Rebuild: `python -m gridbazaar.envs.data.simbench_extract`.
- This folder is a derived database and stays under the ODbL 1.0; the licence text that came with
  the package is in LICENSE.txt. The project's own code has its own licence.
- Cite: S. Meinecke, D. Sarajlic, S. R. Drauz, A. Klettke, L.-P. Lauven, C. Rehtanz, A. Moser,
  M. Braun: SimBench - A Benchmark Dataset of Electric Power Systems to Compare Innovative Solutions
  Based on Power Flow Analysis. Energies 2020, 13(12), 3290, https://doi.org/10.3390/en13123290
"""


def used_profiles(net: pandapower.pandapowerNet, time: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the profiles that the grid's rows name, float32, columns `<table>/<profile>`."""
    wanted = {
        "load": [f"{p}_{q}load" for p in sorted(set(net.load.profile)) for q in "pq"],
        "renewables": sorted(set(net.sgen.profile)),
        "storage": sorted(set(net.storage.profile)),
    }
    columns = {
        f"{table}/{name}": net.profiles[table][name].to_numpy(np.float32)
        for table, names in wanted.items()
        for name in names
    }
    return pd.DataFrame(columns, index=time)


def read_package(code: str) -> tuple[pandapower.pandapowerNet, pd.DataFrame]:
    """Return a grid of the installed simbench package, without profiles, and its profiles.

    Profiles are relative to p_mw and q_mvar, one row a quarter of an hour of 2016. SimBench's
    stamps are German clock time with summer time; here they become Central European standard time,
    so that every day has 96 rows. Raises DataError where the result is not a regular grid.
    """
    with warnings.catch_warnings():
        # simbench builds grids through pandas and pandapower calls that are deprecated there.
        for kind in (FutureWarning, DeprecationWarning, UserWarning, pd.errors.PerformanceWarning):
            warnings.simplefilter("ignore", kind)
        import simbench

        net = simbench.get_simbench_net(code)
    stamps = pd.to_datetime(net.profiles["load"]["time"], format="%d.%m.%Y %H:%M")
    clock = pd.DatetimeIndex(stamps).tz_localize("Europe/Berlin", ambiguous="infer")
    time = clock.tz_convert("Etc/GMT-1").tz_localize(None).rename("time")
    if not (np.diff(time.to_numpy()) == STEP.to_timedelta64()).all():
        raise DataError(f"profiles of {code} are not on a regular 15-minute grid")
    profiles = used_profiles(net, time)
    net.profiles = {}
    return net, profiles


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)


def extract(code: str, folder: Path = FOLDER) -> None:
    """Write `<code>.net.json.gz` and `<code>.profiles.parquet` into `folder`."""
    net, profiles = read_package(code)
    for name, table in net.items():
        if isinstance(table, pd.DataFrame):  # simbench's column order changes from run to run
            net[name] = table[sorted(table.columns)]
    text = json.dumps(json.loads(pandapower.to_json(net, None)), sort_keys=True).encode()
    folder.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(text, mtime=0)
    _replace(folder / f"{code}.net.json.gz", lambda path: path.write_bytes(packed))
    _replace(
        folder / f"{code}.profiles.parquet",
        lambda path: profiles.to_parquet(path, compression="zstd", compression_level=19),
    )


def write_notice(folder: Path = FOLDER) -> None:
    """Write NOTICE.md and the licence text of the installed package into `folder`."""
    package = metadata.distribution("simbench")
    licence = next(f for f in package.files or [] if f.name == "LICENSE")
    text = Path(str(licence.locate())).read_text(encoding="utf-8")
    codes = ", ".join(sorted(p.name.removesuffix(".net.json.gz") for p in folder.glob("*.json.gz")))
    notice = NOTICE.format(version=package.version, codes=codes)
    _replace(folder / "LICENSE.txt", lambda path: path.write_text(text, encoding="utf-8"))
    _replace(folder / "NOTICE.md", lambda path: path.write_text(notice, encoding="utf-8"))


def main() -> None:
    """Extract the grids named on the command line, or the default one."""
    for code in sys.argv[1:] or [DEFAULT_CODE]:
        extract(code)
        print(f"wrote {FOLDER / code}")
    write_notice()


if __name__ == "__main__":
    main()
