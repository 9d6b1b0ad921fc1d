"""Pictures of an interval: they show what was played, the same for the same, for every task."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from dataclasses import fields, replace
from unittest import mock

import numpy as np
import pytest
import torch
from pettingzoo.test import render_test
from pettingzoo.utils.conversions import parallel_to_aec
from PIL import Image
from PIL.ImageSequence import Iterator

from gridbazaar import envs
from gridbazaar.configs import options
from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.grid.catalogue import load_net
from gridbazaar.envs.grid.flow_direction import FlowDirection
from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.placement import load_grid_and_series
from gridbazaar.envs.rendering import picture
from gridbazaar.envs.rendering.diagram import diagram
from gridbazaar.envs.rendering.snapshot import Photographer, Snapshot
from gridbazaar.envs.rendering.stage import Stage
from gridbazaar.errors import (
    ArgumentError,
    ConfigError,
    MissingExtraError,
    ResultsError,
    UnknownNameError,
)
from gridbazaar.evaluation import day_film
from gridbazaar.evaluation.day_film import configure, film

_TASKS = [name for name in options("task") if not name.startswith("_")]
FEEDERS = list({envs.world(task=name).task.feeder: None for name in _TASKS})


def played(simulation, intervals=2, seed=0):
    """Return the snapshots of a day's first intervals under random actions."""
    take, chance = Photographer(simulation), torch.Generator().manual_seed(seed)
    simulation.reset(seed=seed)
    shape = (1, simulation.num_seats, len(simulation.game.layout.actions))
    dtype = simulation.community.pv_kwp.dtype
    steps = range(intervals)
    actions = [torch.rand(shape, generator=chance, dtype=dtype) * 2 - 1 for _ in steps]
    return [(interval, take(interval)) for interval in map(simulation.step, actions)]


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Read the small task's data once: every world that is built here is of it."""
    small = load_grid_and_series(envs.world(task="small").task)
    module = importlib.import_module("gridbazaar.envs.build")
    with mock.patch.object(module, "load_grid_and_series", return_value=small):
        yield


@pytest.fixture(scope="module")
def simulation():
    return envs.batched(task="small", ledger="block", num_envs=1, dtype=torch.float64)


@pytest.fixture(scope="module")
def stage(simulation):
    return Stage.of(simulation, "small")


@pytest.fixture(scope="module")
def seen(simulation):
    return [snapshot for _, snapshot in played(simulation, 6)]


def test_a_snapshot_is_what_the_interval_says(simulation):
    for interval, now in played(simulation):
        assert now.volume_kw == pytest.approx(float(interval.clearing.volume_kw))
        assert now.net_kw == pytest.approx(interval.delivered.net_kw[0].numpy())
        power = now.pv_kw - now.load_kw + now.battery_kw - now.taken_kw
        assert power == pytest.approx(now.net_kw.sum(), abs=1e-9)
        assert not (now.included & ~now.sent).any()
        assert not (now.included & now.late).any()
        known = ~np.isnan(now.charge)
        assert ((now.charge[known] >= 0) & (now.charge[known] <= 1)).all()
        assert not known[~Stage.of(simulation).has_device].any()


