"""A user's feeder: every element of its net counts or is refused by name."""

import json
import warnings

import numpy as np
import pandapower as pp
import pytest

from gridbazaar import envs
from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.data.simbench_series import series_from_grid
from gridbazaar.envs.grid import Network, load_net
from gridbazaar.envs.grid.busbar import busbar
from gridbazaar.envs.placement import seat_on
from gridbazaar.errors import DataError, NetworkError

CODE = "1-LV-semiurb4--2-sw"


@pytest.fixture(scope="module")
def plain():
    return series_from_grid(*load_grid(CODE), 0)


def net():
    n = pp.create_empty_network("mine")
    mv, lv = pp.create_bus(n, 20.0), pp.create_bus(n, 0.4)
    pp.create_ext_grid(n, mv)
    pp.create_transformer(n, mv, lv, "0.4 MVA 20/0.4 kV")
    b = pp.create_bus(n, 0.4)
    pp.create_line(n, lv, b, 0.1, "NAYY 4x150 SE")
    pp.create_load(n, b, 0.5, 0.1)
    return n


def background(n, plain, generation="by_type"):
    """Return background power by bus, [T] kW each."""
    series = seat_on(n, plain, generation)
    return dict(zip(series.background_bus.tolist(), series.background_p_kw.T, strict=True))


def test_feed_in_at_a_load_s_bus_stays(plain):
    n = net()
    pp.create_load(n, 2, -0.9, 0)
    added = background(n, plain)[2] - background(net(), plain)[2]
    np.testing.assert_allclose(added, 900, rtol=1e-4)


@pytest.mark.parametrize(
    ("add", "kw"),
    [
        (lambda n: pp.create_sgen(n, 2, 0.2, scaling=0.5), 100),
        (lambda n: pp.create_asymmetric_sgen(n, 2, 0.01, 0.02, 0.03), 60),
        (lambda n: pp.create_sgen(n, 2, 0.2, in_service=False), 0),
        (lambda n: pp.create_sgen(n, pp.create_bus(n, 0.4, in_service=False), 0.2), 0),
        (lambda n: pp.create_load(n, pp.create_bus(n, 0.4, in_service=False), 0.01), 0),
    ],
)
def test_generators_count_as_pandapower_counts_them(plain, add, kw):
    n = net()
    add(n)
    added = background(n, plain)[2] - background(net(), plain)[2]
    np.testing.assert_allclose(added, kw, atol=1e-3)
    assert set(seat_on(n, plain).home_bus) == {2}


@pytest.mark.parametrize(
    "add",
    [
        lambda n: pp.create_motor(n, 2, 0.1, 0.9, efficiency_percent=80.0, loading_percent=50.0),
        lambda n: pp.create_asymmetric_load(n, 2, p_a_mw=0.03, p_b_mw=0.02, p_c_mw=0.01),
        lambda n: pp.create_load(n, 2, 0.05, 0.01, scaling=0.7),
    ],
)
def test_loads_of_every_kind_are_what_pandapower_draws(plain, add):
    n = net()
    pp.runpp(n)
    before = n.res_bus.loc[2]
    add(n)
    pp.runpp(n)
    drawn = 1e3 * (n.res_bus.loc[2] - before)[["p_mw", "q_mvar"]]
    first, second = (seat_on(m, plain) for m in (net(), n))
    # The mean home's course is 1 at its peak, where all of the rating shows.
    assert (first.background_p_kw - second.background_p_kw).max() == pytest.approx(
        drawn.p_mw, rel=1e-4
    )
    at_peak = (first.background_p_kw - second.background_p_kw).argmax()
    left = 1 - plain.load_kw.max(axis=0).sum() / (500 + drawn.p_mw)
    expected = -left * (100 + drawn.q_mvar)
    assert second.background_q_kvar[at_peak, 0] == pytest.approx(expected, rel=1e-4)


