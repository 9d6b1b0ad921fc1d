# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---


# %% [markdown]
# # How much load moves when prices move
#
# Heat pumps warm a building ahead, an appliance waits until its deadline, a car until it leaves.
# A tariff whose price changes over the day asks them to. How much they answer depends on who
# decides for them; the optimum says how much there is to move.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import gridbazaar as gb
from gridbazaar.agents.load import load
from gridbazaar.evaluation.given_days import days_of
from gridbazaar.evaluation.optimum import Optimum

DAYS = 4
KINDS = ("heat_pump", "flexible_load", "vehicle")
NAMES = {"heat_pump": "heat pumps", "flexible_load": "appliances", "vehicle": "cars"}
# With more and more between the cheapest and the dearest hour: 0, 9 and 19 ct/kWh.
TARIFFS = {"flat": "flat", "today's": "german_tou_all_year", "widest": "german_wide_tou"}


# %% [markdown]
# The task has homes, chargers and community batteries on one feeder, with ten heat pumps and an
# appliance in each home. The same days are played under each tariff, and solved: the optimum is a
# linear program with perfect foresight, one owner for all devices.


# %%
def world(tariff, market="uniform_auction"):
    """Return a simulation that stands at the beginning of its days, and what it observes."""
    simulation = gb.batched(
        task="semiurb4_heat-v1",
        market=market,
        overrides=(f"tariff@task.tariff={tariff}",),
        num_envs=DAYS,
        split="validation",
    )
    days = simulation.community.days["validation"]
    days = days[torch.arange(DAYS) * len(days) // DAYS]  # of all seasons
    return simulation, simulation.reset(days, seed=0)


def played(bidder, *where):
    """Return what devices draw, kW [slots] each, means over the days, and what a day costs, EUR."""
    simulation, observation = world(*where)
    seats, memory = load(bidder, simulation.game), None
    drawn, cost = {kind: [] for kind in KINDS}, 0.0
    for _ in range(simulation.slots):
        action, memory = seats.act(observation, memory)
        interval = simulation.step(action)
        observation = interval.observation
        cost -= float(interval.reward.total.sum(-1).mean())
        for kind, kw in drawn.items():
            kw.append(-float(interval.device_kw[kind].sum(-1).mean()))
    return {kind: np.array(kw) for kind, kw in drawn.items()}, cost


def planned(*where):
    """Return the same of the optimum."""
    simulation, _ = world(*where)
    optimum = Optimum(simulation.community, simulation.rules.unserved_price)
    plans = [optimum.solve(day) for day in days_of(simulation)]
    mean_kw = np.mean([plan.power_kw for plan in plans], 0).reshape(simulation.slots, -1)
    fleet = simulation.fleet
    kinds = np.repeat(list(fleet.kinds), [len(kind.seat) for kind in fleet.kinds.values()])
    units_kw = mean_kw[:, fleet.place.numpy()]
    drawn = {kind: -units_kw[:, kinds == kind].sum(-1) for kind in KINDS}
    return drawn, float(np.mean([plan.cost_eur for plan in plans]))


found = {}
for name, tariff in TARIFFS.items():
    for bidder in ("truthful", "mpc"):
        found[name, bidder] = played(bidder, tariff)
    found[name, "optimum"] = planned(tariff)

# %% [markdown]
# Two bidders: `truthful` says what energy is worth to it slot by slot, `mpc` plans its own
# devices over the rest of the day against the grid's prices, each home for itself. Dear hours are
# 17 to 19 h, cheap ones those that the widest tariff makes cheap, 0 to 6 h.

# %%
hour = np.arange(96) / 4
CHEAP, DEAR = hour < 6, (hour >= 17) & (hour < 19)

for kind in KINDS:
    print(f"{NAMES[kind]:34} {'0-6 h':>6} {'17-19 h':>8} {'kWh/day':>8}")
    for (tariff, who), (drawn, _) in found.items():
        kw = drawn[kind]
        cheap, dear = kw[CHEAP].sum() / kw.sum(), kw[DEAR].sum() / kw.sum()
        print(f"  {tariff:10} {who:20} {cheap:7.0%} {dear:8.0%} {kw.sum() / 4:8.1f}")

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True, layout="constrained")
for axes, who in zip(panels, ("truthful", "mpc", "optimum"), strict=True):
    axes.axvspan(0, 6, color="C2", alpha=0.12)
    axes.axvspan(17, 19, color="C3", alpha=0.12)
    for tariff, colour in zip(TARIFFS, ("grey", "C0", "C1"), strict=True):
        kw = sum(found[tariff, who][0].values()).reshape(24, 4).mean(-1)
        axes.stairs(kw, np.arange(25), color=colour, label=tariff)
    axes.set_title(who)
    axes.set_xlabel("hour")
panels[0].set_ylabel("flexible load, kW")
panels[0].legend()
plt.show()

# %% [markdown]
# The cost of a day, all seats together. Tariffs differ in their mean too (39.7, 36.4 and 35.5
# ct/kWh): compare bidders under one of them. More or less in store at the day's end is counted.

# %%
for (tariff, who), (_, cost) in found.items():
    print(f"{tariff:10} {who:10} {cost:7.2f} EUR/day")

# %% [markdown]
# ## A price that follows the feeder
#
# `dynamic_grid_tariff` charges a pair of seats for the way between them, more while the feeder is
# loaded.

# %%
drawn, cost = played("truthful", TARIFFS["widest"], "dynamic_grid_tariff")
for kind in KINDS:
    usual = found["widest", "truthful"][0][kind]
    moved = np.abs(drawn[kind] - usual).sum() / 2 / usual.sum()
    print(f"{NAMES[kind]:12} {moved:5.1%} moved")
print(f"{cost:.2f} EUR/day")

# %% [markdown]
# ## What to take from it
#
# Heat pumps are where load can move: the optimum puts 45 % of their energy before 6 h under the
# widest tariff, where it puts 8 % at one price all day. Cars and appliances leave the two dear
# hours and do not go far: they come and are due when people say so.
#
# `truthful` moves little: under the widest tariff it waits with appliances and cars while an hour
# is dear, and pumps hardly warm ahead under any. `mpc` gets half of the pumps' load out of the
# dear hours, and its day still costs more: it plans against the grid's prices and not for the
# neighbours' sun. A price that moves load is not yet one that lowers the cost; what lies between
# the best of them and the optimum, 6 to 11 EUR a day where prices move, is there to be learned:
# `gridbazaar train task=semiurb4_heat`.
#
# A charge for the way that follows the loading of the feeder moves about as little load of
# `truthful` bidders, and the day costs a euro more.
