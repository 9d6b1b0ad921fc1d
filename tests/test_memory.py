"""Estimate of memory: worlds that do not fit are refused before they are built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gridbazaar import envs
from gridbazaar.envs import memory
from gridbazaar.envs.memory import Memory, Size, check_memory, free_bytes
from gridbazaar.errors import ConfigError

SEMIURB4 = Size(slots=35_136, seats=41, buses=44, branches=43)
# Prints what building a world with so many community batteries takes at its peak, in bytes.
MEASURE = """
import sys
from gridbazaar import envs
from gridbazaar.envs import build, memory

def peak():  # getrusage's survives exec: it would be the test runner's
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

asked = []
build.check_memory = lambda *world: asked.append(memory.Memory.of(world[0], world[1], world[3]))
envs.build.__globals__["check_memory"] = build.check_memory
build = envs.build
world = envs.world(overrides=(f"task.ownership.community_batteries={sys.argv[1]}",))
build(envs.world(), num_envs=1, split="train", seed=0)
before = peak()
build(world, num_envs=1, split="train", seed=0)
print(peak() - before, asked[-1].total - asked[0].total)
"""


def test_worlds_beyond_all_memory_are_refused_with_both_numbers_before_they_are_built(town):
    world = envs.world(overrides=("task.ownership.community_batteries=100000",))
    with pytest.raises(ConfigError) as caught:
        town.build(world)
    message = str(caught.value)
    assert "GB of memory are needed and" in message
    assert "GB are free" in message
    assert "100,039 seats" in message
    assert "community_batteries" in message
    assert "\n" not in message


def test_a_billion_markets_are_refused_and_a_few_are_not(town):
    with pytest.raises(ConfigError, match="for 1,000,000,000 markets; take fewer markets"):
        town.build(envs.world(), num_envs=10**9)
    town.build(envs.world(), num_envs=4)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak of")
def test_the_estimate_is_of_the_size_that_is_measured():
    """Below it, so that nothing that fits is refused, and not far below."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "150"], capture_output=True, text=True, check=True
    )
    measured, estimated = (float(word) for word in done.stdout.split())
    assert 0.5 * measured < estimated < 1.1 * measured


def test_the_estimate_grows_with_every_part():
    base = Memory.of(SEMIURB4, 256, torch.float32)
    assert base.data == pytest.approx(35_136 * 41 * 36 * 4)
    assert Memory.of(SEMIURB4, 512, torch.float32).markets == 2 * base.markets
    assert Memory.of(SEMIURB4, 256, torch.float64).markets == 2 * base.markets
    wide = Memory.of(Size(35_136, 41, 4400, 4399), 256, torch.float32)
    assert wide.feeder > 4000 * base.feeder


@pytest.mark.parametrize("free", [None, 1e15])
def test_where_nothing_is_known_or_all_fits_nothing_is_refused(monkeypatch, free):
    monkeypatch.setattr(memory, "free_bytes", lambda: free)
    check_memory(SEMIURB4, 10**6, "cpu", torch.float32)


def test_the_refusal_begins_where_the_free_memory_ends(monkeypatch):
    need = Memory.of(SEMIURB4, 8, torch.float32).total
    monkeypatch.setattr(memory, "free_bytes", lambda: need)
    check_memory(SEMIURB4, 8, "cpu", torch.float32)
    monkeypatch.setattr(memory, "free_bytes", lambda: need - 1)
    with pytest.raises(ConfigError, match="GB are free"):
        check_memory(SEMIURB4, 8, "cpu", torch.float32)


def test_free_memory_is_that_of_the_machine_or_of_its_control_group(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:    12 kB\n")
    assert memory._of_machine(tmp_path / "meminfo") == 12 * 1024
    assert memory._of_machine(tmp_path / "nothing") is None
    assert memory._of_group(tmp_path) is None
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._of_group(tmp_path) == 1000 - 700 + 150
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._of_group(tmp_path) is None
    assert free_bytes() is None or free_bytes() > 0