def test_generators_follow_the_sun_by_type_or_option(plain):
    n, sun = net(), plain.pv_per_kwp.mean(axis=1)
    pp.create_sgen(n, 1, 0.1, type="PV")
    pp.create_sgen(n, 0, 0.05)
    typed = background(n, plain)
    np.testing.assert_allclose(typed[1], 100 * sun, atol=1e-3)
    np.testing.assert_allclose(typed[0], 50, rtol=1e-6)
    np.testing.assert_allclose(background(n, plain, "sun")[0], 50 * sun, atol=1e-3)
    np.testing.assert_allclose(background(n, plain, "constant")[1], 100, rtol=1e-6)
    assert background(n, plain, "left_out").keys() == {2}


def test_a_catalogue_feeder_keeps_its_generators(plain):
    n = load_net("pandapower", "synthetic_lv_rural_1")
    total = sum(background(n, plain).values())
    without = sum(background(n, plain, "left_out").values())
    np.testing.assert_allclose(total - without, 92.9, rtol=1e-4)


def test_what_has_no_course_is_refused_by_name(plain):
    n = net()
    pp.create_storage(n, 2, 0.1, max_e_mwh=1.0)
    with pytest.raises(NetworkError, match=r"'storage' \[0\].*left_out"):
        seat_on(n, plain)
    assert len(seat_on(n, plain, "left_out").home_bus)


def refused(n, match):
    with pytest.raises(NetworkError, match=match) as caught:
        Network.from_pandapower(n)
    assert len(str(caught.value).splitlines()) == 1


def test_elements_that_no_constant_admittance_holds_are_refused_by_name():
    n = net()
    pp.create_line(n, 2, pp.create_bus(n, 0.4), 0.0, "NAYY 4x150 SE")
    refused(n, r"'line' \[1\] of 'mine' has no impedance.*bus-bus switch")
    n = net()
    pp.create_impedance(n, 1, 2, 0.0, 0.0, 1.0)
    refused(n, r"'impedance' \[0\]")
    n = net()
    n.load.loc[0, "const_z_p_percent"] = 20.0
    refused(n, r"'load' \[0\] of 'mine' depends on the voltage")
    n = net()
    pp.control.DiscreteTapControl(n, 0, 0.98, 1.02)
    refused(n, r"'controller' \[0\].*take it out of service")
    n.controller["in_service"] = False
    assert Network.from_pandapower(n).buses.tolist() == [0, 1, 2]


def test_the_busbar_is_the_one_that_feeds_the_homes(plain):
    n = net()
    hv = pp.create_bus(n, 110.0)
    n.ext_grid.loc[0, "bus"] = hv
    t = pp.create_transformer(n, hv, 0, "25 MVA 110/20 kV")
    n.trafo = n.trafo.loc[[t, 0]]
    assert busbar(n, seat_on(n, plain).home_bus) == 1
    assert busbar(n, [0]) == 0
    assert busbar(load_net("pandapower", "case33bw"), [5, 6]) == 0
    grid = load_grid(CODE)[0]
    assert busbar(grid, plain.home_bus) == grid.trafo.lv_bus.iloc[0]
    island = pp.create_bus(n, 0.4)
    with pytest.raises(NetworkError, match="no transformer and no external grid"):
        busbar(n, [island])


def test_a_feeder_of_a_file(tmp_path, plain):
    path = tmp_path / "mine.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pp.to_json(net(), str(path))
    where = ("task.feeder.source=file", f"task.feeder.code='{path}'")
    sim = envs.batched(overrides=where, num_envs=1)
    assert sim.num_seats == 41
    path.write_text("{")
    with pytest.raises(DataError, match=r"holds no pandapower net.*to_json"):
        envs.batched(overrides=where, num_envs=1)
    with pytest.raises(DataError, match="no file"):
        load_net("file", str(tmp_path / "none.json"))


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "as text"])
def test_no_code_of_a_feeders_file_is_run(nested, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('bang')")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "mine.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = json.loads(pp.to_json(net()))
    evil = {"_module": "evil_module", "_class": "function", "_object": "f"}
    whole["_object"]["extra"] = (
        {"_module": "pandas.core.frame", "_class": "DataFrame", "_object": json.dumps([evil])}
        if nested
        else evil
    )
    path.write_text(json.dumps(whole))
    with pytest.raises(DataError, match="'evil_module', which is not run"):
        load_net("file", str(path))
    whole["_object"]["extra"] = evil
    with pytest.raises(SystemExit):  # what pandapower alone would do
        pp.from_json_string(json.dumps(whole))