@pytest.mark.parametrize("task", ["small", "cigre_lv"])
def test_power_flows_as_an_independent_power_flow_says(task):
    """The signs are those of pandapower's own results at the same injections."""
    pandapower = pytest.importorskip("pandapower")
    net, _ = load_grid_and_series(envs.world(task=task).task)
    network = Network.from_pandapower(net)
    for kind in ("load", "sgen", "storage"):
        net[kind] = net[kind].iloc[:0]
    rng = np.random.default_rng(0)
    homes = rng.choice(network.buses, 8, replace=False)
    for bus, kw in zip(homes, rng.normal(0, 6, len(homes)), strict=True):
        pandapower.create_sgen(net, int(bus), p_mw=kw / 1e3, q_mvar=kw / 4e3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pandapower.runpp(net, numba=False, calculate_voltage_angles=True, tolerance_mva=1e-10)
    at = net.res_bus.loc[homes]
    v = (at.vm_pu * np.exp(1j * np.deg2rad(at.va_degree))).to_numpy()
    found = FlowDirection(network, homes)(v)
    theirs = np.concatenate([net.res_line.p_from_mw, net.res_trafo.p_hv_mw])
    clear = (np.abs(theirs) > 1e-5) & (network.branch_ends[:, 0] >= 0)
    assert clear.sum() > 10
    np.testing.assert_array_equal(found[clear], np.sign(theirs[clear]))


@pytest.mark.parametrize("seed", range(8))
def test_no_two_branches_of_a_tree_cross_and_no_two_nodes_share_a_place(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    edges = np.array([(rng.integers(max(0, k - 6), k), k) for k in range(1, n)])
    found = diagram(n, rng.permuted(edges, axis=1), np.array([0]))
    assert len(np.unique(found.place.round(6), axis=0)) == n
    pieces = []
    for child, parent in enumerate(found.parent):
        if parent < 0 or found.hangs[child]:
            continue
        (x, y), (ex, ey) = found.place[[parent, child]]
        pieces += [(x, y, x, ey)] if y != ey else []
        pieces.append((x, ey, ex, ey))
    across = [p for p in pieces if p[1] == p[3]]
    upright = [p for p in pieces if p[0] == p[2]]
    for x, low, _, high in upright:
        for left, y, right, _ in across:
            assert not (left < x < right and min(low, high) < y < max(low, high))


def test_a_loop_is_cut_and_all_nodes_are_placed():
    ring = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    found = diagram(5, ring, np.array([0]))
    assert not np.isnan(found.place[:4]).any()
    assert np.isnan(found.place[4]).all()  # no branch leads there


def test_the_same_records_give_the_same_picture_to_the_byte(stage, seen):
    one, other = (picture.frame(stage, seen) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert not (one == picture.frame(stage, seen[:-1])).all()
    for form in ("svg", "pdf"):
        files = [io.BytesIO() for _ in range(2)]
        for file in files:
            picture.save(file, stage, seen, form)
        assert files[0].getvalue() == files[1].getvalue()


def test_drawing_changes_no_record_and_no_setting(stage, seen):
    import matplotlib

    before = {f.name: np.copy(getattr(seen[-1], f.name)) for f in fields(Snapshot)}
    settings = dict(matplotlib.rcParams)
    picture.frame(stage, seen)
    for name, value in before.items():
        np.testing.assert_array_equal(value, getattr(seen[-1], name))
    assert dict(matplotlib.rcParams) == settings


@pytest.mark.parametrize(
    "change",
    [
        {"solved": False},
        {"reverted": True},
        {"price": np.nan, "volume_kw": 0.0},
        {"block_s": np.nan, "finality_s": np.inf, "backlog": 12345},
        {"order_kw": np.zeros(3), "limit_price": np.zeros(3)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_goes_wrong_is_drawn_too(stage, seen, change):
    wrong = replace(seen[-1], **change)
    drawn = picture.frame(stage, [*seen[:-1], wrong])
    assert not (drawn == picture.frame(stage, seen)).all()


def test_broken_limits_are_marked(stage, seen):
    now = seen[-1]
    bad = replace(now, bad_nodes=np.ones_like(now.bad_nodes))
    heavy = replace(now, bad_branches=np.ones_like(now.bad_branches))
    plain = picture.frame(stage, seen)
    for other in (bad, heavy):
        assert (picture.frame(stage, [*seen[:-1], other]) != plain).any()


@pytest.mark.parametrize(
    "feeder",
    [
        pytest.param(
            feeder,
            # Reading one of SimBench's takes seconds; one of them stands for all in `make test`.
            marks=pytest.mark.long
            if feeder.source == "simbench" and "semiurb4" not in feeder.code
            else (),
            id=feeder.code,
        )
        for feeder in FEEDERS
    ],
)
def test_every_tasks_feeder_has_a_place_for_every_bus(feeder):
    simbench = feeder.source == "simbench"
    net = load_grid(feeder.code)[0] if simbench else load_net(feeder.source, feeder.code)
    network = Network.from_pandapower(net)
    ends = network.branch_ends
    found = diagram(network.ybus.shape[0], ends[ends[:, 0] >= 0], network.slack_nodes)
    nodes = np.unique(network.bus_node)
    assert not np.isnan(found.place[nodes]).any()
    assert len(np.unique(found.place[nodes].round(6), axis=0)) == len(nodes)


@pytest.fixture
def windowless(monkeypatch):
    """Let matplotlib's windows be pixels, as on a machine that says so."""
    monkeypatch.setenv("MPLBACKEND", "agg")


def small_env(**kwargs):
    return envs.parallel_env(task="small", **kwargs)


def test_pettingzoos_render_test_passes(windowless):
    render_test(lambda **mode: parallel_to_aec(small_env(**mode)))


def test_pixels_come_before_and_after_a_step():
    env = small_env(render_mode="rgb_array")
    assert env.metadata["render_fps"] > 0  # what records it asks for
    env.reset(seed=0)
    first = env.render()
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    second = env.render()
    for pixels in (first, second):
        assert pixels.shape == (560, 800, 3)
        assert pixels.dtype == np.uint8
    assert (first != second).any()
    env.reset(seed=1)
    np.testing.assert_array_equal(env.render(), first)  # nothing is kept of the day before
    env.close()


def test_without_a_mode_nothing_is_drawn_or_kept():
    env = small_env()
    env.reset(seed=0)
    assert env.render() is None
    assert env.render_mode is None
    env.close()


def test_rendering_changes_no_number():
    told = []
    for mode in (None, "rgb_array"):
        env = small_env(render_mode=mode)
        env.reset(seed=3)
        still = {agent: np.zeros(env.action_space(agent).shape) for agent in env.agents}
        told.append([env.step(still)[1] for _ in range(3)])
    assert told[0] == told[1]


def test_an_unknown_mode_and_a_missing_display_are_one_line(monkeypatch):
    with pytest.raises(UnknownNameError, match="did you mean 'human'"):
        small_env(render_mode="humans")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setattr("matplotlib.get_backend", lambda: "agg")
    with pytest.raises(ArgumentError, match=r"needs a display.*use render_mode='rgb_array'"):
        small_env(render_mode="human")


class TestFilm:
    WORDS = ("task=small", "every=24", "ledger=block")

    def test_a_day_becomes_a_film(self, tmp_path):
        out = tmp_path / "new" / "day.gif"
        config = configure([*self.WORDS, "bidder=truthful", f"out={out}"])
        assert film(config, quiet=True) == out
        with Image.open(out) as found:
            assert (found.n_frames, found.size) == (4, picture.SIZE)
            assert found.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        with pytest.raises(ResultsError, match="overwrite=true"):
            film(config, quiet=True)

    @pytest.mark.parametrize(("kind", "codec"), [("mp4", "h264"), ("webm", "vp9")])
    def test_a_day_becomes_a_video_that_browsers_play(self, tmp_path, kind, codec):
        av = pytest.importorskip("av", reason="needs the extra video")
        words = [*self.WORDS, "fps=4"]
        drawn = film(configure([*words, f"out={tmp_path / 'day.gif'}"]), quiet=True)
        with Image.open(drawn) as gif:
            pictures = [np.asarray(each.convert("RGB"), int) for each in Iterator(gif)]
        out = film(configure([*words, f"out={tmp_path / 'day'}.{kind}"]), quiet=True)
        with av.open(str(out)) as container:
            stream = container.streams.video[0]
            assert (stream.codec.name, stream.pix_fmt) == (codec, "yuv420p")
            assert (stream.width, stream.height) == picture.SIZE
            shown_s = container.duration / av.time_base
            decoded = [each.to_ndarray(format="rgb24") for each in container.decode(stream)]
        assert shown_s == pytest.approx(3 / 4 + 2)  # the last picture stays for two seconds
        assert len(decoded) == 3 + 2 * 4
        for number, seen in enumerate(decoded):
            far = [np.abs(seen - each).mean() for each in pictures]
            assert np.argmin(far) == min(number, 3)
            assert min(far) < 2  # of 255: letters lose colour, areas do not

    def test_a_video_without_its_library_is_refused_before_a_day_is_played(
        self, tmp_path, monkeypatch
    ):
        for name in ["av", *(n for n in sys.modules if n.startswith("av."))]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, "gridbazaar.evaluation.video", raising=False)
        monkeypatch.delattr("gridbazaar.evaluation.video", raising=False)
        monkeypatch.setattr(day_film, "build", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'gridbazaar\[video\]'"):
            film(configure([*self.WORDS, f"out={tmp_path / 'day.mp4'}"]), quiet=True)

    @pytest.mark.parametrize(
        ("end", "head"), [("svg", b"<?xml"), ("pdf", b"%PDF-"), ("png", b"\x89")]
    )
    def test_one_interval_becomes_a_picture(self, tmp_path, end, head):
        out = tmp_path / f"noon.{end}"
        film(configure([*self.WORDS, "at=0:15", f"out={out}"]), quiet=True)
        content = out.read_bytes()
        assert content.startswith(head)
        if end == "pdf":
            assert b"/FontFile2" in content  # embedded, as TrueType

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("out=day.mov", r"out is 'day.mov', whose end names no format"),
            ("bidder=truthfull", "did you mean 'truthful'"),
            ("bidder=runs/nope", "unknown run or checkpoint folder"),
            ("at=25:00", "at is '25:00'"),
            ("evry=2", "did you mean 'every'"),
        ],
    )
    def test_mistakes_are_one_line(self, word, message):
        with pytest.raises((ConfigError, UnknownNameError), match=message) as found:
            configure([word])
        assert "\n" not in str(found.value)

    def test_a_place_that_cannot_be_written_is_told_before_the_day_is_played(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(day_film, "build", lambda *_: pytest.fail("the day was played"))
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            film(configure([*self.WORDS, f"out={tmp_path / 'file' / 'day.gif'}"]), quiet=True)

    def test_a_day_that_is_not_there_is_refused_and_nothing_is_written(self, tmp_path):
        out = tmp_path / "day.gif"
        with pytest.raises(ConfigError, match="day is 4000"):
            film(configure([*self.WORDS, "day=4000", f"out={out}"]), quiet=True)
        assert not out.exists()
