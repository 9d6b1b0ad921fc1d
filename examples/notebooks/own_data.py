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
# # Data of your own, to a report
#
# A CSV with a column for each home becomes a community on a real feeder, and bidders are compared
# on it. Here the file is made up; yours comes from a meter. Weeks are split: every fourth is for
# tests, so bring eight weeks or more.

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import gridbazaar as gb
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.frames import marl_eval, summary_frame
from gridbazaar.evaluation.results import evaluate

folder = Path(tempfile.mkdtemp())

# %%
time = pd.date_range("2017-03-06", periods=56 * 96, freq="15min")
hour = time.hour + time.minute / 60
chance = np.random.default_rng(1)
table = pd.DataFrame({"time": time})
for number, home in enumerate(("anna", "ben", "cleo", "dora")):
    evening = 0.9 * np.exp(-((hour - 19 - 0.5 * number) ** 2) / 6)
    table[f"{home}_kw"] = (0.2 + evening) * chance.lognormal(0, 0.4, len(time))
noon = np.clip(np.cos((hour - 12.5) / 12 * np.pi), 0, None) ** 1.5
table["roof_kw"] = 4.0 * noon * np.repeat(chance.uniform(0.2, 0.9, 56), 96)
table.to_csv(folder / "homes.csv", index=False)
table.head()

# %% [markdown]
# The words are those of the command line, `python evaluate.py task=own_data
# task.data.load.path=...`. What the file must keep, and every other option (units, time zones,
# German number formats, charging sessions, prices), stands in the page on data.

# %%
homes = "{anna: anna_kw, ben: ben_kw, cleo: cleo_kw, dora: dora_kw}"
sun = f"{{path: {folder / 'homes.csv'}, time_column: time, time_zone: null, unit: kW"
sun += ", columns: {anna: roof_kw}, kwp: {anna: 5.0}}"
words = (
    f"task.data.load.path={folder / 'homes.csv'}",
    "task.data.load.time_column=time",
    "task.data.load.unit=kW",
    f"+task.data.load.columns={homes}",
    f"task.data.pv={sun}",
    "task.data.time_zone=Europe/Berlin",
)
simulation = gb.batched(task="own_data", overrides=words, num_envs=1)
print(simulation.community.seats)
print({split: len(days) for split, days in simulation.community.days.items()}, "days")

# %% [markdown]
# ## The comparison
#
# Test days alone, the same for all. The report is one HTML file.

# %%
results = evaluate(
    configure(
        [
            "name=mine",
            f"folder={folder}",
            "task=own_data",
            *words,
            "bidder=[truthful,own_use]",
            "days=3",
            "planner=false",
        ]
    ),
    quiet=True,
)
print("report:", results / "report.html")

# %% [markdown]
# ## The figures as a table

# %%
frame = summary_frame(results)
wanted = frame[frame["kpi"].isin(["community_cost", "self_sufficiency"])]
wanted.pivot_table("mean", ["bidder", "market"], "kpi")

# %%
(folder / "marl_eval.json").write_text(json.dumps(marl_eval(results)))  # for marl-eval's plots
